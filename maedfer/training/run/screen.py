"""Prints what a run has to say from the first rank, and silences notes of libraries that do not apply."""

import logging
import sys
import warnings

from pytorch_lightning.utilities.rank_zero import rank_zero_only
from tqdm import tqdm


@rank_zero_only
def print_rank_zero(text: str) -> None:
    """Prints a line from the first rank, above the progress bar if there is one."""
    tqdm.write(text)
    sys.stdout.flush()


def quieten_lightning() -> None:
    """Silences Lightning's tips, and its warnings about what this package does on purpose."""
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("DeepSpeed").addFilter(lambda record: "Setting accelerator" not in record.getMessage())
    for message in (
        ".*LeafSpec.*",
        ".*sync_dist.*",  # logged values are reduced over ranks before
        "Total length of .* across ranks is zero.*",
        ".*does not have many workers.*",
        ".*in eval mode at the start of training.*",  # a frozen encoder
        ".*your dataloader is not resumable.*",
        ".*lr_scheduler.step.* before .*optimizer.step.*",  # where the first step was skipped
        ".*Checkpoint directory .* exists and is not empty.*",
        ".*The dirpath has changed.*",  # a moved run; `BestCheckpoint` moves its paths too
        ".*When saving the DeepSpeed Stage 3 checkpoint.*",  # `maedfer consolidate` merges it
    ):
        warnings.filterwarnings("ignore", message=message)
