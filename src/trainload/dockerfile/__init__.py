"""A Dockerfile as input: its text and file listings become steps; pure, nothing is run or fetched here."""
