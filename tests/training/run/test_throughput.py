"""The speed of a run, worked out by hand on a clock of the test: rows, time left, waiting, the warning."""

from types import SimpleNamespace

import pytest
import torch
from helpers.clip_batches import clip_batch
from helpers.finetuning_runs import table

from maedfer.data.loading.loader import ClipLoader
from maedfer.processes.cores import MAX_WORKERS
from maedfer.text import duration
from maedfer.training.run import progress, throughput
from maedfer.training.run.progress import ProgressLines, RunProgress
from maedfer.training.run.throughput import Throughput, faster_data


class Clock:
    """Stands in for the `time` module, and moves only when it is told to."""

    def __init__(self):
        self.now = 1000.0

    def perf_counter(self):
        return self.now

    monotonic = perf_counter


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    for module in ("training.run.throughput", "training.run.progress", "data.loading.loader"):
        monkeypatch.setattr(f"maedfer.{module}.time", clock)
    return clock


def data(**changed):
    """The settings of a data module that decide what is advised."""
    encoding = SimpleNamespace(encoding={"name": changed.pop("encoding", "jpeg")})
    usual = {"shards": "/data/faces", "workers": MAX_WORKERS, "clips_per_sample": 4}
    return SimpleNamespace(**{**usual, **changed}, index=encoding)


class Run:
    """A run of eight clips a step, a hundred steps long, of which each second step is logged."""

    def __init__(self, folder, clock, **settings):
        self.clock, self.batch = clock, clip_batch("a" * 8)
        self.module = SimpleNamespace(total_steps=100, device="cpu")
        self.logged = []
        logger = SimpleNamespace(log_metrics=lambda values, step: self.logged.append((step, values)))
        self.trainer = SimpleNamespace(
            **{"global_step": 0, "world_size": 1, "is_global_zero": True, "log_every_n_steps": 2},
            **{"loggers": [logger], "datamodule": data(**settings), "num_devices": 1},
            **{"train_dataloader": SimpleNamespace(waited_s=0.0), "progress_bar_callback": None},
        )
        self.outputs = {"unscaled": 0.5}
        self.throughput = Throughput(folder)
        self.callbacks = [self.throughput]
        self.throughput.on_train_start(self.trainer, self.module)

    def steps(self, count, seconds, waited):
        """So many steps of so many seconds, of which the loader lets wait for some."""
        for _ in range(count):
            self.clock.now += seconds
            self.trainer.train_dataloader.waited_s += waited
            self.trainer.global_step += 1
            for callback in self.callbacks:
                callback.on_train_batch_end(self.trainer, self.module, self.outputs, self.batch, 0)


def test_rows_are_what_the_clock_says(tmp_path, clock, capsys):
    run = Run(tmp_path, clock)
    run.steps(1, seconds=60, waited=50)  # the start of the workers, which no row counts
    run.steps(11, seconds=2, waited=0.2)
    run.throughput.on_validation_start(run.trainer, run.module)
    clock.now += 110
    run.throughput.on_validation_end(run.trainer, run.module)
    run.steps(21, seconds=2, waited=0.2)
    run.throughput.on_train_end(run.trainer, run.module)
    rows = table(tmp_path / "throughput.csv")
    # Even steps are logged; ten seconds have passed at step 6, then every six steps (ten seconds are five).
    assert [int(row["step"]) for row in rows] == [6, 12, 14, 20, 26, 32, 33]
    assert {(row["clips_per_s"], row["waiting"]) for row in rows} == {("4.00", "0.1000")}
    # Two seconds a step up to step 12, 11 steps in 22 s; then 110 s of evaluation are in the mean pace.
    assert [int(row["seconds_left"]) for row in rows[:3]] == [188, 176, round(86 * (26 + 110) / 13)]
    assert [step for step, _ in run.logged] == [6, 12, 14, 20, 26, 32, 33]
    assert run.logged[0][1] == {
        "throughput/clips_per_s": pytest.approx(4),
        "throughput/waiting": pytest.approx(0.1),
    }
    assert "warning" not in capsys.readouterr().out
    run.throughput.teardown(run.trainer, run.module, "fit")


def test_no_row_comes_twice(tmp_path, clock):
    run = Run(tmp_path, clock)
    run.steps(8, seconds=5, waited=0)
    run.throughput.on_train_end(run.trainer, run.module)
    assert [int(row["step"]) for row in table(tmp_path / "throughput.csv")] == [4, 6, 8]


def test_the_window_moves_on(tmp_path, clock):
    run = Run(tmp_path, clock)
    run.steps(1, seconds=1, waited=0)
    run.steps(20, seconds=4, waited=0)
    run.steps(19, seconds=2, waited=1)
    assert run.throughput.latest.clips_per_s == pytest.approx(4)
    assert run.throughput.latest.waiting == pytest.approx(0.5)
    # Seconds left are those of the mean pace: 39 steps in 118 s, 60 to go.
    assert run.throughput.latest.seconds_left == pytest.approx(60 * 118 / 39)


def test_micro_batches_count_and_ranks_add_up(tmp_path, clock):
    run = Run(tmp_path, clock)
    run.steps(1, seconds=1, waited=0)
    for _ in range(2):
        run.throughput.on_train_batch_end(run.trainer, run.module, {}, run.batch, 0)  # of a step not over
        run.steps(1, seconds=4, waited=0)
    run.steps(1, seconds=4, waited=0)
    assert run.trainer.global_step == 4
    assert run.throughput.latest.clips_per_s == pytest.approx(5 * 8 / 12)


def test_the_slowest_of_two_ranks_counts(tmp_path, clock, monkeypatch):
    def with_another_rank(tensor, op):
        assert op == torch.distributed.ReduceOp.MAX
        tensor.copy_(torch.maximum(tensor, torch.tensor(0.75)))  # that of the other one

    monkeypatch.setattr(torch.distributed, "all_reduce", with_another_rank)
    run = Run(tmp_path, clock)
    run.trainer.world_size = 2
    run.steps(4, seconds=2, waited=0.2)
    assert run.throughput.latest.waiting == 0.75
    assert run.throughput.latest.clips_per_s == pytest.approx(2 * 8 / 2)


def test_a_long_wait_is_warned_of_once(tmp_path, clock, capsys):
    run = Run(tmp_path, clock, encoding="h264", clips_per_sample=1, shards="https://host/faces", workers=0)
    run.steps(1, seconds=20, waited=20)
    run.steps(6, seconds=2, waited=1)
    assert "warning" not in capsys.readouterr().out  # one row may be an accident
    run.steps(30, seconds=2, waited=1)
    shown = capsys.readouterr().out
    assert shown.count("warning: 50% of the time") == 1
    assert all(words in shown for words in ("--data.workers", "jpeg", "--data.clips_per_sample", "copy"))


def test_a_short_wait_is_not(tmp_path, clock, capsys):
    run = Run(tmp_path, clock, workers=0)
    run.steps(40, seconds=2, waited=0.38)
    assert "warning" not in capsys.readouterr().out


def test_remedies_are_those_that_can_help(monkeypatch):
    monkeypatch.setattr(throughput, "usable_cores", lambda: 8)
    monkeypatch.setattr(throughput, "workers_for", lambda devices: 8 // devices)
    assert faster_data(data(workers=3), 2) == ["--data.workers 4 (8 cores, 3 workers a device)"]
    assert "more cores" in faster_data(data(workers=4), 2)[0]
    assert "jpeg" in faster_data(data(encoding="h264"), 2)[0]
    assert "disk" in faster_data(data(shards="pipe:cat /faces/{name}"), 2)[0]
    assert "clips_per_sample 2" in faster_data(data(clips_per_sample=1, encoding="h264"), 2)[-1]
    assert "more cores" in faster_data(data(clips_per_sample=1), 2)[0]


def test_the_loader_adds_up_what_it_waits_for(clock):
    class Slow:
        def __iter__(self):
            for number in range(3):
                clock.now += 2.0
                yield clip_batch(batch=number)

    loader = ClipLoader(lambda: 3, lambda: (Slow(), 0), samples=4, batch_size=4, max_broken_share=0.0)
    for _ in loader:
        clock.now += 100.0  # training
    assert loader.waited_s == 6.0


def test_a_plain_line_every_minute(tmp_path, clock, capsys):
    run = Run(tmp_path, clock)
    lines = ProgressLines(run.throughput)
    run.callbacks.append(lines)
    lines.on_train_start(run.trainer, run.module)
    run.steps(29, seconds=2, waited=0.2)
    assert capsys.readouterr().out == ""
    run.steps(31, seconds=2, waited=0.2)
    assert capsys.readouterr().out.splitlines() == [
        f"step {step} of 100: loss 0.5000, 4.0 clips/s, 10% waiting for data, {left} left"
        for step, left in ((30, "2 min 20 s"), (60, "1 min 20 s"))
    ]


def test_a_bar_on_a_terminal_and_no_lines_beside_it(tmp_path, clock, capsys, monkeypatch):
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True, raising=False)
    run = Run(tmp_path, clock)
    bar, lines = RunProgress(run.throughput), ProgressLines(run.throughput)
    run.trainer.progress_bar_callback = bar
    run.callbacks += [bar, lines]
    bar._trainer = run.trainer
    bar.on_train_start(run.trainer, run.module)
    lines.on_train_start(run.trainer, run.module)
    run.steps(70, seconds=2, waited=0.2)
    bar.teardown(run.trainer, run.module, "fit")
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "70/100" in shown.err and "loss 0.5000, 4.0 clips/s, 10% waiting for data" in shown.err


def test_a_log_has_no_bar(tmp_path, clock, capsys):
    run = Run(tmp_path, clock)
    bar = RunProgress(run.throughput)
    bar.on_train_start(run.trainer, run.module)
    assert not bar.is_shown and capsys.readouterr().err == ""


def test_durations():
    times = {0.4: "0 s", 59.6: "1 min 00 s", 3599: "59 min 59 s", 3600: "1 h 00 min", 100_000: "1 d 3 h"}
    assert {seconds: duration(seconds) for seconds in times} == times
