"""Child processes, runs in parallel, and the cores that they share."""
