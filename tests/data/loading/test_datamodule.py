"""The data module: ranks share an epoch, evaluation, masks, remote shards, and what it refuses."""

import pickle

import numpy as np
import pytest
import torch
from helpers.stream_shards import write_stream_shards

from maedfer.data.loading.datamodule import ClipDataModule
from maedfer.data.loading.epoch_plan import EpochPlan
from maedfer.errors import UserError
from maedfer.models.masking import MaskSpec

pytestmark = pytest.mark.long

SETTINGS = {"batch_size": 4, "crop": "resized", "flip": 0.5, "shuffle_window": 5, "workers": 0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_stream_shards(tmp_path_factory.mktemp("datamodule"))


def loaders(folder, world, **settings):
    """The data modules of simulated ranks, and the batches of each in one epoch."""
    modules, batches = [], []
    for rank in range(world):
        data = ClipDataModule(str(folder), **(SETTINGS | settings))
        data.set_ranks(rank, world)
        batches.append([])
        for batch in data.train_dataloader():
            batches[-1].append(batch)
            data.consumed(batch)
        modules.append(data)
    return modules, batches


def test_two_ranks_share_an_epoch(folder):
    modules, batches = loaders(folder, 2, workers=1, batch_size=3)
    assert [len(rank) for rank in batches] == [4, 4]
    keys = [key for rank in batches for batch in rank for key in batch.keys]
    assert len(set(keys)) == 24 == len(keys)
    assert modules[0].state_dict() == modules[1].state_dict()
    assert modules[0].total_batches(3) == 3 * 26 // 6


def test_a_worker_is_sent_the_table_of_shards_once(folder):
    data = ClipDataModule(str(folder), **SETTINGS)
    data.train_dataloader()
    loader, first = data._start_pass()
    assert first == 0 and pickle.dumps(loader.dataset).count(data.plan.table.fingerprint.encode()) == 1


def test_a_spawned_worker_reads_what_the_main_process_reads(folder):
    _, ((*here,),) = loaders(folder, 1, workers=0)
    _, ((*there,),) = loaders(folder, 1, workers=1, start_method="spawn")
    assert len(here) == len(there) == 6
    for one, other in zip(here, there, strict=True):
        assert one.keys == other.keys and torch.equal(one.clips, other.clips)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("world", [1, 2])
@pytest.mark.parametrize(
    "workers, train, address",
    [
        (3, (26,), "pipe:cat {folder}/{{name}}"),
        (4, (1, 0, 22, 2, 1), "{folder}"),
        (4, (5,), "file://{folder}"),
        (3, (2, 3), "pipe:cat {folder}/{{name}}"),
    ],
)
def test_nothing_hangs_with_few_or_uneven_shards(tmp_path, workers, train, address, world):
    """One shard, an empty one, fewer shards or fewer batches than workers: real workers, for two epochs."""
    shards = address.format(folder=write_stream_shards(tmp_path / "few", train=train))
    epochs, held_out = [[], []], []
    for rank in range(world):
        data = ClipDataModule(shards, **(SETTINGS | {"batch_size": 2, "workers": workers}))
        data.set_ranks(rank, world)
        for epoch in epochs:
            epoch.append([])
            for batch in data.train_dataloader():
                epoch[-1] += batch.keys
                data.consumed(batch)
        for batch in data.val_dataloader():
            held_out += [key for key, valid in zip(batch.keys, batch.valid.tolist(), strict=True) if valid]
    samples, first = sum(train), [key for keys in epochs[0] for key in keys]
    steps = samples // (2 * world)
    carried = (samples - steps * 2 * world + samples) // (2 * world)
    assert [len(keys) for epoch in epochs for keys in epoch] == [2 * steps] * world + [2 * carried] * world
    assert len(set(first)) == len(first)
    assert len(set(first).union(*epochs[1])) == samples  # what was left over came next
    assert sorted(held_out) == [*(f"val0-0{n}" for n in range(3)), "val1-00", "val1-01"]


def test_another_world_takes_over_in_the_middle_of_an_epoch(folder):
    pair = [ClipDataModule(str(folder), **SETTINGS) for _ in range(2)]
    keys = []
    for rank, data in enumerate(pair):
        data.set_ranks(rank, 2)
        for batch, _ in zip(data.train_dataloader(), range(2), strict=False):
            keys += batch.keys
            data.consumed(batch)
    alone = ClipDataModule(str(folder), **SETTINGS)
    alone.load_state_dict(pair[1].state_dict())
    loader = alone.train_dataloader()
    assert len(loader) == 2 + (26 - 16) // 4
    keys += [key for batch in loader for key in batch.keys]
    assert len(keys) == len(set(keys)) == 24


def test_held_out_clips_come_once_and_always_alike(folder):
    for world in (1, 2, 3):
        keys, firsts = [], []
        for rank in range(world):
            data = ClipDataModule(str(folder), **(SETTINGS | {"batch_size": 2}))
            data.set_ranks(rank, world)
            passes = [list(data.val_dataloader()) for _ in range(2)]
            assert len(passes[0]) == len(data.val_dataloader()) == -(-5 // (2 * world))
            assert all(torch.equal(a.clips, b.clips) for a, b in zip(*passes, strict=True))
            kept = [zip(batch.keys, batch.valid.tolist(), strict=True) for batch in passes[0]]
            keys += [key for batch in kept for key, valid in batch if valid]
            firsts.append(passes[0][0].boxes[0].tolist())
        assert sorted(keys) == [*(f"val0-0{n}" for n in range(3)), "val1-00", "val1-01"]
        assert firsts == [[0.0, 0.0, 1.0, 1.0]] * world


def test_masks_follow_the_sample_and_the_epoch(folder):
    def masks(epochs):
        data = ClipDataModule(str(folder), **(SETTINGS | {"val_split": "train"}))
        data.fit_to_model(16, MaskSpec((8, 4, 4), (2, 2, 4), 0.75))
        held_out = torch.cat([batch.masks[batch.valid] for batch in data.val_dataloader()])
        for _ in range(epochs):
            drawn = {}
            for batch in data.train_dataloader():
                drawn |= dict(zip(batch.keys, batch.masks, strict=True))
                data.consumed(batch)
        return drawn, held_out

    (first, fixed), (again, fixed_again), (later, _) = masks(1), masks(1), masks(2)
    assert all(
        mask.shape == (128,) and mask.dtype == torch.bool and mask.sum() == 96 for mask in first.values()
    )
    assert all(torch.equal(first[key], again[key]) for key in first) and torch.equal(fixed, fixed_again)
    assert sum(not torch.equal(first[key], later[key]) for key in first.keys() & later.keys()) > 15
    assert len({tuple(mask.tolist()) for mask in first.values()}) > 20


def test_pictures_and_baselines_are_plain_and_fixed(folder):
    data = ClipDataModule(str(folder), **SETTINGS)
    batch = data.picture_batch(3)
    assert len(set(batch.keys)) == 3 and all(key.startswith("val") for key in batch.keys)
    assert batch.keys == data.picture_batch(3).keys
    baseline = [key for batch in data.baseline_dataloader() for key in batch.keys]
    assert len(baseline) == len(set(baseline)) == 24


def test_a_folder_without_the_split_has_no_evaluation(folder):
    data = ClipDataModule(str(folder), val_split="test", **SETTINGS)
    assert data.val_dataloader() == [] and not data.has_held_out
    with pytest.raises(UserError, match=r"^shards: .* no samples of split 'test' \(splits: train, val\)"):
        ClipDataModule(str(folder), split="test", **SETTINGS).train_dataloader()


def test_other_shards_and_other_seeds_are_refused(folder, tmp_path):
    state = ClipDataModule(str(folder), **SETTINGS).state_dict()
    other = write_stream_shards(tmp_path / "other", train=(9, 9))
    with pytest.raises(UserError, match=r"^shards: .* has 18 samples.* 26: .*`init_from`"):
        ClipDataModule(str(other), **SETTINGS).load_state_dict(state)
    with pytest.raises(UserError, match=r"^seed: .* 0: .* not 1"):
        ClipDataModule(str(folder), seed=1, **SETTINGS).load_state_dict(state)


def test_a_position_among_other_samples_is_refused(folder):
    class SomeOfThem(ClipDataModule):
        chosen = np.arange(20)

        @property
        def plan(self):
            return EpochPlan(super().plan.table, self.seed, self.chosen)

    some, other = (SomeOfThem(str(folder), **SETTINGS) for _ in range(2))
    other.chosen = np.arange(1, 21)
    everything = ClipDataModule(str(folder), **SETTINGS)
    for one, another in ((some, other), (some, everything), (everything, some)):
        with pytest.raises(UserError, match="`fold`, `val_share`"):
            another.load_state_dict(one.state_dict())
    some.load_state_dict(some.state_dict())
    older = everything.state_dict()
    del older["shards"]["choice"]  # of a checkpoint from before there was a choice
    everything.load_state_dict(older)


def test_the_interval_may_be_set_until_loaders_are_made(folder):
    def starts(interval_s, later=None):
        data = ClipDataModule(str(folder), frame_interval_s=interval_s, **SETTINGS)
        data.frame_interval_s = later or interval_s
        return [batch.starts for batch in data.val_dataloader()]

    # val samples have 31, 32 and 33 frames at 12.5 a second, and a clip its start in the middle.
    assert starts(None) == starts(0.16) == starts(0.5, later=0.16)
    assert starts(0.08)[0][:3] == pytest.approx([7 / 12.5, 8 / 12.5, 8 / 12.5])
    assert starts(0.5)[0] == [0.0] * 4  # longer than any track: over the whole of it
    with pytest.raises(UserError, match=r"^frame_interval_s: 0.0 must be positive"):
        ClipDataModule(str(folder), frame_interval_s=0.0)


def test_shards_behind_a_pipe_are_read_alike(folder):
    def keys(shards):
        data = ClipDataModule(shards, **(SETTINGS | {"batch_size": 2, "shuffle_window": 3}))
        return [batch.keys for batch in data.train_dataloader()]

    assert keys(f"pipe:cat {folder}/{{name}}") == keys(str(folder))


def test_a_batch_that_is_not_at_the_cursor_is_refused(folder):
    data = ClipDataModule(str(folder), **SETTINGS)
    batch = next(iter(data.train_dataloader()))
    data.consumed(batch)
    with pytest.raises(RuntimeError, match="batch 0 of epoch 0 is trained, but the position is batch 1"):
        data.consumed(batch)


def test_settings_that_make_no_sense_are_refused(folder):
    with pytest.raises(UserError, match=r"^batch_size: 6 must be a multiple of `clips_per_sample=4`"):
        ClipDataModule(str(folder), batch_size=6, clips_per_sample=4)
    with pytest.raises(UserError, match=r"^batch_size: 26 "):
        ClipDataModule(str(folder), **(SETTINGS | {"batch_size": 27})).train_dataloader()
