"""`maedfer finetune --folds`: trains and tests on every fold, each in a process of its own, and reports them.

Processes start afresh, so that no fold knows of another, whatever strategy it trains with; they inherit the
environment, so that under a launcher the processes of all ranks meet fold by fold. Finished folds are not
repeated, and an interrupted one is resumed.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping
from pathlib import Path

from maedfer.errors import UserError
from maedfer.lightning_internals import rank_before_fit
from maedfer.processes.child import run_child
from maedfer.report.folds import CrossValidationInfo, write_fold_results
from maedfer.runs.fold_folder import FoldFolder, parse_folds
from maedfer.runs.folder import RunFolder
from maedfer.training.finetuning.cli import FinetuneCLI
from maedfer.training.run.recipes import in_pairs, without
from maedfer.training.run.screen import print_rank_zero

POLL_S = 0.2
"""Seconds between two looks at the note of the first rank."""


def concerns_folds(cli: FinetuneCLI) -> bool:
    """Tests whether a command names folds, or resumes a folder with a note of them."""
    return cli.config.folds is not None or (cli.config.resume and FoldFolder(cli.folder.path).note.is_file())


def train_folds(cli: FinetuneCLI, args: list[str], environment: Mapping[str, str]) -> int:
    """Trains and tests on every fold; returns 0, or the exit code of the first run that did not end well.

    Args:
        cli: the command; its own run is not started.
        args: the words after the verb.
        environment: for the processes of the folds.

    Raises:
        UserError: folds that the shards do not have or that cannot be tested on, a folder that holds
            something else, or settings that a run refuses.
    """
    folder, resume = FoldFolder(cli.folder.path), bool(cli.config.resume)
    named = cli.config.folds
    folds = folder.folds_to_run(None if named is None else parse_folds(named), resume)
    words = [word for word in in_pairs(args) if not word.startswith("--resume=")]
    flags = without(without(words, "--folds"), "--run")
    if resume and folder.noted() is not None:
        flags = [*recipe_of(folder), *flags]
    begin(cli, folder, folds, args)
    for number, fold in enumerate(folds, 1):
        run = folder.run_of(fold)
        done = cli.is_finished(run)
        progress = f"fold {fold} ({number} of {len(folds)}): {run.path}"
        print_rank_zero(f"{progress}{' is done' if done else ''}")
        code = 0 if done else train_fold(folder, fold, flags, environment)
        if code:
            again = f"maedfer finetune --run {folder.path} --resume"
            print_rank_zero(f"stopped in fold {fold} with exit code {code}; continue with: {again}")
            return code
    if rank_before_fit() == 0:
        about = about_folds(cli, folder)
        print_rank_zero(write_fold_results(folder, about, cli.datamodule.index.made_by))
    return 0


def begin(cli: FinetuneCLI, folder: FoldFolder, folds: list[str], args: list[str]) -> None:
    """Checks the folds; then the first rank notes what will run, and writes the recipe of all folds.

    Later ranks may see a folder that the first has begun to fill.

    Raises:
        UserError: the folder holds other runs, or the shards do not have these folds.
    """
    is_first, resume = rank_before_fit() == 0, bool(cli.config.resume)
    if is_first:
        folder.check_other_runs(folds, resume)
    try:
        all_folds = cli.datamodule.check_folds(folds)
    except UserError as error:
        if error.parameter != "fold":
            raise
        raise UserError("folds", error.message.replace("`fold`", "`folds`")) from error
    if resume and folder.noted() is None:
        print_rank_zero(f"warning: --resume finds no folds in {folder.path}: starting with the first")
    if is_first:
        cli.save_config({"data.fold": None})
        folder.begin(folds, all_folds, f"maedfer finetune {shlex.join(args)}")


def about_folds(cli: FinetuneCLI, folder: FoldFolder) -> CrossValidationInfo:
    """Returns the metadata reported with the scores."""
    noted, data = folder.noted() or {}, cli.datamodule
    return CrossValidationInfo(
        folds=noted["folds"],
        all_folds=noted["all_folds"],
        shards=Path(data.shards).name,
        synthetic=data.is_synthetic,
        seed=cli.config.seed_everything,
        commands=noted["commands"],
        settings=cli.folder.config.read_text(encoding="utf-8"),
    )


def recipe_of(folder: FoldFolder) -> list[str]:
    """Returns the words that give a fold the settings of the others."""
    return ["--config", str(RunFolder(folder.path).config)]


def train_fold(folder: FoldFolder, fold: str, flags: list[str], environment: Mapping[str, str]) -> int:
    """Trains and tests on one fold; returns the exit code.

    A run that was begun takes its own settings and then the flags without the recipe of all folds, which
    holds what the other folds had at their start, `--init-from` too.
    """
    run = folder.run_of(fold)
    if run.exists:
        flags = [*(flags[2:] if flags[:2] == recipe_of(folder) else flags), "--resume"]
    code = run_child(["finetune", *flags, "--run", str(run.path), "--data.fold", fold], meeting(environment))
    if rank_before_fit() == 0:
        folder.end(fold, code)
    return code or wait_for_first_rank(folder, fold)


def meeting(environment: Mapping[str, str]) -> dict[str, str]:
    """Returns the environment in which the ranks of a fold meet.

    torchrun's agent keeps one store for all folds, in which a fold would find the addresses of the one
    before. So the first rank keeps a fresh one, at the next port.
    """
    if environment.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return dict(environment)
    port = int(environment["MASTER_PORT"])
    following = str(port + 1 if port < 65535 else port - 1)
    return {**environment, "TORCHELASTIC_USE_AGENT_STORE": "False", "MASTER_PORT": following}


def wait_for_first_rank(folder: FoldFolder, fold: str) -> int:
    """Waits until the first rank's process of a fold has ended too; returns its exit code.

    That process writes the report after the others have left. A rank that began the next fold before would
    find it still at the port where the ranks of that fold are to meet.
    """
    while (noted := folder.noted()) is None or fold not in noted["ended"]:
        time.sleep(POLL_S)
    return int(noted["ended"][fold])
