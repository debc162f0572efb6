"""What a worker sends arrives whole, as memory of its own, while the worker's memory is used again."""

import multiprocessing
import pickle
from multiprocessing.reduction import ForkingPickler

import pytest
import torch
from helpers.clip_batches import clip_batch
from lightning_fabric.utilities.apply_func import move_data_to_device
from torch.utils.data import DataLoader, IterableDataset

from maedfer.data.loading.batch import ClipBatch
from maedfer.data.loading.shared_batches import MOST_BLOCKS, SharedBatch, SharedBlocks
from maedfer.errors import UserError

SHAPE = (3, 4, 5, 6, 3)


def sent(parcel):
    """To another process and back: here, to this one."""
    return pickle.loads(ForkingPickler.dumps(parcel))


def batch_of(blocks, number, shape=SHAPE):
    clips = blocks.empty(shape)
    clips.copy_(torch.arange(clips.numel()).view(shape) % 251 + number)
    flips = torch.arange(3) == number % 3
    return clip_batch([number], clips=clips.permute(0, 1, 4, 2, 3), flips=flips, batch=number)


def assert_is(batch, number, shape=SHAPE):
    expected = batch_of(SharedBlocks(), number, shape)
    assert isinstance(batch, ClipBatch) and batch.tensors.keys() == expected.tensors.keys()
    assert torch.equal(batch.clips, expected.clips) and torch.equal(batch.flips, expected.flips)
    assert batch.clips.stride() == expected.clips.stride()  # still as it is stored, channels last
    assert (batch.masks, batch.keys, batch.batch) == (None, [number], number)


def test_a_block_is_used_again_once_its_batch_has_arrived():
    blocks, arrived, places = SharedBlocks(), [], set()
    for number in range(5):
        batch = batch_of(blocks, number)
        places.add(batch.clips.data_ptr())
        arrived.append(sent(SharedBatch(batch)))
    assert len(places) == 1
    for number, batch in enumerate(arrived):
        assert_is(batch, number)
        assert not batch.clips.is_shared() and not batch.flips.is_shared()
        batch.flips.fill_(True)  # a receiver may write


def test_batches_that_nobody_takes_are_left_alone_and_not_collected():
    blocks = SharedBlocks()
    waiting = [batch_of(blocks, number) for number in range(3 * MOST_BLOCKS)]
    assert len({batch.clips.data_ptr() for batch in waiting}) == len(waiting)
    assert len(blocks._blocks) == MOST_BLOCKS
    for number, batch in enumerate(waiting):
        assert_is(sent(SharedBatch(batch)), number)


def test_another_shape_takes_other_memory():
    blocks = SharedBlocks()
    for number, shape in enumerate([SHAPE, (2, *SHAPE[1:]), (4, *SHAPE[1:]), SHAPE]):
        assert_is(sent(SharedBatch(batch_of(blocks, number, shape))), number, shape)
    assert len(blocks._blocks) == 1


def test_a_full_shared_memory_is_one_line_with_the_remedy(monkeypatch):
    def full(self):
        raise RuntimeError("unable to allocate shared memory(shm) for file: No space left on device (28)")

    monkeypatch.setattr(torch.Tensor, "share_memory_", full)
    with pytest.raises(UserError, match=r"^batch_size: no shared memory .* of 2 MB: .*--shm-size"):
        SharedBlocks().empty((2, 1000, 1000))


class Numbers(IterableDataset):
    def __iter__(self):
        blocks = SharedBlocks()
        for number in range(40):
            yield SharedBatch(batch_of(blocks, number))


@pytest.mark.long
def test_batches_of_real_workers_stay_what_they_are_however_many_are_kept():
    for method in set(multiprocessing.get_all_start_methods()) & {"fork", "spawn"}:
        loader = DataLoader(Numbers(), batch_size=None, num_workers=2, multiprocessing_context=method)
        batches = list(loader)
        assert sorted(batch.batch for batch in batches) == sorted([*range(40), *range(40)])
        for batch in batches:
            assert_is(batch, batch.batch)


def test_lightning_moves_a_batch_by_its_own_way_to_a_device():
    batch = clip_batch("ab", masks=torch.ones(2, 4, dtype=torch.bool))
    moved = move_data_to_device(batch, torch.device("meta"))
    assert {tensor.device.type for tensor in moved.tensors.values()} == {"meta"}
    assert moved.tensors.keys() == {"clips", "boxes", "flips", "masks", "valid"}
    assert (moved.keys, moved.targets, batch.clips.device.type) == (["a", "b"], None, "cpu")
