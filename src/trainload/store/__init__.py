"""The content-addressed store: an OCI image layout on disk. One function commits a blob, one the index."""
