"""The encoder bench runs for real on a tiny classifier; the official views are compared with a loop."""

import json
import subprocess
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.long

TOOLS = Path(__file__).resolve().parents[2] / "tools"


@pytest.fixture(autouse=True)
def tools_on_path(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))


@pytest.fixture(scope="module")
def bench(warm, tmp_path_factory):
    """What the command printed, and its folder."""
    out = tmp_path_factory.mktemp("bench")
    words = ("--architecture", "lgi_former_tiny_patch8_64", "--batch_size", "2", "--repeats", "1")
    command = [warm, "bench", "encoder", "--out", str(out), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout, out


def test_every_way_stands_beside_the_plain_one_of_its_part(bench):
    printed, out = bench
    content = json.loads((out / "encoder.json").read_text())
    rows = {(row["part"], row["way"]): row for row in content["rows"]}
    # Those of a GPU come on top.
    assert set(rows) >= {
        *(("classifier", way) for way in ("plain, fp32", "fp32", "plain, bf16", "bf16")),
        *(("last block", way) for way in ("every token", "representative tokens only")),
        *(("official test", way) for way in ("all views", "distinct views")),
    }
    for (part, way), row in rows.items():
        assert way in printed and row["ms"] > 0 and len(row["seconds"]) == 1
        first = next(other for other in content["rows"] if other["part"] == part)
        assert row["time"] == pytest.approx(row["seconds"][0] / first["seconds"][0])
        assert ("scores differ" in row) == (row is not first)
    assert (out / "encoder.png").stat().st_size > 5000


def test_faster_ways_give_the_same_scores(bench):
    rows = {row["way"]: row for row in json.loads((bench[1] / "encoder.json").read_text())["rows"]}
    for way in ("fp32", "representative tokens only", "distinct views"):
        assert rows[way]["scores differ"] < 1e-5
    assert 1e-5 < rows["bf16"]["scores differ"] < 0.05
    assert (rows["all views"]["clips"], rows["distinct views"]["clips"]) == (4, 2)
    assert rows["distinct views"]["FLOPs"] == pytest.approx(0.5)
    assert rows["representative tokens only"]["FLOPs"] < 1


def test_what_the_published_classifier_spares():
    from benchmarks.cost import flops_of
    from benchmarks.encoder import last_block_ways

    from maedfer.models import build_encoder

    with torch.device("meta"), torch.no_grad():
        model = build_encoder("lgi_former_base_patch16_160", {"num_classes": 7}).eval()
        every, spared = last_block_ways(model, 1).values()
        assert flops_of(every.scores) == pytest.approx(2 * 49.65e9, rel=1e-4)
        # MLP, queries and outputs of two attentions, the first one's products; then the second attention's.
        spared_macs = 800 * (8 * 512**2 + 4 * 512**2 + 2 * 101 * 512)
        spared_macs += 8 * 2 * 512**2 + 2 * 800 * 8 * 512
        assert flops_of(every.scores) - flops_of(spared.scores) == 2 * spared_macs


@pytest.mark.parametrize(("frames", "wide"), [(125, 8), (125, 14), (40, 8), (3, 11)])
def test_official_views_are_those_of_a_plain_loop(frames, wide):
    from benchmarks.encoder import official_views

    track = torch.randn(3, frames, 8, wide)
    views = official_views(track, side=8, frames=16)
    sampled = list(range(0, frames, 4))
    sampled += [sampled[-1]] * (16 - len(sampled))
    expected = [
        torch.stack([track[:, frame, :, left : left + 8] for frame in chosen], dim=1)
        for chosen in (sampled[:16], sampled[-16:])
        for left in (0, wide - 8)
    ]
    assert torch.equal(views, torch.stack(expected))
    assert torch.equal(official_views(track.transpose(2, 3), 8, 16), views.transpose(3, 4))
    distinct = {view.numpy().tobytes() for view in views}
    assert len(distinct) == (2 if frames > 64 else 1) * (2 if wide > 8 else 1)
