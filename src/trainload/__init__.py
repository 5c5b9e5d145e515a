"""Trainload carries an AI project, unchanged and verifiable, to wherever the GPUs are.

project → lock → plan → layers → image → destination → run
"""

__version__ = "0.1.0"
