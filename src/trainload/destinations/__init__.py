"""Stage 6: where images go: layout directories, archives, registries, hosts, engines."""
