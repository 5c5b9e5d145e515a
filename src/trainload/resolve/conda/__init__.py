"""From a conda environment to exact bytes: rattler solves, for the target and never for this machine."""
