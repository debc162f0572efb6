"""Fixtures of the whole suite: the folder beside the checkout, quiet threads, session-wide tiny data."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder beside a checkout with real clips and oracle numbers; tests that need it are marked `real`."""
    if not SHARED.is_dir():
        pytest.skip("needs ../shared (real clips, oracle numbers)")
    return SHARED


@pytest.fixture(scope="session")
def synthetic_shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny shard folder: 22 train and 6 val tracks of synthetic faces, 32 px, one 16-frame clip each."""
    from maedfer.data.synthetic import SyntheticFaces, write_shards

    folder = tmp_path_factory.mktemp("shards") / "synthetic"
    faces = SyntheticFaces(size=32, num_frames=24, fps=6.25)
    write_shards(folder, faces, {"train": 22, "val": 6}, samples_per_shard=8, workers=1)
    return folder
