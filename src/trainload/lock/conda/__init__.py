"""Locks of conda environments that other tools make, as far as they say which bytes go in."""
