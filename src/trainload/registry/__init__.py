"""A client of registries: the distribution specification, read and written; what to do with it is said elsewhere."""
