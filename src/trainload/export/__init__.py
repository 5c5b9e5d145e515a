"""The project in other builders' words: a Dockerfile that makes an equivalent image."""
