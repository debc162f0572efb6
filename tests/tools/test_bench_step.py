"""The step bench as a user runs it, with a tiny model, and what all benches share."""

import json
import subprocess
from pathlib import Path

import pytest
import torch

from maedfer.errors import UserError

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[2]

from benchmarks.cost import flops_of, kept_bytes  # noqa: E402
from benchmarks.result import markdown  # noqa: E402
from benchmarks.step import ways_of  # noqa: E402
from benchmarks.timing import Timing, in_turn  # noqa: E402

TINY = "lgi_former_tiny_patch8_64"


def bench(warm, *words, cwd):
    command = [warm, "bench", *words]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=200)


def test_every_way_takes_a_step_and_is_compared_with_the_plain_one(warm, tmp_path):
    flags = ["--architecture", TINY, "--batch-size", "1", "--repeats", "1", "--out", "results"]
    done = bench(warm, "step", *flags, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "results" / "step.json").read_text())
    rows = {row["way"]: row for row in result["rows"]}
    plain, ours, half = rows["plain, fp32"], rows["fp32"], rows["bf16, half the masked tokens"]
    assert result["machine"]["torch"] == torch.__version__ and result["settings"]["batch_size"] == 1
    assert plain["time"] == 1 and all(row["clips/s"] > 0 for row in rows.values())
    assert ours["loss differs"] < 1e-6 and ours["gradient differs"] < 1e-5
    assert 0 < rows["bf16"]["gradient differs"] < 0.05
    assert half["GFLOP"] < ours["GFLOP"] < plain["GFLOP"] and "loss differs" not in half
    assert rows["fp32, checkpointing"]["kept MiB"] < ours["kept MiB"] < plain["kept MiB"]
    assert (tmp_path / "results" / "step.png").stat().st_size > 5000
    assert all(f"| {way} " in done.stdout for way in rows)


def test_a_step_changes_the_weights_and_the_plain_way_is_really_plain():
    torch.manual_seed(0)
    ways = ways_of(TINY, 2, torch.device("cpu"), compile=False)
    weight = ways["fp32"].mae.encoder.patch_embed.proj.weight
    for name in ("plain, fp32", "bf16, half the masked tokens"):
        before = weight.detach().clone()
        ways[name]()
        assert not torch.equal(before, weight), name
    events = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU])
    with events, torch.no_grad():
        ways["plain, fp32"].forward()
    names = {event.key for event in events.key_averages()}
    assert {"aten::conv3d", "aten::softmax", "aten::nonzero"} <= names
    assert "aten::scaled_dot_product_attention" not in names


def test_the_compiled_step_is_that_of_training_and_counts_as_the_eager_one(monkeypatch):
    from benchmarks.step import _compare, _cost

    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", lambda *args, **kw: compile_(*args, **kw, backend="eager"))
    torch.manual_seed(0)
    ways = ways_of(TINY, 1, torch.device("cpu"), compile=True)
    ways = {name: ways[name] for name in ("plain, fp32", "bf16", "bf16, compiled")}
    rows = {name: _cost(way, ways["plain, fp32"], 1) for name, way in ways.items()}
    compiled = rows["bf16, compiled"]
    assert compiled["GFLOP"] == rows["bf16"]["GFLOP"] and "kept MiB" not in compiled
    _compare(ways, rows)
    assert compiled["loss differs"] == pytest.approx(rows["bf16"]["loss differs"], abs=2e-3)


def test_costs_are_those_counted_by_hand():
    a, b = torch.randn(3, 5), torch.randn(5, 7, requires_grad=True)
    assert flops_of(lambda: a @ b) == 2 * 3 * 5 * 7
    # The product keeps `a` (and `b`, a parameter), the exponential its result; a view of it adds nothing.
    for device in ("cpu", "meta"):
        x, weight = (value.detach().to(device).requires_grad_() for value in (a, b))
        assert kept_bytes(lambda: (x @ weight).exp().view(-1).square(), [weight]) == 4 * (3 * 5 + 3 * 7)  # noqa: B023


def test_ways_take_turns_and_ratios_are_those_of_neighbours():
    calls = []
    timings = in_turn({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, repeats=2)
    assert calls == ["a", "b"] * 3 and all(len(timing.seconds) == 2 for timing in timings.values())
    assert Timing((2.0, 40.0, 3.0)).ratio_to(Timing((1.0, 10.0, 2.0))) == 2.0
    with pytest.raises(UserError, match="repeats: 0 must be 1 or more"):
        in_turn({}, 0)


def test_a_table_shows_what_there_is():
    rows = [{"way": "one", "time": 1.0}, {"way": "another", "more": 3}]
    table = markdown(rows, {"way": "", "time": ".2f"}).splitlines()
    assert table == ["| way     | time |", "|---------|-----:|", "| one     | 1.00 |", "| another |      |"]


def test_wrong_words_are_one_line(capsys):
    from bench import main

    for words, said in (
        ((), "bench: say which: loader, step, encoder, scaling\n"),
        (("speed",), "bench: say which: loader, step, encoder, scaling\n"),
        (("step", "--repeat", "2"), "bench step: there is no setting 'repeat'; did you mean --repeats?\n"),
        (("step", "--architecture", "vit_joint_tiny_patch8_64"), "bench step: --architecture: the plain way"),
        (("encoder", "--batch-size", "0"), "bench encoder: --batch-size: 0 must be 1 or more\n"),
    ):
        assert main(list(words)) == 2
        printed = capsys.readouterr()
        assert printed.err.startswith(said) and printed.err.count("\n") == 1 and not printed.out, printed
    assert main(["--help"]) == 0 and "loader|step|encoder|scaling" in capsys.readouterr().out
