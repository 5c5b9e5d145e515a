"""Docker, by its Engine API."""
