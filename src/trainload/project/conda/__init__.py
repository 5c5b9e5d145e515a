"""Conda's files of a project: ``environment.yml`` and the locks that other tools make of it."""
