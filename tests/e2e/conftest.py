"""Whole images lie in the folders of these tests."""

from tests.folders import folders_of_the_file

__all__ = ["folders_of_the_file"]
