"""Stage 7: a RunSpec becomes a running container and an Outcome. Each engine is a pure render and a thin start."""
