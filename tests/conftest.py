"""Fixtures of the whole suite: the folder beside the checkout, quiet threads, session-wide tiny data."""

import os
from collections.abc import Iterator
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
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A program that is `maedfer` without the seconds of its imports (helpers/warm.py)."""
    from helpers.warm import start_server, write_stand_in

    folder = tmp_path_factory.mktemp("warm")
    server = start_server(folder)
    write_stand_in(folder / "maedfer", folder)
    yield folder / "maedfer"
    server.kill()
    server.join()


@pytest.fixture(scope="session")
def synthetic_shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny shard folder: 22 train and 6 val tracks of synthetic faces, 32 px, one 16-frame clip each."""
    from maedfer.data.synthetic.clips import SyntheticFaces
    from maedfer.data.synthetic.dataset import write_shards

    folder = tmp_path_factory.mktemp("shards") / "synthetic"
    faces = SyntheticFaces(size=32, num_frames=24, fps=6.25)
    write_shards(folder, faces, {"train": 22, "val": 6}, samples_per_shard=8, workers=1)
    return folder


@pytest.fixture(scope="session")
def labelled_shards(tmp_path_factory):
    """42 train and 14 test tracks of 7 expressions, 32 px, 20 frames each; two tracks a person."""
    from maedfer.data.synthetic.clips import SyntheticFaces
    from maedfer.data.synthetic.dataset import write_shards

    folder = tmp_path_factory.mktemp("labelled") / "faces"
    faces = SyntheticFaces(size=32, num_frames=20, fps=6.25, clips_per_subject=2)
    write_shards(folder, faces, {"train": 42, "test": 14}, samples_per_shard=16, workers=1)
    return folder


@pytest.fixture(scope="session")
def pretrained(synthetic_shards, tmp_path_factory):
    """A pre-training run of two steps: an encoder of the shape of the fine-tuning tests."""
    from helpers import pretraining_runs

    from maedfer.__main__ import main

    run = tmp_path_factory.mktemp("pretrained") / "run"
    assert main(pretraining_runs.arguments(synthetic_shards, run, steps=2)) == 0
    return run


@pytest.fixture(scope="session")
def from_scratch(labelled_shards, tmp_path_factory):
    """A finished fine-tuning run from scratch, with a validation share and a test split."""
    from helpers import finetuning_runs

    from maedfer.__main__ import main

    run = tmp_path_factory.mktemp("from_scratch") / "run"
    assert main(finetuning_runs.arguments(labelled_shards, run)) == 0
    return run


class Killed(BaseException):
    """A kill in these tests: the command line does not catch it, and nothing is saved."""


@pytest.fixture
def kill(monkeypatch):
    """Run a command until a hook of a callback is due at a step, and die there."""

    def run_and_die(command, owner, hook, step):
        real = getattr(owner, hook)

        def dying(self, trainer, *rest):
            if trainer.global_step == step:
                raise Killed
            real(self, trainer, *rest)

        from maedfer.__main__ import main

        with monkeypatch.context() as patched, pytest.raises(Killed):
            patched.setattr(owner, hook, dying)
            main(command)

    return run_and_die
