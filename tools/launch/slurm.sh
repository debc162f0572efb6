#!/usr/bin/env bash
#SBATCH --job-name=maedfer
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=TERM@300
#SBATCH --output=maedfer-%j.log
# Train under Slurm, on one node or several, over as many time limits as it takes.
#
# Four nodes of eight GPUs: one task for each GPU, and the cores that feed it:
#   sbatch --nodes=4 --ntasks-per-node=8 --gpus-per-node=8 --cpus-per-task=12 --time=12:00:00 \
#     tools/launch/slurm.sh pretrain --config pretrain/voxceleb2 --config trainer/ddp --run runs/big
#
# One GPU, from an encoder:
#   sbatch --nodes=1 --ntasks-per-node=1 --gpus-per-node=1 --cpus-per-task=12 --time=2:00:00 \
#     tools/launch/slurm.sh finetune --config finetune/dfew --init-from runs/big --run runs/tuned
#
# All words go to `maedfer`; --run is a folder that all nodes see. Do not bind GPUs to tasks (--gpus-per-task):
# each task chooses its own among those of the node.
#
# Five minutes before the time limit Slurm sends SIGTERM to all ranks: they finish the step, write a checkpoint
# and leave with 143, and the job puts itself back into the queue. It always continues what --run holds, so it
# may also be submitted again by hand. (A held-out evaluation is finished first: where one takes longer, give
# sbatch --signal=TERM@SECONDS.) After any other exit code it stays ended; a node that fails makes Slurm
# itself requeue it.
set -uo pipefail

fail() {
  echo "slurm.sh: $*" >&2
  exit 2
}

[[ -n ${SLURM_JOB_ID:-} ]] || fail "this is a batch script: sbatch --nodes=1 --ntasks-per-node=8 ... slurm.sh pretrain ..."
[[ -n ${SLURM_NTASKS_PER_NODE:-} ]] || fail "give sbatch --ntasks-per-node, one task for each GPU of a node"
case "${1:-}" in
  pretrain | finetune) ;;
  *) fail "the first word is pretrain or finetune, not '${1:-}'" ;;
esac

# The words, without --init-from: the job resumes, and only its first start begins from other weights.
words=() start=() run=
while (($#)); do
  case "$1" in
    --trainer.devices | --trainer.devices=* | --trainer.num[_-]nodes | --trainer.num[_-]nodes=*)
      fail "$1 is set here, from the nodes and tasks of the job: leave it out" ;;
    --init[_-]from) start=("$1" "${2:-}") && shift ;;
    --init[_-]from=*) start=("$1") ;;
    --resume) [[ ${2:-} != true ]] || shift ;;
    --resume=true) ;;
    --run) run=${2:-} && words+=("$1") ;;
    --run=*) run=${1#--run=} && words+=("$1") ;;
    *) words+=("$1") ;;
  esac
  shift
done
[[ -n $run ]] || fail "give --run, the folder that the job continues when it comes back"
if [[ -f $run/config.yaml || ${#start[@]} -eq 0 ]]; then
  words+=(--resume) # on a new run it only warns
else
  words+=("${start[@]}")
fi

# Since Slurm 22.05 a step no longer takes the cores for a task from its job.
export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1}
# When one rank dies, the others would wait for it until the time limit. And maedfer itself divides the cores of a
# node among its ranks, so none is bound to a share of them.
srun --kill-on-bad-exit=1 --cpu-bind=none maedfer "${words[@]}" \
  --trainer.devices "$SLURM_NTASKS_PER_NODE" --trainer.num_nodes "$SLURM_JOB_NUM_NODES"
code=$?

if ((code == 143)); then
  echo "slurm.sh: stopped before the time limit; job $SLURM_JOB_ID goes back into the queue"
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
