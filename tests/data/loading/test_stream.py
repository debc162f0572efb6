"""The stream: batches follow the plan, samples do not depend on who reads them, damage is named."""

import json
import tarfile
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers.stream_shards import stream_sample, write_stream_shards

from maedfer.data.labels.targets import LabelReader
from maedfer.data.loading.clip_maker import ClipMaker
from maedfer.data.loading.cursor import Cursor, Leg
from maedfer.data.loading.epoch_plan import EpochPlan, Reading
from maedfer.data.loading.stream import ClipStream
from maedfer.data.loading.views import ViewSpec
from maedfer.data.shards.encoding import decode_frames
from maedfer.data.shards.format import read_index, write_shard
from maedfer.data.shards.reader import RawSample, ShardReader, UnusableSample, shard_url
from maedfer.data.shards.records import TrackRecord
from maedfer.data.shards.table import ShardTable
from maedfer.errors import UserError
from maedfer.tasks import TASKS


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_stream_shards(tmp_path_factory.mktemp("stream"))


def reader_of(folder):
    return ShardReader(str(folder), ShardTable.of(read_index(folder).of_split("train")))


def epoch_of(folder, world=1, workers=1, batch=3, epoch=0, **settings):
    """All batches of an epoch, over ranks and workers, read in this process."""
    reader = reader_of(folder)
    plan = EpochPlan(reader.table, 0)
    cursor = plan.enter(Cursor(epoch), Leg(world, workers, batch, 4))
    maker = ClipMaker(views=ViewSpec("resized", flip=0.5), **settings)
    batches = []
    for rank in range(world):
        for worker in range(workers):
            stream = ClipStream(reader, partial(plan.reading, cursor, rank), maker, epoch)
            batches += stream.batches(plan.reading(cursor, rank, worker))
    return batches


def by_clip(batches):
    """What was drawn for each (key, place among the clips of its sample)."""
    drawn = {}
    for batch in batches:
        for row, key in enumerate(batch.keys):
            view = batch.keys[:row].count(key)
            drawn[key, view] = (
                batch.starts[row],
                *batch.boxes[row].tolist(),
                bool(batch.flips[row]),
            )
    return drawn


def test_a_batch_has_what_it_promises(folder):
    batch = epoch_of(folder, batch=3, clips_per_sample=2)[0]
    assert batch.clips.shape == (6, 16, 3, 20, 20) and batch.clips.dtype == torch.uint8
    assert batch.boxes.shape == (6, 4) and batch.flips.dtype == torch.bool and batch.masks is None
    assert batch.targets is None
    assert all(type(seed) is int and 0 <= seed < 2**63 for seed in batch.seeds)
    assert len(batch.seeds) == len(set(batch.seeds)) == 6
    assert batch.keys[::2] == batch.keys[1::2] and len(set(batch.keys)) == 3
    assert batch.valid.all() and batch.broken == [] and (batch.epoch, batch.batch) == (0, 0)


def test_clips_are_the_stored_frames(folder):
    sample = stream_sample("train0-02", 33, label=2)
    raw = RawSample("train0-02", sample["json"], sample["mjpg"])
    clip = ClipMaker(training=False).clips(raw, 0, [0])[0]
    expected = decode_frames(sample["mjpg"], TrackRecord.from_json(sample["json"]), range(1, 33, 2))
    assert clip.start_s == pytest.approx(1 / 12.5) and np.array_equal(clip.frames, expected)


def test_ranks_and_workers_do_not_change_what_happens_to_a_sample(folder):
    alone = by_clip(epoch_of(folder, 1, 1, batch=4, clips_per_sample=2))
    shared = by_clip(epoch_of(folder, 2, 3, batch=1, clips_per_sample=2))
    assert len(alone) == 48 and len(shared) == 52
    assert all(shared[clip] == drawn for clip, drawn in alone.items() if clip in shared)
    later = by_clip(epoch_of(folder, 1, 1, batch=4, epoch=1, clips_per_sample=2))
    assert all(later[clip] != alone[clip] for clip in later.keys() & alone.keys())
    assert all(alone[key, 0] != alone[key, 1] for key, _ in alone)


def test_targets_come_from_the_record_and_are_nan_without_a_label(tmp_path):
    def edit(key, members):
        return stream_sample(key, label=None) if key == "train0-01" else members

    labels = LabelReader(TASKS["classify"], tuple(f"class {n}" for n in range(8)))
    batches = epoch_of(write_stream_shards(tmp_path / "some", edit=edit), labels=labels, clips_per_sample=2)
    targets = {
        key: target for batch in batches for key, target in zip(batch.keys, batch.targets, strict=True)
    }
    assert len(targets) == 24 and all(target.dtype == torch.float32 for target in targets.values())
    assert targets.pop("train0-01").isnan().all()
    expected = torch.eye(8)
    assert all(torch.equal(target, expected[int(key[-2:])]) for key, target in targets.items())


def test_a_label_that_cannot_be_read_makes_a_broken_sample(folder):
    labels = LabelReader(TASKS["classify"], ("zero", "one"))
    broken = dict(pair for batch in epoch_of(folder, labels=labels, batch=8) for pair in batch.broken)
    assert set(range(2, 7)) <= {int(key[-2:]) for key in broken} <= set(range(2, 8))
    assert all(f"unknown labels {int(key[-2:])} (" in reason for key, reason in broken.items())


def numbered(frames, seed):
    """Stands for an augmentation: writes a clip's seed into its first pixels."""
    changed = frames.copy()
    changed[:, 0, 0] = [seed % 251, seed % 241, seed % 239]
    return changed


def test_clips_are_augmented_in_training_by_their_own_seed(folder):
    plain, again, changed = (
        epoch_of(folder, clips_per_sample=2, **kwargs) for kwargs in ({}, {}, {"augment": numbered})
    )
    for one, same, other in zip(plain, again, changed, strict=True):
        assert one.seeds == same.seeds == other.seeds
        pixel = torch.tensor([[seed % modulus for modulus in (251, 241, 239)] for seed in one.seeds])
        assert (other.clips[:, :, :, 0, 0] == pixel[:, None]).all()
        assert torch.equal(one.clips[..., 1:, :], other.clips[..., 1:, :])
    later = epoch_of(folder, clips_per_sample=2, epoch=1)
    seeds = [{seed for batch in batches for seed in batch.seeds} for batches in (plain, later)]
    assert len(seeds[0]) == 48 and not seeds[0] & seeds[1]
    held_out = epoch_of(folder, training=False, augment=numbered)
    for one, other in zip(epoch_of(folder, training=False), held_out, strict=True):
        assert torch.equal(one.clips, other.clips)


def test_frames_lie_as_far_apart_as_asked(folder):
    sample = stream_sample("train0-02", 34, label=2)
    raw = RawSample("train0-02", sample["json"], sample["mjpg"])
    clip = ClipMaker(training=False, interval_s=0.08).clips(raw, 0, [0])[0]
    expected = decode_frames(sample["mjpg"], TrackRecord.from_json(sample["json"]), range(9, 25))
    assert clip.start_s == pytest.approx(9 / 12.5) and np.array_equal(clip.frames, expected)


def damage(key, members):
    """Four kinds of damage, one in each of four samples."""
    if key == "train0-01":
        members["mjpg"] = members["mjpg"][:-9]
    if key == "train1-02":
        members["json"] = b"{"
    if key == "train2-03":
        del members["mjpg"]
    if key == "train3-00":
        members["json"] = json.dumps(json.loads(members["json"]) | {"frames": 0}).encode()
    return members


def test_broken_samples_are_named_and_their_places_filled(tmp_path):
    batches = epoch_of(write_stream_shards(tmp_path / "damaged", edit=damage), batch=4, clips_per_sample=2)
    named = dict(pair for batch in batches for pair in batch.broken)
    bad = {"train0-01", "train1-02", "train2-03", "train3-00"}
    assert set(named) == bad
    assert "lacks its record or its frames" in named["train2-03"] and "its frames is 0" in named["train3-00"]
    for batch in batches:
        assert len(batch.keys) == len(batch.clips) == 8 and not bad & set(batch.keys)
        assert len(set(zip(batch.keys, batch.starts, map(tuple, batch.boxes.tolist()), strict=True))) == 8


def test_an_evaluation_outlives_a_batch_of_broken_samples(tmp_path):
    first = "train1-02"  # of this epoch: with it broken there is nothing to put in its place
    folder = write_stream_shards(
        tmp_path / "damaged", edit=lambda key, members: members if key == first else damage(key, members)
    )
    with pytest.raises(UserError, match=r"^shards: no sample of a batch can be used \(train"):
        epoch_of(folder, batch=1)
    batches = epoch_of(folder, batch=1, clips_per_sample=2, training=False)
    lost = [batch for batch in batches if batch.broken]
    assert len(batches) == 26 and len(lost) == 3
    assert not any(batch.valid.any() for batch in lost) and {len(batch.clips) for batch in lost} == {2}
    assert all(batch.valid.all() for batch in batches if not batch.broken)


def test_a_sample_of_another_size_is_named(tmp_path):
    def edit(key, members):
        return stream_sample(key, size=24) if key == "train0-00" else members

    batches = epoch_of(write_stream_shards(tmp_path / "sizes", edit=edit), batch=5)
    named = dict(pair for batch in batches for pair in batch.broken)
    assert set(named) == {"train0-00"} and "24x24, others at 20x20" in named["train0-00"]


@pytest.mark.parametrize("kept", [0.5, 0.9, 0.999])
def test_a_cut_shard_loses_its_end_only(tmp_path, kept):
    folder = write_stream_shards(tmp_path / "cut")
    path = folder / "train-000002.tar"
    with tarfile.open(path) as tar:
        end = max(member.offset_data + member.size for member in tar.getmembers())
    path.write_bytes(path.read_bytes()[: int(end * kept)])
    found = dict(reader_of(folder).read(np.arange(26)))
    missing = [visit for visit, raw in found.items() if isinstance(raw, UnusableSample)]
    assert missing == list(range(missing[0], 21)) and 13 <= missing[0] <= 20
    reasons = {found[visit].reason for visit in missing}
    assert any("maedfer verify" in reason for reason in reasons)
    assert all(isinstance(raw, RawSample) for visit, raw in found.items() if visit not in missing)


def test_a_missing_shard_and_one_too_full_stop_the_run(tmp_path):
    folder = write_stream_shards(tmp_path / "gone")
    reader = reader_of(folder)
    write_shard(folder / "train-000001.tar", [stream_sample(f"more-{n}") for n in range(9)])
    with pytest.raises(UserError, match=r"^shards: train-000001.tar holds more than 6 .* `maedfer verify"):
        list(reader.read(np.arange(13)))
    (folder / "train-000000.tar").unlink()
    with pytest.raises(FileNotFoundError, match=r"`shards=.*` has no train-000000.tar"):
        list(reader.read(np.arange(3)))


def test_a_batch_without_any_good_sample_stops_the_run(tmp_path):
    def edit(key, members):
        return members | {"json": b"[]"}

    with pytest.raises(UserError, match=r"^shards: no sample of a batch can be used \(train.*verify"):
        epoch_of(write_stream_shards(tmp_path / "all", edit=edit))


def test_the_reader_takes_visits_in_any_order_and_again(folder):
    wanted = np.array([20, 3, 3 + 26, 3 + 52, 4, 25, 0])
    found = list(reader_of(folder).read(wanted))
    assert [visit for visit, _ in found] == wanted.tolist()
    assert [raw.key for _, raw in found] == [
        *("train2-07", "train0-03", "train0-03", "train0-03", "train0-04", "train3-04", "train0-00")
    ]


def test_shards_lie_where_the_pattern_says():
    assert shard_url("a/b/", "train-000001.tar") == "a/b/train-000001.tar"
    assert shard_url("pipe:cat a/{name}", "x.tar") == "pipe:cat a/x.tar"


def test_an_empty_share_is_an_empty_stream(folder):
    empty = np.zeros((0, 3), np.int64)
    stream = ClipStream(
        reader_of(folder), lambda worker: Reading(empty.ravel(), empty, np.arange(0)), ClipMaker()
    )
    assert list(stream) == []


def test_a_record_of_another_sample_is_broken_in_every_epoch(tmp_path):
    def edit(key, members):
        return members | {"json": stream_sample("other")["json"]} if key == "train0-01" else members

    reader = reader_of(write_stream_shards(tmp_path / "mixed", edit=edit))
    stream, later = ClipStream(reader, lambda worker: None, ClipMaker()), reader.table.samples
    visits = np.array([[later, later + 1, later + 2]])
    (batch,) = stream.batches(Reading(visits.ravel(), visits, np.array([0])))
    assert batch.broken == [("train0-01", "its record is that of other")] and batch.valid.all()


def test_a_worker_hands_over_what_it_cannot_read(tmp_path, monkeypatch):
    reader = reader_of(write_stream_shards(tmp_path / "gone"))
    (tmp_path / "gone" / "train-000000.tar").unlink()
    visits = np.array([[0]])
    stream = ClipStream(reader, lambda worker: Reading(visits[0], visits, visits[0]), ClipMaker())
    with pytest.raises(FileNotFoundError):
        list(stream)
    monkeypatch.setattr("maedfer.data.loading.stream.get_worker_info", lambda: SimpleNamespace(id=0))
    (failure,) = stream
    assert isinstance(failure, UserError) and "has no train-000000.tar" in failure.message
