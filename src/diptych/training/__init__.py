"""Training runs: settings, run folder, checkpoints, the loop and its hooks."""
