"""The only door to network, processes and clocks besides ``store/``."""
