"""`maedfer compare`: two models on the same test clips, and whether their difference says anything.

McNemar's test (1947) in its exact form asks whether the clips that only one of them gets right fall to both
alike; it takes clips for independent. The bootstrap draws the same clips for both, whole subjects where they
are known, within folds where there are any, and gives an interval of the difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from maedfer.evaluation.compare import (
    align_clips,
    compare_runs,
    read_run,
)
from maedfer.files import defined, dump_json, write_atomically
from maedfer.report.comparison import as_json, as_text, write_comparison


def compare(runs: list[str], out: str = "runs/compare") -> str:
    """Compare two models on the test clips that both have answered.

    Writes `comparison.json`, a figure and `report.html`; differences are those of the second from the first.

    Args:
        runs: two folders with `predictions.csv`: fine-tuned runs, folders of folds, or evaluations.
        out: folder of the results.

    Returns:
        The table of differences.

    Raises:
        FileNotFoundError: a folder has no predictions.
        ValueError: the runs answer other questions, or were tested on other clips; both are the same; `out`
            holds a run.
    """
    if len(runs) != 2:
        raise ValueError(f"compare takes two runs, not {len(runs)}: maedfer compare RUN RUN")
    refuse_own_folders(runs, Path(out))
    first, second = (read_run(run) for run in runs)
    second = align_clips(first, second)
    found = compare_runs(first, second)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "comparison.json", dump_json(defined(as_json(found)), indent=1))
    write_comparison(folder, found)
    return f"{as_text(found)}\nreport: {folder / 'report.html'}"


def refuse_own_folders(runs: Sequence[str], out: Path) -> None:
    """Refuse to compare a run with itself, and to write over the report of one.

    Raises:
        ValueError: either was asked for.
    """
    if Path(runs[0]).resolve() == Path(runs[1]).resolve():
        raise ValueError(f"{runs[0]} and {runs[1]} are the same folder: name two runs")
    if any((out / name).exists() for name in ("config.yaml", "predictions.csv")):
        raise ValueError(f"--out {out} holds a run or an evaluation, with a report: give another folder")
