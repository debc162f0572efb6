"""What comes on the screen while a run goes on: whole lines above its bar, and times that can be read."""

import logging
import sys
import warnings

from pytorch_lightning.utilities.rank_zero import rank_zero_only
from tqdm import tqdm


@rank_zero_only
def tell(text: str) -> None:
    """One line from the first rank; it stands above the bar, if there is one."""
    tqdm.write(text)
    sys.stdout.flush()


@rank_zero_only
def say(text: str) -> None:
    """One line for the user, from the first rank only."""
    print(text, flush=True)


def quieten_lightning() -> None:
    """Keep Lightning's tips and its notes on loaders, which ours answers by design, off the screen."""
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("DeepSpeed").addFilter(lambda record: "Setting accelerator" not in record.getMessage())
    for message in (
        ".*LeafSpec.*",
        ".*sync_dist.*",  # what is logged here is summed over ranks before
        "Total length of .* across ranks is zero.*",
        ".*does not have many workers.*",
        ".*in eval mode at the start of training.*",  # a frozen encoder is
        ".*your dataloader is not resumable.*",
        ".*lr_scheduler.step.* before .*optimizer.step.*",  # where the first step was left out
        ".*Checkpoint directory .* exists and is not empty.*",
        ".*When saving the DeepSpeed Stage 3 checkpoint.*",  # `maedfer consolidate` merges it
    ):
        warnings.filterwarnings("ignore", message=message)
