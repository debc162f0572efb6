"""`maedfer finetune --folds`: a run for every fold, each in a process of its own, and what they say together.

Processes start afresh, so that no fold knows of another, whatever strategy it trains with; they inherit the
environment, so that under a launcher the processes of all ranks meet fold by fold. Finished folds are not
done again, and one that was begun goes on.
"""

import os
import shlex
import time
from collections.abc import Mapping
from pathlib import Path

from pytorch_lightning.utilities.rank_zero import rank_zero_only

from maedfer.errors import UserError
from maedfer.processes.child import run_child
from maedfer.report.folds import CrossValidationInfo, write_fold_results
from maedfer.runs.fold_folder import FoldFolder, parse_folds
from maedfer.runs.folder import RunFolder
from maedfer.training.finetuning.cli import FinetuneCLI
from maedfer.training.run.cli import in_pairs, named_run, with_recipes
from maedfer.training.run.screen import say

POLL_S = 0.2
"""Seconds between two looks at the note of the first rank."""


def concerns_folds(args: list[str]) -> bool:
    """Whether the words are about folds: they name some, or resume a folder that has a note of them."""
    words = in_pairs(args)
    folder = FoldFolder(Path(named_run(words, FinetuneCLI.default_run)))
    return "--folds" in words or ("--resume=true" in words and folder.note.is_file())


def train_folds(args: list[str]) -> int:
    """Train and test on every fold; returns 0, or the exit code of the first run that did not end well.

    Raises:
        UserError: folds that the shards do not have or that cannot be tested on, a folder that holds
            something else, or settings that a run refuses.
    """
    environment, words = dict(os.environ), in_pairs(args)
    asked, given = folds_named(words), without(words, "--folds")
    if any(word.split("=")[0] == "--data.fold" for word in given):
        raise UserError("folds", "tests on each fold in turn, `fold` on one: give one of them")
    cli = FinetuneCLI(with_recipes(given, FinetuneCLI.default_run))
    folder, resume = FoldFolder(cli.folder.path), bool(cli.config.resume)
    folds = folder.folds_to_run(asked, resume)
    flags = without([word for word in given if not word.startswith("--resume=")], "--run")
    if resume and folder.noted() is not None:
        flags = [*recipe_of(folder), *flags]
    begin(cli, folder, folds, args)
    for number, fold in enumerate(folds, 1):
        run = folder.run_of(fold)
        done = is_done(cli, run)
        say(f"fold {fold} ({number} of {len(folds)}): {run.path}{' is done' if done else ''}")
        code = 0 if done else train_fold(folder, fold, flags, environment)
        if code:
            again = f"maedfer finetune --run {folder.path} --resume"
            say(f"stopped in fold {fold} with exit code {code}; continue with: {again}")
            return code
    if rank_zero_only.rank == 0:
        say(write_fold_results(folder, about_folds(cli, folder), cli.datamodule.index.made_by))
    return 0


def begin(cli: FinetuneCLI, folder: FoldFolder, folds: list[str], args: list[str]) -> None:
    """Refuse what can be; then the first rank notes what will run, and writes the recipe of all folds.

    Later ranks may see a folder that the first has begun to fill.
    """
    is_first, resume = rank_zero_only.rank == 0, bool(cli.config.resume)
    if is_first:
        folder.refuse_other_runs(folds, resume)
    try:
        all_folds = cli.datamodule.check_folds(folds)
    except UserError as error:
        raise UserError("folds" if error.parameter == "fold" else error.parameter, error.message) from error
    if resume and folder.noted() is None:
        say(f"warning: --resume finds no folds in {folder.path}: starting with the first")
    if is_first:
        cli.save_config({"data.fold": None})
        folder.begin(folds, all_folds, f"maedfer finetune {shlex.join(args)}")


def about_folds(cli: FinetuneCLI, folder: FoldFolder) -> CrossValidationInfo:
    """What has to stand beside the scores."""
    noted, data = folder.noted(), cli.datamodule
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
    """The words that begin a fold as the others were begun."""
    return ["--config", str(RunFolder(folder.path).config)]


def folds_named(words: list[str]) -> list[str] | None:
    """The folds behind `--folds`; None without it.

    Raises:
        UserError: it names none, or is given twice.
    """
    if "--folds" not in words:
        return None
    if words.count("--folds") > 1:
        raise UserError("folds", "given twice: name all folds in one, as 1-5 or a,b,c")
    named = words[words.index("--folds") + 1 :][:1]
    if not named or named[0].startswith("--"):
        raise UserError("folds", "names none: give folds as 1-5 or as names, a,b,c")
    return parse_folds(named[0])


def without(words: list[str], flag: str) -> list[str]:
    """The words without a flag and its value."""
    if flag not in words:
        return words
    place = words.index(flag)
    return without(words[:place] + words[place + 2 :], flag)


def train_fold(folder: FoldFolder, fold: str, flags: list[str], environment: Mapping[str, str]) -> int:
    """Train and test on one fold; returns the exit code.

    A run that was begun takes its own settings and then the flags, which on a resume begin with the recipe
    of all folds; that holds what the other folds had from the start, `--init-from` too.
    """
    run = folder.run_of(fold)
    if run.exists:
        flags = [*(flags[2:] if flags[:2] == recipe_of(folder) else flags), "--resume"]
    code = run_child(["finetune", *flags, "--run", str(run.path), "--data.fold", fold], meeting(environment))
    if rank_zero_only.rank == 0:
        folder.end(fold, code)
    return code or wait_for_first_rank(folder, fold)


def is_done(cli: FinetuneCLI, run: RunFolder) -> bool:
    """Whether a fold's run has ended by itself, and no further steps or epochs are asked for now."""
    done = run.finished()
    return done is not None and all(done[name] == value for name, value in cli.asked_length().items())


def meeting(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment in which the ranks of a fold meet.

    torchrun's agent keeps one store for all folds, in which a fold would find the addresses of the one
    before. So the first rank keeps a fresh one, at the next port.
    """
    if environment.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return dict(environment)
    port = int(environment["MASTER_PORT"])
    following = str(port + 1 if port < 65535 else port - 1)
    return {**environment, "TORCHELASTIC_USE_AGENT_STORE": "False", "MASTER_PORT": following}


def wait_for_first_rank(folder: FoldFolder, fold: str) -> int:
    """Wait until the first rank's process of a fold has ended too; returns its exit code.

    It writes the report when the others have left. One that went on to the next fold would find it still
    at the port where that fold's ranks are to meet.
    """
    while (noted := folder.noted()) is None or fold not in noted["ended"]:
        time.sleep(POLL_S)
    return int(noted["ended"][fold])
