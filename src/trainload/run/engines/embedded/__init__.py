"""The embedded engine: bubblewrap here, and a supervisor process of its own for each detached run; no daemon."""
