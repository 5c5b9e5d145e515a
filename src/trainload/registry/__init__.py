"""A client of registries: the distribution specification read and written; what for is said elsewhere."""
