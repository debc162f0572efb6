"""The floor plan: which room imports which, and what a room must not load in a fresh interpreter."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "maedfer"

# Room -> rooms it may import from, besides the ground files, which every room may use.
TRAINING = {
    "processes",
    "runs",
    "models",
    "data.shards",
    "data.labels",
    "data.loading",
    "evaluation",
    "report",
}
ROOMS = {
    "ground": {"processes"},
    "processes": set(),
    "runs": set(),
    "models": set(),
    "data.video": set(),
    "data.faces": {"data.video"},
    "data.shards": set(),
    "data.labels": {"data.shards"},
    "data.corpora": {"data.video", "data.faces", "data.corpora.reading"},
    "data.corpora.reading": {"data.video", "data.faces"},
    "data.pack": {
        "processes",
        "data.video",
        "data.faces",
        "data.shards",
        "data.corpora",
        "data.corpora.reading",
    },
    "data.synthetic": {"processes", "data.shards"},
    "data.loading": {"processes", "models", "data.shards", "data.labels"},
    "inference": {"models", "data.video", "data.faces", "data.shards", "evaluation"},
    "evaluation": {"runs", "models", "data.shards", "data.corpora"},
    "report": {"runs", "models", "data.labels", "evaluation", "inference"},
    "training.steps": {"models", "data.loading"},
    "training.distributed": {"processes", "runs", "models", "training.steps"},
    "training.run": TRAINING | {"training.steps", "training.distributed"},
    "training.pretraining": TRAINING | {"training.steps", "training.distributed", "training.run"},
    "training.finetuning": TRAINING | {"training.steps", "training.distributed", "training.run"},
    "training": TRAINING
    | {f"training.{room}" for room in ("run", "distributed", "pretraining", "finetuning")},
    "app": {"models", "data.video", "data.faces", "inference", "report"},
    "fusion": TRAINING | {"training.run", "training.steps", "training.distributed"},
    "demo": {
        "processes",
        "runs",
        "data.shards",
        "data.loading",
        "evaluation",
        "report",
        "training.finetuning",
    },
}
TRAINING_STACK = {"lightning", "pytorch_lightning", "webdataset", "deepspeed"}
# Rooms imported together into one fresh interpreter (a start costs seconds), and what that must not load.
UNLOADED = {
    ("ground",): {"torch", "av", "cv2", "timm"} | TRAINING_STACK,
    ("models",): {"decord", "av", "cv2", "maedfer.data"} | TRAINING_STACK,
    ("data.video", "data.faces"): TRAINING_STACK | {"torch"},
    ("data.shards", "data.labels"): TRAINING_STACK | {"torch"},
    ("data.pack", "evaluation", "report", "inference"): TRAINING_STACK,
}


def room_of(path: Path) -> str:
    """The room of a module: its folder, dotted, or `ground` for files at the top."""
    return ".".join(path.relative_to(PACKAGE).parent.parts) or "ground"


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    return {dotted(path): path for path in PACKAGE.rglob("*.py")}


def dotted(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: Path, known: dict[str, Path]) -> set[str]:
    """Modules of the package that a file imports, at its top or inside a function."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                names.add(full if full in known else str(node.module))
    return names & known.keys()


def test_every_room_imports_only_from_the_rooms_below_it():
    known = modules()
    wrong = []
    for name, path in known.items():
        room = room_of(path)
        if room in ("", "data"):
            continue
        for other in imported(path, known):
            target = room_of(known[other])
            if target not in ("ground", room, *ROOMS[room]):
                wrong.append(f"{name} ({room}) imports {other} ({target})")
    assert not wrong, "\n".join(sorted(wrong))


def test_the_floor_plan_has_no_circles():
    seen: list[str] = []

    def visit(room, path):
        assert room not in path, f"a circle: {' -> '.join((*path, room))}"
        for below in ROOMS[room] - {"ground"}:
            if below not in seen:
                visit(below, (*path, room))
        seen.append(room)

    for room in ROOMS:
        visit(room, ())


def test_every_folder_is_a_room_of_the_plan_and_holds_at_most_thirty_files():
    folders = {room_of(path) for path in PACKAGE.rglob("*.py")} - {"data"}
    assert folders <= ROOMS.keys()
    crowded = {f: len(list(f.glob("*.py"))) for f in PACKAGE.rglob("*") if f.is_dir()}
    assert {str(f): n for f, n in crowded.items() if n > 30} == {}


@pytest.mark.parametrize("rooms", UNLOADED, ids="+".join)
def test_what_rooms_do_not_load(rooms):
    names = sorted(name for name, path in modules().items() if room_of(path) in rooms)
    names = [name for name in names if not name.endswith("__main__")]
    code = f"import {', '.join(names)}\nimport sys\nprint('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split()) & UNLOADED[rooms]
    assert not loaded, f"importing {', '.join(rooms)} loads {', '.join(sorted(loaded))}"
