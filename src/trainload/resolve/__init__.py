"""The edge of the lock: asks uv and distribution archives, and fetches locked files; rules live in ``lock/``."""
