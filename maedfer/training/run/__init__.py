"""The parts that every training run shares: command line, records, progress, checkpoints, resume."""
