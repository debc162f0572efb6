"""Several ranks: ZeRO, checkpoints, threads, refusals."""
