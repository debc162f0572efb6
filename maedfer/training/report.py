"""`report.html`: one self-contained page about a run, with its numbers, pictures, settings and versions.

Pictures are embedded, so the page can be mailed or kept after the run folder is gone. `write_page` and the
pieces beside it make any page of this kind.
"""

from __future__ import annotations

import base64
import csv
import html
import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

from maedfer.data.shards import write_atomically
from maedfer.training.held_out import HEADS, PREDICTORS, gain
from maedfer.training.predictions import Predictions
from maedfer.training.published import OwnRow, rows_beside, side_by_side, unlike_test
from maedfer.training.run_folder import RunFolder
from maedfer.training.score_figures import CONFUSION, LEARNING, REGRESSION, RELIABILITY
from maedfer.training.scores import (
    GROUP_SCORES,
    MAX_GROUPS,
    PLAIN,
    TITLES,
    ClassScores,
    grouped,
    per_class,
    scores,
    shown,
)

LIBRARIES = (
    *("maedfer", "torch", "torchvision", "pytorch-lightning", "timm", "webdataset"),
    *("numpy", "scikit-learn"),
)

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; } td, th { padding: .2rem .8rem; text-align: right; }
td:first-child, th:first-child { text-align: left; } tr + tr { border-top: 1px solid #ddd; }
img { max-width: 100%; } pre { background: #f5f5f5; padding: 1rem; overflow-x: auto; font-size: 12px; }
"""


def write_page(path: Path, title: str, sections: Sequence[str]) -> None:
    """Write a page.

    Args:
        path: the HTML file.
        title: its heading.
        sections: HTML, in the order they stand in.
    """
    name = html.escape(title)
    head = f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{name}</title><style>{STYLE}</style>"
    write_atomically(path, (head + f"<h1>{name}</h1>" + "".join(sections) + "\n</html>\n").encode())


def paragraph(text: str) -> str:
    """A line of text; nothing when it is empty."""
    return f"<p>{html.escape(text)}</p>" if text else ""


def section(title: str, content: str) -> str:
    """A heading and the HTML that stands below it; nothing when that is empty."""
    return f"<h2>{html.escape(title)}</h2>{content}" if content else ""


def verbatim(text: str) -> str:
    """A command or a file as it is."""
    return f"<pre>{html.escape(text)}</pre>"


def table(rows: Iterable[Sequence[object]], header: Sequence[str] = ()) -> str:
    """Rows of cells below a header, first column to the left and others to the right; empty without rows."""
    lines = [f"<tr>{_cells('td', row)}</tr>" for row in rows]
    if not lines:
        return ""
    head = f"<tr>{_cells('th', header)}</tr>" if header else ""
    return f"<table>{head}{''.join(lines)}</table>"


def _cells(tag: str, values: Iterable[object]) -> str:
    """The cells of a row."""
    return "".join(f"<{tag}>{html.escape(str(value))}</{tag}>" for value in values)


def picture(path: Path | None) -> str:
    """An embedded PNG; empty when there is none."""
    if path is None or not path.is_file():
        return ""
    data = base64.b64encode(path.read_bytes()).decode()
    return f"<img alt='{html.escape(path.stem)}' src='data:image/png;base64,{data}'>"


def newest(folder: Path, pattern: str) -> Path | None:
    """The last file of a pattern in order of its name."""
    return max(folder.glob(pattern), default=None)


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that decide the numbers."""
    rows = {"python": platform.python_version(), "machine": platform.machine()}
    for name in LIBRARIES:
        try:
            rows[name] = version(name)
        except PackageNotFoundError:
            rows[name] = "not installed"
    return rows


def versions_table() -> str:
    """The same as HTML."""
    return table(versions().items())


def write_report(folder: RunFolder, title: str, command: str) -> None:
    """Write `report.html` of a pre-training run that has its `summary.json`.

    Args:
        folder: the run.
        title: heading, such as the architecture and the shards.
        command: the command line that ended the run.
    """
    summary = json.loads(folder.summary.read_text(encoding="utf-8"))
    sections = (
        paragraph(f"{summary['steps']:,} steps. {_warning(summary['synthetic'])}"),
        paragraph(pace(folder.path)),
        verbatim(command),
        section("Held-out reconstruction", held_out_table(summary["held_out"])),
        section("Losses", picture(folder.figures / "losses.png")),
        section("Reconstruction", picture(newest(folder.figures, "reconstruction_*.png"))),
        section("Settings", verbatim(folder.config.read_text(encoding="utf-8"))),
        section("Versions", versions_table()),
    )
    write_page(folder.report, title, sections)


def pace(folder: Path) -> str:
    """How fast a run was (the median of its rows) and what it left out; empty where nothing was measured.

    Args:
        folder: the run.
    """
    said = []
    speeds = _rows(folder / "throughput.csv")
    if speeds:
        rate, waiting = (median(float(row[name]) for row in speeds) for name in ("clips_per_s", "waiting"))
        said.append(f"Trained on {rate:,.1f} clips/s, {waiting:.0%} of the time waiting for data.")
    lost = {row["step"] for row in _rows(folder / "non_finite" / "rank0.csv")}
    if lost:
        said.append(f"Steps left out, as their loss was no number: {len(lost)}.")
    return " ".join(said)


def _rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file; none where it is not there."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def _warning(synthetic: bool) -> str:
    """What has to stand beside every number of drawn faces."""
    return "All faces in these data are synthetic." if synthetic else ""


def held_out_table(errors: Mapping[str, float]) -> str:
    """Errors of the heads beside both baselines; empty for a run without a held-out split."""
    if not errors:
        return ""
    rows = []
    for name in (*HEADS, "total"):
        values = [errors[f"{name}_{predictor}"] for predictor in PREDICTORS]
        rows.append([name, *(f"{v:.4f}" for v in values), gain(errors, name)])
    return table(rows, [name.replace("_", " ") for name in ("head", *PREDICTORS, "gain")])


def write_score_report(
    folder: Path,
    title: str,
    command: str,
    predictions: Predictions,
    records: Sequence[Mapping[str, Any]],
    synthetic: bool,
    seed: int | None,
    settings: str | None,
    corpus: str | None = None,
) -> None:
    """Write `report.html` of a fine-tuning run or an evaluation, with the pictures in its `figures`.

    Args:
        folder: the run, or where the evaluation writes.
        title: heading, such as the architecture, the shards and their part.
        command: the command line.
        predictions: what the scores are computed from.
        records: JSON records of its samples, in any order, for the scores by subject, fold and metadata.
        synthetic: whether the faces were drawn.
        seed: seed of the run; None for an evaluation.
        settings: text of the configuration; None leaves it out.
        corpus: the corpus of the samples, of which published results are shown.
    """
    figures = folder / "figures"
    about = [_warning(synthetic), "" if seed is None else f"Seed {seed}."]
    sections = (
        paragraph(" ".join(filter(None, about))),
        paragraph(pace(folder)),
        verbatim(command),
        section("Scores", score_table(predictions)),
        section(f"Published on {corpus}", published_table(predictions, records, corpus)),
        section("Classes", class_table(predictions)),
        section("Confusion", picture(figures / CONFUSION)),
        section("Reliability", picture(figures / RELIABILITY)),
        section("Predicted and true", picture(figures / REGRESSION)),
        section("Training", picture(figures / LEARNING)),
        *(
            section(f"By {column}", group_table(rows, GROUP_SCORES[predictions.task]))
            for column, rows in grouped(predictions, records).items()
        ),
        section("Settings", verbatim(settings) if settings else ""),
        section("Versions", versions_table()),
    )
    write_page(folder / "report.html", title, sections)


def score_table(predictions: Predictions) -> str:
    """All scores; a row per quantity for those that are continuous."""
    values = scores(predictions)
    if predictions.task != "regress":
        return table([(TITLES[name] + _unit(name), shown(name, value)) for name, value in values.items()])
    rows = [("mean", *(shown(kind, values[kind]) for kind in PLAIN))]
    rows += [(n, *(shown(kind, values[f"{kind}_{n}"]) for kind in PLAIN)) for n in predictions.names]
    samples = paragraph(f"{len(predictions):,} samples.")
    return samples + table(rows, ["quantity", *(TITLES[kind] for kind in PLAIN)])


def _unit(name: str) -> str:
    """What stands behind the name of a score that is printed as percent."""
    return "" if name in ("samples", "absent", *PLAIN) else " (%)"


def class_table(predictions: Predictions) -> str:
    """Recall, precision and F1 of every class, in percent; empty for continuous quantities."""
    if predictions.task == "regress":
        return ""
    fields = ClassScores._fields[1:]
    rows = [
        (row.name, *(shown(kind, getattr(row, kind)) for kind in fields)) for row in per_class(predictions)
    ]
    return table(rows, ["class", *(TITLES.get(kind, kind) + _unit(kind) for kind in fields)])


def published_table(
    predictions: Predictions, records: Sequence[Mapping[str, Any]], corpus: str | None
) -> str:
    """Published results on a corpus, and these below them; empty where there are none of these classes."""
    if predictions.task != "classify":
        return ""
    folds = sorted({str(record["fold"]) for record in records if record.get("fold") is not None})
    rows = rows_beside(corpus, predictions.names, folds)
    if not rows:
        return ""
    unlike = unlike_test(corpus, {folds[0] if len(folds) == 1 else "": len(predictions)})
    values, recalls = scores(predictions), {row.name: row.recall for row in per_class(predictions)}
    header, *cells = side_by_side(rows, OwnRow("this run", values["uar"], values["war"], recalls))
    return paragraph(unlike) + table(cells, header)


def group_table(rows: Sequence[Mapping[str, Any]], kinds: Sequence[str]) -> str:
    """Rows of `scores_by`, at most `MAX_GROUPS` of them."""
    kept = sorted(rows, key=lambda row: -row["samples"])[:MAX_GROUPS]
    note = f"The {len(kept)} groups with the most samples, of {len(rows):,}." if len(kept) < len(rows) else ""
    kept.sort(key=lambda row: row["name"])
    cells = [(row["name"], row["samples"], *(shown(kind, row[kind]) for kind in kinds)) for row in kept]
    return paragraph(note) + table(
        cells, ["group", "samples", *(TITLES[kind] + _unit(kind) for kind in kinds)]
    )
