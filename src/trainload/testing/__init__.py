"""Fakes that ship, so that nobody patches."""
