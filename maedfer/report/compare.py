"""Runs `maedfer compare`: two models on the same test clips, and whether they differ."""

from __future__ import annotations

from pathlib import Path

from maedfer.errors import UserError
from maedfer.evaluation.compare import align_clips, compare_runs, read_run
from maedfer.files import defined, dump_json, write_atomically
from maedfer.report.comparison import comparison_json, format_comparison, write_comparison_page


def compare(runs: list[str], out: str = "runs/compare") -> str:
    """Compares two models on the test clips that both were tested on.

    Writes `comparison.json`, a figure and `report.html`; differences are those of the second from the first.

    Args:
        runs: two folders with `predictions.csv`: fine-tuned runs, folders of folds, or evaluations.
        out: folder of the results.

    Returns:
        The table of differences.

    Raises:
        FileNotFoundError: a folder has no predictions.
        UserError: the runs differ in their task, classes or test clips; both are the same folder; `out` holds
            a run.
    """
    folder = Path(out)
    check_folders(runs, folder)
    first, second = (read_run(run) for run in runs)
    found = compare_runs(first, align_clips(first, second))
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "comparison.json", dump_json(defined(comparison_json(found)), indent=1))
    write_comparison_page(folder, found)
    return f"{format_comparison(found)}\nreport: {folder / 'report.html'}"


def check_folders(runs: list[str], out: Path) -> None:
    """Checks that two different runs are compared, and that no report of a run is overwritten.

    Raises:
        UserError: otherwise.
    """
    if len(runs) != 2:
        raise UserError("runs", f"compare takes two runs, not {len(runs)}: maedfer compare RUN RUN")
    if Path(runs[0]).resolve() == Path(runs[1]).resolve():
        raise UserError("runs", f"{runs[0]} and {runs[1]} are the same folder; name two runs")
    if any((out / name).exists() for name in ("config.yaml", "predictions.csv")):
        raise UserError("out", f"{out} holds a run or an evaluation with a report; give another folder")
