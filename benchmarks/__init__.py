"""Measures what the design promises: ``./dev bench``."""
