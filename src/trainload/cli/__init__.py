"""The command line: parses, builds the World once, renders errors and progress."""
