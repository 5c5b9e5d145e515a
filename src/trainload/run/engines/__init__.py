"""Where a run runs: one protocol (``interface.py``), one table of names (``table.py``), one folder per engine."""
