"""Rules for compose files."""
