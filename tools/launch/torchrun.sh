#!/usr/bin/env bash
# Train on one machine, or on several, with torchrun: one process for each GPU.
#
# One machine, all its GPUs:
#   tools/launch/torchrun.sh pretrain --config pretrain/voxceleb2 --config trainer/ddp --run runs/big
#
# Four machines: the same line on each, with NODE_RANK 0 to 3; --run is a folder that all of them see:
#   NNODES=4 NODE_RANK=0 MASTER_ADDR=10.0.0.1 tools/launch/torchrun.sh pretrain --config pretrain/voxceleb2 ...
#
# All words go to `maedfer`. The environment says the rest: NPROC (processes on this machine; the GPUs found),
# NNODES (1), NODE_RANK (0), MASTER_ADDR (address of machine 0), MASTER_PORT (29500).
#
# SIGTERM or Ctrl-C: all ranks finish the step and write a checkpoint, for which they have ten minutes (30 seconds
# with a torch from before 2026); the exit code is 143 or 130, and the same line with --resume goes on. Otherwise the code is that of the first rank that
# failed: 2 for wrong input, 137 for a rank that was killed.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=words.sh
source "$here/words.sh"

check_words "$@"
NNODES=${NNODES:-1}
check_number NNODES "$NNODES" 1
check_number NODE_RANK "${NODE_RANK:=0}" 0
((NODE_RANK < NNODES)) || fail "NODE_RANK=$NODE_RANK of NNODES=$NNODES: the machines are numbered from 0"
if ((NNODES > 1)); then
  [[ -n ${MASTER_ADDR:-} ]] || fail "NNODES=$NNODES needs MASTER_ADDR, the address of machine 0, the same on all"
  meeting=(--nnodes "$NNODES" --node-rank "$NODE_RANK" --master-addr "$MASTER_ADDR"
    --master-port "${MASTER_PORT:-29500}")
else
  meeting=(--standalone)
fi
settle_processes

# torchrun would choose one thread as well, and say so at length.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
# torchrun's --shutdown-timeout: seconds that ranks have for their checkpoint after a signal. Before 2026 it was
# always 30.
export PET_SHUTDOWN_TIMEOUT=${PET_SHUTDOWN_TIMEOUT:-600}
# Behind `--` it does not take maedfer's --run for its own --run-path.
exec python "$here/torchrun.py" "${meeting[@]}" --nproc-per-node "$NPROC" \
  -m -- maedfer "$@" --trainer.devices "$NPROC" --trainer.num_nodes "$NNODES"
