"""The scaling bench runs for real on tiny encoders; what it counts is compared with published numbers."""

import json
import subprocess
from pathlib import Path

import pytest
import torch

from maedfer.errors import UserError

pytestmark = pytest.mark.long

TOOLS = Path(__file__).resolve().parents[2] / "tools"


@pytest.fixture(autouse=True)
def tools_on_path(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))


def test_sizes_and_lengths_are_compared(warm, tmp_path):
    words = (
        "--shape",
        "tiny",
        "--sides",
        "[32,48,64]",
        "--lengths",
        "[8,16]",
        "--side",
        "48",
        "--repeats",
        "1",
    )
    command = [warm, "bench", "scaling", "--out", str(tmp_path), *words]
    command += ["--max_tokens", "300", "--plan_samples", "[20000,2000000]"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    content = json.loads((tmp_path / "scaling.json").read_text())
    rows = {(row["frames"], row["px"]): row for row in content["rows"]}
    assert {size: row["tokens"] for size, row in rows.items()} == {(8, 48): 144, (16, 32): 128, (16, 48): 288}
    for row in rows.values():
        for unit, saving in {"GFLOP": "FLOPs", "MiB": "memory", "unfused MiB": "unfused memory"}.items():
            assert row[f"{saving} saved"] == pytest.approx(1 - row[f"LGI {unit}"] / row[f"joint {unit}"])
        assert row["LGI ms"] > 0 and row["joint ms"] > 0
    # Joint attention grows with the square of the tokens, so a larger clip saves more.
    assert rows[16, 48]["FLOPs saved"] > max(rows[16, 32]["FLOPs saved"], rows[8, 48]["FLOPs saved"])
    assert rows[16, 48]["unfused memory saved"] > rows[16, 48]["memory saved"]
    assert len(content["settings"]["conclusions"]) == 8
    assert all(sentence in done.stdout for sentence in content["settings"]["conclusions"])
    assert (tmp_path / "scaling.png").stat().st_size > 20_000
    small, large = json.loads((tmp_path / "plan_cost.json").read_text())["rows"]
    assert (small["samples"], small["shards"], large["shards"]) == (20_000, 85, 8439)
    assert small["plain resumed s"] > 0 and "plain s" not in large and "2,000,000" in done.stdout
    # A reader has 100 times as many samples, and still takes only bytes for each shard.
    assert large["resumed MiB"] < 30 and large["MiB"] < 5


def test_sizes_that_leave_nothing_or_do_not_divide_are_refused(tmp_path):
    from benchmarks.scaling import scaling

    with pytest.raises(UserError, match="max_tokens: 10 leaves no size"):
        scaling(tmp_path, "tiny", max_tokens=10)
    with pytest.raises(ValueError, match=r"\(2, 2, 5\)"):
        scaling(tmp_path, "tiny", sides=[40], lengths=[])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("side", "lgi", "joint", "base"), [(160, 49.65, 51.38, 80.69), (224, 99.2, 120.4, 180.3)]
)
def test_operations_are_the_published_ones(side, lgi, joint, base):
    from benchmarks.scaling import SHAPES, Size, counted

    found = [counted(architecture, Size(16, side)) for architecture in SHAPES["base"]]
    assert [flops / 2e9 for flops in found] == pytest.approx([lgi, joint, base], rel=1e-3)


@pytest.mark.parametrize("architecture", ["lgi_former_tiny_patch8_64", "vit_joint_tiny_patch8_64"])
def test_two_blocks_tell_what_all_keep(architecture):
    from benchmarks.cost import kept_bytes
    from benchmarks.scaling import Size, kept_of_all_blocks

    from maedfer.models import build_encoder

    encoder, clip = build_encoder(architecture), torch.randn(1, 3, 16, 64, 64)
    kept = kept_bytes(lambda: encoder.forward_features(clip), encoder.parameters())
    assert kept_of_all_blocks(architecture, Size(16, 64), torch.device("cpu")) == pytest.approx(kept / 2**20)


def test_what_is_said_of_savings():
    from benchmarks.scaling import MEASURES, said

    savings = {"time": [-0.1, 0.2, 0.01, 0.06, 0.3], "FLOPs": [0.1, 0.1, 0.1, 0.1, 0.1]}
    savings |= {"memory": [-0.3] * 5, "unfused memory": [0.0, 0.0, 0.0, 0.0, 0.051]}
    rows = [
        {"px": px, **{f"{m} saved": savings[m][i] for m in savings}}
        for i, px in enumerate((32, 64, 96, 128, 160))
    ]
    time, flops, memory, unfused = said(rows, "px", "of 16 frames")
    assert set(savings) == set(MEASURES.values())
    assert time == "time, clips of 16 frames: LGI-Former saves 6.0% from 128 px on, 30.0% at 160 px"
    assert "10.0% from 32 px on" in flops and "5.1% from 160 px on" in unfused
    assert "no saving of 5% that lasts (between -30.0% and -30.0%)" in memory
