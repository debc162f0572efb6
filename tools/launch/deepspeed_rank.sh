#!/usr/bin/env bash
# One rank under DeepSpeed's launcher, which numbers machines by a name of its own; Lightning reads NODE_RANK.
export NODE_RANK=${CROSS_RANK:?deepspeed_rank.sh is started by deepspeed.sh}
unset SLURM_NTASKS # inside a Slurm job Lightning would take the numbers of the job
exec "$@" # the whole path of maedfer first: over ssh its environment is not active
