#!/usr/bin/env bash
# Train with DeepSpeed's own launcher: on this machine, or on those of a hostfile.
#
# One machine, all its GPUs:
#   tools/launch/deepspeed.sh pretrain --config pretrain/voxceleb2 --config trainer/zero2 --run runs/big
#
# Several, with a line `name slots=8` for each in a file; they are reached by pdsh and ssh without a password and
# see the same folders, this environment among them:
#   HOSTFILE=hosts tools/launch/deepspeed.sh pretrain --config pretrain/voxceleb2 --config trainer/zero2 ...
#
# All words go to `maedfer`; a word with a space in it does not survive pdsh. Without a hostfile NPROC says how
# many processes to start (the GPUs found). MASTER_PORT (29500) must be free.
#
# SIGTERM or Ctrl-C on one machine: all ranks finish the step and write a checkpoint; the exit code is 143 or 130,
# and the same line with --resume goes on. On several, DeepSpeed gives them 30 seconds for it.
set -euo pipefail
set -m # the launcher gets a process group of its own, so that Ctrl-C reaches the ranks once, through this script
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=words.sh
source "$here/words.sh"

check_words "$@"
command -v maedfer >/dev/null || fail "there is no maedfer here: activate its environment first"
command -v deepspeed >/dev/null || fail "there is no deepspeed here: pip install 'maedfer[deepspeed]'"
NNODES=1
if [[ -n ${HOSTFILE:-} ]]; then
  [[ -f $HOSTFILE ]] || fail "HOSTFILE=$HOSTFILE is not a file"
  slots=$(sed -nE 's/^[^#[:space:]]+[[:space:]]+slots=([0-9]+).*/\1/p' "$HOSTFILE")
  [[ -n $slots ]] || fail "HOSTFILE=$HOSTFILE has no line such as: node1 slots=8"
  [[ $(sort -u <<<"$slots" | wc -l) -eq 1 ]] || fail "HOSTFILE=$HOSTFILE: all machines need as many slots"
  NNODES=$(wc -l <<<"$slots") NPROC=$(head -n 1 <<<"$slots")
  machines=(--hostfile "$HOSTFILE")
else
  settle_processes
  machines=(--hostfile none --num_gpus "$NPROC" --master_addr 127.0.0.1)
fi

signalled=
# DeepSpeed's launcher passes a signal on, but kills after 30 seconds and forgets the exit code; so on one machine
# the ranks, which are its children, are asked directly.
pass_on() {
  signalled=1
  local agent
  agent=$(pgrep -P "$launcher" || true)
  if ((NNODES > 1)) || [[ -z $agent ]] || ! pkill "-$1" -P "$agent"; then
    kill "-$1" "$launcher" 2>/dev/null || true
  fi
}
trap 'pass_on TERM' TERM
trap 'pass_on INT' INT

deepspeed "${machines[@]}" --master_port "${MASTER_PORT:-29500}" --log_level error --no_python --no_local_rank \
  "$here/deepspeed_rank.sh" "$(command -v maedfer)" "$@" --trainer.devices "$NPROC" --trainer.num_nodes "$NNODES" &
launcher=$!
wait "$launcher" && code=0 || code=$?
while [[ -n $signalled ]]; do # a signal ends `wait` early
  signalled=
  wait "$launcher" && code=0 || code=$?
done
exit "$code"
