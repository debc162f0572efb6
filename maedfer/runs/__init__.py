"""The folder of a run and the folder of the runs of several folds: paths, nothing else."""
