"""Runs side by side: each once, each in its own log, and how they end."""

import pytest

from maedfer import side_by_side
from maedfer.side_by_side import check, log_of, run_one, run_side_by_side


@pytest.fixture
def called(monkeypatch):
    """Words that reach the command line, in place of running them."""
    words = []
    monkeypatch.setattr("maedfer.__main__.main", lambda args: words.append(args) or print("said") or 0)
    return words


def test_a_run_is_started_once_and_resumed_with_its_own_settings(tmp_path, called):
    run = tmp_path / "runs" / "a-0.5"
    assert run_one(run, ["finetune", "--init-from", "x"]) == 0
    assert log_of(run).read_text() == "said\n" and log_of(run).name == "a-0.5.log"
    run.mkdir()
    (run / "config.yaml").touch()
    run_one(run, ["finetune", "--init-from", "x"])
    assert called == [
        ["finetune", "--init-from", "x", "--run", str(run)],
        ["finetune", "--resume", "--run", str(run)],
    ]


def test_what_is_done_is_left_alone(tmp_path, monkeypatch):
    (tmp_path / "done").mkdir()
    (tmp_path / "done" / "summary.json").touch()
    monkeypatch.setattr(side_by_side, "ProcessPoolExecutor", None)
    run_side_by_side({tmp_path / "done": ["finetune"]}, "nothing")


def test_a_failure_among_several_is_named_and_the_rest_is_not_begun(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(side_by_side, "usable_cores", lambda: 1)
    runs = {tmp_path / f"run-{number}": ["verify", str(tmp_path / "none")] for number in range(8)}
    with pytest.raises(ValueError, match=r"exit code 2: see .*run-\d\.log"):
        run_side_by_side(runs, "verifying")
    # The pool takes the next one or two off its list before it hears of the first.
    assert 1 <= len(list(tmp_path.glob("*.log"))) <= 4


def test_a_run_that_failed_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"exit code 2: see .*probe-0\.log"):
        check(2, tmp_path / "probe-0")
    with pytest.raises(KeyboardInterrupt, match="continue"):
        check(130, tmp_path / "probe-0")
