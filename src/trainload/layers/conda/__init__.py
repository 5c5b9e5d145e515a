"""Conda packages as layers: archives in, bytes out; nothing is extracted, nothing of a package is run."""
