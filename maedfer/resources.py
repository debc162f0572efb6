"""Finds the shipped recipes and sample shards: at the top of a checkout, or inside the installed package."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def shipped_folder(name: str) -> Path:
    """Returns a shipped folder; the wheel carries `configs` and `data_shards` inside the package."""
    inside = _PACKAGE / name
    return inside if inside.is_dir() else _PACKAGE.parent / name


def find_config(name: str) -> Path:
    """Returns the YAML file that `config` names: an existing path, or a shipped recipe like `pretrain/demo`.

    Raises:
        FileNotFoundError: there is neither; the message lists the closest recipes.
    """
    path = Path(name)
    if path.is_file():
        return path
    folder = shipped_folder("configs")
    shipped = folder / (name if name.endswith(".yaml") else f"{name}.yaml")
    if shipped.is_file():
        return shipped
    names = sorted(str(p.relative_to(folder).with_suffix("")) for p in folder.rglob("*.yaml"))
    near = get_close_matches(name, names, n=3, cutoff=0.4) or names
    raise FileNotFoundError(f"`config` {name}: no such file or recipe; did you mean {', '.join(near)}?")


def find_shards(name: str) -> str:
    """Returns an address or an existing path unchanged, and the path of a shipped sample for its name.

    So `data_shards/sample`, which the demo recipe names, is found from any working directory.
    """
    path = Path(name)
    if "://" in name or path.is_dir():
        return name
    top, _, rest = name.replace("\\", "/").partition("/")
    shipped = shipped_folder(top) / rest
    return str(shipped) if top == "data_shards" and shipped.is_dir() else name
