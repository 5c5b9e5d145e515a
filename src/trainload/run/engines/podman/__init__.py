"""Podman, by its command line: no service needs to run, and rootless is the usual case."""
