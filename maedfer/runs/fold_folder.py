"""Names the files of `maedfer finetune --folds`: a run for each fold, and the note `folds.json`."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from maedfer.errors import UserError
from maedfer.files import dump_json, make_folder, write_atomically
from maedfer.runs.folder import RunFolder

PER_RUN_SETTINGS = ("data.fold", "data.workers")
"""Settings in which the runs of folds may differ: the fold itself, and the workers of a machine."""


@dataclass(frozen=True)
class FoldFolder:
    """Paths and note of the runs of several folds."""

    path: Path

    @property
    def note(self) -> Path:
        """`folds.json`: the folds, the commands, and how the run of each fold ended."""
        return self.path / "folds.json"

    def run_of(self, fold: str) -> RunFolder:
        """Returns the run of a fold."""
        return RunFolder(self.path / f"fold_{re.sub(r'[^A-Za-z0-9._-]+', '-', fold)}")

    def noted(self) -> dict[str, Any] | None:
        """Returns the contents of the note, None without one."""
        if not self.note.is_file():
            return None
        noted: dict[str, Any] = json.loads(self.note.read_text(encoding="utf-8"))
        return noted

    def begin(self, folds: Sequence[str], all_folds: Sequence[str], command: str) -> None:
        """Notes the folds before they run.

        Args:
            folds: the folds that are tested on.
            all_folds: all folds that the shards have.
            command: the command line, kept beside earlier ones.
        """
        earlier = (self.noted() or {}).get("commands", [])
        commands = earlier if command in earlier else [*earlier, command]
        self._write({"folds": list(folds), "all_folds": list(all_folds), "commands": commands, "ended": {}})

    def end(self, fold: str, code: int) -> None:
        """Notes the exit code of a fold's run; other ranks wait for it."""
        noted = self.noted() or {}
        self._write(noted | {"ended": noted["ended"] | {fold: code}})

    def _write(self, noted: dict[str, Any]) -> None:
        make_folder(self.path, "run")
        write_atomically(self.note, dump_json(noted, indent=1))

    def folds_to_run(self, asked: list[str] | None, resume: bool) -> list[str]:
        """Returns the folds that were asked for, or those of the note.

        Raises:
            UserError: two folds would share a folder.
        """
        noted = self.noted() if resume else None
        folds = asked or (noted or {}).get("folds", [])
        if len({self.run_of(fold).path for fold in folds}) < len(folds):
            raise UserError("folds", f"{','.join(folds)}: two of these names give the same folder")
        return folds

    def check_other_runs(self, folds: Sequence[str], resume: bool) -> None:
        """Checks that no other runs are mixed in; only the first rank may call it, before it writes.

        Raises:
            UserError: there is a run already, or one of another kind, or folds of it are left out.
        """
        own, noted = RunFolder(self.path), self.noted()
        if not resume:
            own.checkpoint_to_resume(resume=False)
        elif noted is None and own.exists:
            raise UserError("run", f"{self.path} holds a run without folds: give another folder")
        begun = [fold for fold in (noted or {}).get("folds", []) if self.run_of(fold).exists]
        missing = [fold for fold in begun if fold not in folds]
        if missing:
            raise UserError(
                "run",
                f"{self.path} holds runs of the folds {', '.join(missing)} too: name them in `folds`, or "
                "give another folder",
            )

    def differing_settings(self, folds: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Returns settings in which the runs of folds differ, by dotted name: the value of each fold.

        A resume with other flags causes them. Scores of folds that were trained differently have no mean.
        """
        texts = {fold: self.run_of(fold).config.read_text(encoding="utf-8") for fold in folds}
        settings = {fold: _flat(yaml.safe_load(text)) for fold, text in texts.items()}
        names = sorted({name for values in settings.values() for name in values} - set(PER_RUN_SETTINGS))
        each = {name: {fold: settings[fold].get(name) for fold in folds} for name in names}
        return {name: values for name, values in each.items() if len(set(map(repr, values.values()))) > 1}


def _flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flattens nested settings to dotted names."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        inner = isinstance(value, dict) and value
        flat |= _flat(value, f"{prefix}{name}.") if inner else {f"{prefix}{name}": value}
    return flat


def parse_folds(text: str) -> list[str]:
    """Returns the folds that a text names: `1-5` (or `01-05`), `1,3,5`, `one,two`, or a mixture.

    Raises:
        UserError: an empty name or range, or one fold twice.
    """
    folds: list[str] = []
    for item in (part.strip() for part in text.split(",")):
        ends = re.fullmatch(r"(\d+)-(\d+)", item)
        width = len(ends[1]) if ends and ends[1].startswith("0") else 0
        named = [f"{n:0{width}d}" for n in range(int(ends[1]), int(ends[2]) + 1)] if ends else [item]
        if not all(named) or not named:
            raise UserError("folds", f"{text!r} has an empty part: give folds as 1-5 or as names, a,b,c")
        folds += named
    if len(set(folds)) < len(folds):
        raise UserError("folds", f"{text} names a fold twice")
    return folds
