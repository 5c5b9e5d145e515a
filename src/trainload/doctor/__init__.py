"""What works on this machine and what does not, tried piece by piece, with the command that mends it."""
