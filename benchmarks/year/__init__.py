"""A year of dependency updates and code edits, simulated from real release dates and sizes."""
