"""Stage 1: what the user wrote, with the reason for each guess. Pure over a file listing and file bytes."""
