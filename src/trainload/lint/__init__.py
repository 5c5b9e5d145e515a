"""What is wrong with a Dockerfile, a compose file or a Kubernetes manifest of an AI project, and what mends it."""
