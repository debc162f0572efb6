"""Where the recipes and the sample shards lie: at the top of a checkout, or inside the installed package."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def shipped_room(room: str) -> Path:
    """The folder of a room; the wheel carries `configs` and `data_shards` inside the package."""
    inside = _PACKAGE / room
    return inside if inside.is_dir() else _PACKAGE.parent / room


def find_config(name: str) -> Path:
    """The YAML file that `--config` means: an existing path, else a shipped recipe such as `pretrain/demo`.

    Raises:
        FileNotFoundError: neither; the message lists the nearest recipes.
    """
    path = Path(name)
    if path.is_file():
        return path
    room = shipped_room("configs")
    shipped = room / (name if name.endswith(".yaml") else f"{name}.yaml")
    if shipped.is_file():
        return shipped
    names = sorted(str(p.relative_to(room).with_suffix("")) for p in room.rglob("*.yaml"))
    near = get_close_matches(name, names, n=3, cutoff=0.4) or names
    raise FileNotFoundError(f"--config {name}: no such file or recipe; did you mean {', '.join(near)}?")


def find_shards(name: str) -> str:
    """The shard folder that a recipe means: an address or existing path as it is, else a shipped sample.

    So `data_shards/sample`, which the demo recipe names, is found from any working directory.
    """
    path = Path(name)
    if "://" in name or path.is_dir():
        return name
    room, _, rest = name.replace("\\", "/").partition("/")
    shipped = shipped_room(room) / rest
    return str(shipped) if room == "data_shards" and shipped.is_dir() else name
