"""`maedfer finetune --folds`: a run for each fold in its own process, resumed after a kill, and refusals."""

import json
import threading
import time
from pathlib import Path

import pytest
import yaml
from helpers.answers import classified, records_of
from helpers.finetuning_runs import arguments, rewritten, scores, table
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from maedfer.__main__ import main
from maedfer.errors import UserError
from maedfer.evaluation.predictions import read_predictions, write_predictions
from maedfer.processes import child as child_process
from maedfer.runs.fold_folder import FoldFolder, parse_folds
from maedfer.training.finetuning import command, folds

pytestmark = pytest.mark.long

NO_TEST = ("--data.test_split", "none", "--data.val_share", "0", "--data.record_keys", "false")


@pytest.fixture(scope="module")
def folded(labelled_shards, tmp_path_factory):
    """The 42 training tracks in the folds 1, 2 and `the rest`, a person in one of them."""
    names = ("1", "2", "the rest")

    def edit(record, number):
        return None if record["key"].startswith("test") else record | {"fold": names[number // 2 % 3]}

    return rewritten(labelled_shards, tmp_path_factory.mktemp("folded") / "faces", edit)


@pytest.fixture
def children(monkeypatch):
    """Runs of folds that only write what a run leaves: the words of each, and the codes they end with."""
    started, codes = [], {}

    def run_child(words, environment):
        run = Path(words[words.index("--run") + 1])
        started.append(words)
        fold = words[words.index("--data.fold") + 1]
        if codes.get(fold, 0) == 2:
            return 2
        run.mkdir(parents=True, exist_ok=True)
        (run / "metrics.csv").write_text("step,loss,lr\n")
        config = json.loads(json.dumps({"data": {"fold": fold, "workers": len(started)}, "model": {"k": 1}}))
        (run / "config.yaml").write_text(yaml.safe_dump(config))
        if codes.get(fold, 0):
            return codes[fold]
        answers = classified([0, 1, 1], [0, 1, 0], ("a", "b"))
        answers = type(answers)([f"{fold}-{k}" for k in answers.keys], answers.outputs, *fields(answers))
        write_predictions(run / "predictions.csv", answers, records_of(answers, fold=[fold] * 3))
        steps = int(words[words.index("--trainer.max_steps") + 1]) if "--trainer.max_steps" in words else 14
        (run / "summary.json").write_text(json.dumps({"max_steps": steps, "max_epochs": None}))
        return 0

    monkeypatch.setattr(folds, "run_child", run_child)
    return started, codes


def fields(answers):
    return answers.targets, answers.names, answers.task


def has(words, *part):
    """Whether some words stand in a command, next to each other."""
    return any(tuple(words[i : i + len(part)]) == part for i in range(len(words)))


def test_folds_in_real_processes_survive_a_kill(folded, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))

    def run_child(words, environment):  # fold 1, which nothing befalls, without the seconds of a process
        return main(words) if words[-1] == "1" else child_process.run_child(words, environment)

    monkeypatch.setattr(folds, "run_child", run_child)
    run, note = tmp_path / "run", tmp_path / "note"
    kill = {
        "class_path": "helpers.kills.KillOnce",
        "init_args": {"note": str(note), "run": "fold_2", "step": 5},
    }
    flags = (*NO_TEST, "--data.workers", "0", "--trainer.callbacks", json.dumps([kill]))
    assert main(arguments(folded, run, *flags, "--folds", "1-2", steps=8)) == 137
    said = capfd.readouterr().out
    assert (
        f"stopped in fold 2 with exit code 137; continue with: maedfer finetune --run {run} --resume" in said
    )
    assert note.exists() and not (run / "scores.json").exists()
    first = {path: path.stat().st_mtime_ns for path in (run / "fold_1").rglob("*")}
    begun = table(run / "fold_2" / "metrics.csv")
    assert [int(row["step"]) for row in begun] in ([1, 2, 3, 4], [1, 2, 3, 4, 5])

    assert main(["finetune", "--run", str(run), "--resume"]) == 0
    said = capfd.readouterr().out
    assert "fold_1 is done" in said and "mean" in said
    assert "2 of the 3 folds" in said and "(1, 2, the rest)" in said
    assert {path: path.stat().st_mtime_ns for path in (run / "fold_1").rglob("*")} == first
    whole = tmp_path / "whole"
    assert main(arguments(folded, whole, *flags, "--data.fold", "2", steps=8)) == 0
    for name in ("metrics.csv", "predictions.csv"):
        assert (run / "fold_2" / name).read_text() == (whole / name).read_text()

    each = [scores(run / f"fold_{fold}") for fold in (1, 2)]
    assert scores(run)["uar"] == pytest.approx(sum(values["uar"] for values in each) / 2)
    pooled = table(run / "predictions.csv")
    assert [row["fold"] for row in pooled].count("1") == 14 and len(pooled) == 28
    assert sorted(row["key"] for row in pooled) == [row["key"] for row in pooled]
    assert {"report.html", "figures/folds.png", "figures/confusion.png", "config.yaml"} <= {
        str(path.relative_to(run)) for path in run.rglob("*")
    }


def test_a_fold_that_is_stopped_or_fails_stops_all(folded, children, tmp_path, capsys):
    started, codes = children
    run = tmp_path / "run"
    codes["2"] = 143
    command = arguments(folded, run, *NO_TEST, "--folds", "1,2,the rest", "--init-from", "x")
    assert main(command) == 143
    assert [words[-1] for words in started] == ["1", "2"]
    assert all(has(words, "--init_from", "x") and "--folds" not in words for words in started)
    assert json.loads((run / "folds.json").read_text())["ended"] == {"1": 0, "2": 143}
    assert "--resume" in capsys.readouterr().out.splitlines()[-1]

    assert main(command) == 2
    assert "already holds a run" in capsys.readouterr().err
    codes["2"] = 0
    assert main(["finetune", "--run", str(run), "--resume"]) == 0
    second, third = started[2:]
    assert second == ["finetune", "--resume", "--run", str(run / "fold_2"), "--data.fold", "2"]
    recipe, place = ("--config", str(run / "config.yaml")), ("--run", str(run / "fold_the-rest"))
    assert third == ["finetune", *recipe, *place, "--data.fold", "the rest"]
    settings = yaml.safe_load((run / "config.yaml").read_text())
    assert settings["init_from"] == "x" and settings["data"]["fold"] is None and "folds" not in settings
    assert scores(run)["war"] == pytest.approx(2 / 3)
    assert len(read_predictions(run / "predictions.csv")) == 9


def test_a_resume_with_other_words(folded, children, tmp_path, capsys):
    started, _ = children
    run = tmp_path / "run"
    assert main(arguments(folded, run, *NO_TEST, "--folds", "1-2")) == 0
    before = (run / "scores.json").read_text()
    resume = ["finetune", "--run", str(run), "--resume"]
    assert main(resume) == 0 and len(started) == 2  # nothing to do but the tables
    assert json.loads(before)["folds"] == json.loads((run / "scores.json").read_text())["folds"]
    # More folds: only the new one runs, as the others were begun.
    assert main([*resume, "--folds", "1,2,the rest"]) == 0 and len(started) == 3
    assert json.loads((run / "scores.json").read_text())["scores"]["samples"] == 9
    assert main([*resume, "--folds", "2"]) == 2
    assert "folds 1, the rest too" in capsys.readouterr().err
    # A longer training: every fold goes on.
    assert main([*resume, "--trainer.max_steps", "20"]) == 0
    assert [has(words, "--trainer.max_steps", "20") for words in started[3:]] == [True] * 3
    assert all("--resume" in words for words in started[3:])
    assert main([*resume, "--init-from", "x"]) == 2
    # `--resume` on nothing starts, with a warning.
    other = arguments(folded, tmp_path / "other", *NO_TEST, "--folds", "1-2", "--resume")
    assert main(other) == 0 and "finds no folds" in capsys.readouterr().out


def test_a_refused_start_can_be_mended(folded, children, tmp_path):
    _, codes = children
    codes["1"] = 2
    command = arguments(folded, tmp_path / "run", *NO_TEST, "--folds", "1-2")
    assert main(command) == 2
    codes["1"] = 0
    assert main(command) == 0


REFUSED = {
    "both words": (("--folds", "1-2", "--data.fold", "1"), ("--folds", "--data.fold")),
    "a fold that is not there": (("--folds", "1-7"), ("--folds", "3 must", "1, 2, the rest")),
    "an empty range": (("--folds", "5-1"), ("5-1",)),
    "a fold twice": (("--folds", "1-2,2"), ("twice",)),
    "no fold": (("--folds",), ("--folds",)),
    "another flag in its place": (("--folds", "--data.seed", "1"), ("--folds",)),
    "folds in two places": (("--folds", "1-2", "--folds=1"), ("given twice",)),
    "one folder": (("--folds", "a b,a/b"), ("--folds", "a b,a/b", "folder")),
    "a wrong flag": (("--folds", "1-2", "--data.foldd", "1"), ("--data.fold",)),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_before_anything_runs(case, folded, children, tmp_path, capsys):
    flags, words = REFUSED[case]
    assert main(arguments(folded, tmp_path / "run", *NO_TEST, *flags)) == 2
    message = capsys.readouterr().err.strip()
    assert all(word in message for word in words) and "\n" not in message, message
    assert not children[0] and not (tmp_path / "run").exists()


def test_shards_that_do_not_fit(labelled_shards, from_scratch, folded, children, tmp_path, capsys):
    run = tmp_path / "run"
    assert main(arguments(labelled_shards, run, *NO_TEST, "--folds", "1-2")) == 2
    assert "folds: none" in capsys.readouterr().err
    assert main(arguments(labelled_shards, run, "--folds", "1-2")) == 2
    assert "there is a split test" in capsys.readouterr().err
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("folds: 1-2\n")
    assert main(["finetune", "--config", str(recipe), "--data.shards", str(folded), "--run", str(run)]) == 2
    assert "on the command line" in capsys.readouterr().err and not run.exists()
    assert main(arguments(folded, from_scratch, *NO_TEST, "--folds", "1-2", "--resume")) == 2
    assert "holds a run without folds" in capsys.readouterr().err and not children[0]


def test_later_ranks_wait_for_the_first(folded, children, tmp_path, monkeypatch, capsys):
    started, _ = children
    run = tmp_path / "run"
    folder = FoldFolder(run)
    folder.begin(["1", "2"], ["1", "2", "the rest"], "maedfer ...")
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    monkeypatch.setattr(command, "FinetuneCLI", as_rank(1, monkeypatch))
    ended = []
    other = threading.Thread(
        target=lambda: ended.append(main(arguments(folded, run, *NO_TEST, "--folds", "1-2")))
    )
    other.start()
    wait_until(lambda: len(started) == 1)
    time.sleep(3 * folds.POLL_S)
    assert len(started) == 1  # its own process of fold 1 has ended, the first rank's has not
    folder.end("1", 0)
    wait_until(lambda: len(started) == 2)
    folder.end("2", 130)
    other.join(20)
    assert ended == [130] and not (run / "config.yaml").exists() and not (run / "scores.json").exists()


def as_rank(rank, monkeypatch):
    """The command line, in a process that a launcher has given a rank (a trainer alone takes rank 0)."""

    class OfRank(command.FinetuneCLI):
        def instantiate_trainer(self, **kwargs):
            trainer = super().instantiate_trainer(**kwargs)
            monkeypatch.setattr(rank_zero_only, "rank", rank)
            return trainer

    return OfRank


def wait_until(happened, seconds=30):
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_under_torchrun_each_fold_has_a_store_of_its_own():
    agent = {"TORCHELASTIC_USE_AGENT_STORE": "True", "MASTER_PORT": "29500", "RANK": "1"}
    assert folds.meeting(agent) == {**agent, "TORCHELASTIC_USE_AGENT_STORE": "False", "MASTER_PORT": "29501"}
    assert folds.meeting({**agent, "MASTER_PORT": "65535"})["MASTER_PORT"] == "65534"
    assert folds.meeting({"MASTER_PORT": "29500"}) == {"MASTER_PORT": "29500"}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("1-5", ["1", "2", "3", "4", "5"]),
        ("01-03", ["01", "02", "03"]),
        ("9-11", ["9", "10", "11"]),
        ("3", ["3"]),
        (" 1, 3 ,a b", ["1", "3", "a b"]),
        ("set-1,set-2", ["set-1", "set-2"]),
    ],
)
def test_names_of_folds(text, names):
    assert parse_folds(text) == names


@pytest.mark.parametrize("text", ["", "1,,2", "4-2", "1,1", "1-3,2"])
def test_names_of_no_folds(text):
    with pytest.raises(UserError, match=r"^folds:"):
        parse_folds(text)
