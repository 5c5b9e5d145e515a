"""GPUs for the embedded engine: what is asked, and what this machine has, as mounts, nodes, variables and links."""
