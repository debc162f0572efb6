"""torchrun, without its traceback at the end: the exit code is that of the first rank that failed.

torchrun itself ends with 1 whatever happened, so a job script could not tell a run that was stopped and wants
to be continued (143) from wrong input (2).
"""

import sys

from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import main


def run() -> int:
    """Start the ranks and wait for them; as in a shell, a process ended by signal n counts as 128 + n."""
    try:
        main()
    except ChildFailedError as error:
        _, failure = error.get_first_failure()
        return failure.exitcode if failure.exitcode >= 0 else 128 - failure.exitcode
    except SignalException as stop:
        return 128 + stop.sigval
    return 0


if __name__ == "__main__":
    sys.exit(run())
