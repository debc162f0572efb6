# What torchrun.sh and deepspeed.sh share: how they complain, which words they take, how many GPUs there are.
# It is sourced by them; slurm.sh stands alone, because Slurm runs a copy of it from a folder of its own.

fail() {
  echo "$(basename "$0"): $*" >&2
  exit 2
}

# The words for maedfer: a verb that trains, and nothing that says how many processes there are.
check_words() {
  case "${1:-}" in
    pretrain | finetune) ;;
    *) fail "the first word is pretrain or finetune, not '${1:-}'" ;;
  esac
  local word
  for word in "$@"; do
    case "$word" in
      --trainer.devices | --trainer.devices=* | --trainer.num[_-]nodes | --trainer.num[_-]nodes=*)
        fail "$word is set here, from what is started: leave it out" ;;
    esac
  done
}

check_number() {
  [[ $2 =~ ^[0-9]+$ && $2 -ge $3 ]] || fail "$1=$2 must be a number, $3 or more"
}

# Sets NPROC, the processes on this machine: as given, else one for each GPU that torch sees.
settle_processes() {
  [[ -n ${NPROC:-} ]] || NPROC=$(python -c 'import torch; print(torch.cuda.device_count())')
  [[ $NPROC != 0 ]] || fail "no GPU found: NPROC=2 with --config trainer/cpu starts two processes without one"
  check_number NPROC "$NPROC" 1
}
