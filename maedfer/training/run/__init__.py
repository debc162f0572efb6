"""What every training run has: command line, records, progress, checkpoints, resume."""
