"""The loader under Lightning: exact resume at any step, epochs of unequal length, too many broken samples."""

import pytest
import pytorch_lightning as pl
import torch
from helpers.clip_batches import clip_batch
from helpers.stream_shards import stream_sample, write_stream_shards
from pytorch_lightning.callbacks import Callback

from maedfer.data.loading.datamodule import ClipDataModule
from maedfer.data.loading.loader import BrokenWatch
from maedfer.data.shards.format import write_shard
from maedfer.errors import UserError

SAMPLES = 26
SETTINGS = {"batch_size": 4, "crop": "resized", "flip": 0.5, "shuffle_window": 5, "workers": 0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_stream_shards(tmp_path_factory.mktemp("loader"))


class KeyNoter(pl.LightningModule):
    """Trains one number, and notes the clips of every step."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen, self.held_out, self.lengths = [], [], []

    def training_step(self, batch, batch_idx):
        boxes = [round(value, 5) for value in batch.boxes.flatten().tolist()]
        self.seen.append((batch.epoch, batch.batch, batch_idx, batch.keys, batch.starts, boxes))
        self.trainer.datamodule.consumed(batch)
        return self.weight * batch.boxes.mean()

    def validation_step(self, batch, batch_idx):
        kept = batch.valid.tolist()
        self.held_out += [key for key, valid in zip(batch.keys, kept, strict=True) if valid]

    def on_train_epoch_end(self):
        self.lengths.append((self.current_epoch, self.trainer.num_training_batches))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class SaveAndStop(Callback):
    """Saves a checkpoint after a step, or at the end of the epoch that the step ends, and stops there."""

    def __init__(self, path, step, at_epoch_end=False):
        self.path, self.step, self.at_epoch_end = path, step, at_epoch_end

    def on_train_batch_end(self, trainer, module, *_):
        if trainer.global_step == self.step and not self.at_epoch_end:
            self.save(trainer)

    def on_train_epoch_end(self, trainer, module):
        if trainer.global_step == self.step and self.at_epoch_end:
            self.save(trainer)

    def save(self, trainer):
        trainer.save_checkpoint(self.path)
        trainer.should_stop = True


def fit(folder, callbacks=(), resume=None, limits=None, reload=0, **settings):
    module, data = KeyNoter(), ClipDataModule(str(folder), **(SETTINGS | settings))
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = pl.Trainer(
        **({"max_epochs": 3} if limits is None else limits),
        **quiet,
        accelerator="cpu",
        callbacks=list(callbacks),
        enable_checkpointing=False,
        num_sanity_val_steps=0,
        limit_val_batches=0,
        reload_dataloaders_every_n_epochs=reload,
    )
    trainer.fit(module, data, ckpt_path=resume, weights_only=False)
    return module


def clips(module):
    """What was trained, without Lightning's own batch numbers."""
    return [(epoch, batch, *rest) for epoch, batch, _, *rest in module.seen]


@pytest.fixture(scope="module")
def straight(folder):
    """Three epochs without a stop: 26 samples, 4 a step, so epochs of 6, 7 and 6 batches."""
    return fit(folder)


def test_epochs_carry_their_remainder_over(straight):
    assert [(epoch, batch) for epoch, batch, *_ in straight.seen] == [
        *((0, n) for n in range(6)), *((1, n) for n in range(7)), *((2, n) for n in range(6))
    ]  # fmt: skip
    assert straight.lengths == [(0, 6), (1, 7), (2, 6)]
    assert [number for _, _, number, *_ in straight.seen[6:13]] == list(range(7))
    keys = [key for _, _, _, keys, *_ in straight.seen for key in keys]
    assert len(set(keys)) == SAMPLES and {keys.count(key) for key in keys} <= {2, 3}


@pytest.mark.parametrize("reload", [0, 1])
@pytest.mark.parametrize(
    ("step", "at_epoch_end"),
    [(1, False), (5, False), (6, False), (6, True), (12, False), (13, False), (13, True)],
)
def test_a_resumed_run_sees_what_it_would_have_seen(folder, tmp_path, straight, step, at_epoch_end, reload):
    path = tmp_path / "stop.ckpt"
    first = fit(folder, [SaveAndStop(path, step, at_epoch_end)], reload=reload)
    second = fit(folder, resume=path, reload=reload)
    assert len(first.seen) == step and clips(first) + clips(second) == clips(straight)
    assert second.lengths == straight.lengths[-len(second.lengths) :]


@pytest.mark.long
@pytest.mark.parametrize("step", [3, 6])
def test_workers_resume_too(folder, tmp_path, step):
    path, settings = tmp_path / "stop.ckpt", {"workers": 2, "limits": {"max_steps": 9, "max_epochs": -1}}
    whole = fit(folder, **settings)
    first = fit(folder, [SaveAndStop(path, step)], **settings)
    assert clips(first) + clips(fit(folder, resume=path, **settings)) == clips(whole)


@pytest.mark.parametrize("step", [4, 6, 13])
def test_a_run_of_so_many_steps_resumes_too(folder, tmp_path, straight, step):
    path, limits = tmp_path / "stop.ckpt", {"max_steps": 17, "max_epochs": -1}
    fit(folder, [SaveAndStop(path, step)], limits=limits)
    second = fit(folder, resume=path, limits=limits)
    assert clips(second) == clips(straight)[step:17]


def test_shorter_epochs_of_lightning_go_on_in_the_plan(folder, straight):
    module = fit(folder, limits={"max_epochs": 3, "limit_train_batches": 4})
    assert module.lengths == [(0, 4), (1, 2), (2, 4)] and clips(module) == clips(straight)[:10]


@pytest.mark.long
def test_other_workers_repeat_and_miss_nothing(folder, tmp_path):
    path, other = tmp_path / "stop.ckpt", tmp_path / "again.ckpt"
    first = fit(folder, [SaveAndStop(path, 2)], limits={"max_epochs": 2})
    second = fit(folder, [SaveAndStop(other, 4)], resume=path, limits={"max_epochs": 2}, workers=2)
    third = fit(folder, resume=other, limits={"max_epochs": 2}, batch_size=2)
    keys = [key for module in (first, second, third) for _, _, _, keys, *_ in module.seen for key in keys]
    assert len(keys) == 2 * SAMPLES and {keys.count(key) for key in keys} == {2}
    assert len(third.seen) == (26 - 16) // 2 + 13 and third.lengths == [(0, 9), (1, 13)]


def test_a_training_step_that_forgets_to_report_is_found(folder, monkeypatch):
    monkeypatch.setattr(ClipDataModule, "consumed", lambda self, batch: None)
    with pytest.raises(RuntimeError, match="a training step calls consumed"):
        fit(folder)


def test_too_many_broken_samples_stop_the_run():
    watch, batch = BrokenWatch(0.1, 0), clip_batch(broken=[("a-1", "its end is missing")])
    for _ in range(3):
        watch.check(batch, 1)
    with pytest.raises(
        UserError, match=r"^max_broken_share: 4 of the first 4 samples .* 0.1: .*a-1: its end"
    ):
        watch.check(batch, 1)
    early = BrokenWatch(0.01, 1000)
    for _ in range(10):
        early.check(batch, 1)
    with pytest.raises(UserError, match="11 of the first 11"):
        early.check(batch, 1)
    patient = BrokenWatch(0.1, 0)
    for _ in range(40):
        patient.check(batch, 10)
    with pytest.raises(UserError, match="1 of the first 10"):
        BrokenWatch(0.0, 100).check(batch, 10)


def test_broken_samples_are_logged_by_name(tmp_path, caplog):
    def edit(key, members):
        return members | {"mjpg": b""} if key == "train1-01" else members

    folder = write_stream_shards(tmp_path / "one", edit=edit)
    batches = list(ClipDataModule(str(folder), **(SETTINGS | {"batch_size": 2})).train_dataloader())
    assert len(batches) == 13 and len([pair for batch in batches for pair in batch.broken]) == 1
    assert "sample left out: train1-01: " in caplog.text


def test_a_worker_fails_in_one_line(tmp_path):
    folder = write_stream_shards(tmp_path / "full")
    write_shard(folder / "train-000002.tar", [stream_sample(f"more-{n}") for n in range(20)])
    data = ClipDataModule(str(folder), **(SETTINGS | {"workers": 1, "batch_size": 2}))
    with pytest.raises(UserError, match=r"^shards: train-000002.tar holds more than 8 samples") as failure:
        list(data.train_dataloader())
    assert "Traceback" not in str(failure.value)
