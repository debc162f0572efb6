"""Upstream's correlated workers: their n-th clips share start, flip and operations, and nothing else."""

import numpy as np
import pytest

from maedfer.data.loading.clip_maker import ClipMaker
from maedfer.data.loading.labelled_datamodule import LabelledDataModule
from maedfer.data.loading.upstream_draws import SharedDraws
from maedfer.data.loading.views import ViewSpec
from maedfer.data.shards.format import read_index
from maedfer.data.shards.reader import ShardReader
from maedfer.data.shards.table import ShardTable

SETTINGS = {"batch_size": 2, "val_share": 0.0, "test_split": "none", "shuffle_window": 4, "workers": 2}


def drawn(shards, epochs=1, rank=0, world=1, **settings):
    """The batches of a module, as real workers make them: starts, flips, boxes and seeds."""
    data = LabelledDataModule(str(shards), **(SETTINGS | settings))
    data.set_ranks(rank, world)
    batches = []
    for _ in range(epochs):
        for batch in data.train_dataloader():
            batches.append((batch.starts, batch.flips.tolist(), batch.boxes.tolist(), batch.seeds))
            data.consumed(batch)
    return batches


def test_the_workers_of_a_rank_draw_alike(synthetic_shards):
    batches = drawn(synthetic_shards, draws="official", rand_augment_ops=1)
    assert len(batches) == 11
    rounds = list(zip(batches[::2], batches[1::2], strict=False))
    for (starts, flips, boxes, seeds), other in rounds:
        assert (starts, flips) == other[:2]
        assert not {tuple(box) for box in boxes} & {tuple(box) for box in other[2]}
        assert not set(seeds) & set(other[3])
    assert len({(tuple(starts), tuple(flips)) for (starts, flips, _, _), _ in rounds}) > 1
    assert {flip for (_, flips, _, _), _ in rounds for flip in flips} == {False, True}


def test_views_share_with_those_of_the_same_number_and_operations_come_along(synthetic_shards):
    """Two samples at one place of two workers' batches, eight views each, as a stream asks for them."""
    told = []
    maker = ClipMaker(
        views=ViewSpec("resized", flip=0.5),
        augment=lambda frames, *seeds: (told.append(seeds), frames)[1],
        shared=SharedDraws(rank=0, workers=2),
    )
    table = ShardTable.of(read_index(synthetic_shards).of_split("train"))
    (_, one), (_, other) = ShardReader(str(synthetic_shards), table).read(np.array([0, 1]))
    drawn = [
        [(clip.start_s, clip.flip) for clip in maker.clips(raw, 0, range(8), at)]
        for raw, at in ((one, (4, 1)), (other, (5, 1)))
    ]
    assert drawn[0] == drawn[1] and len(set(drawn[0])) > 2
    own, operations = zip(*told, strict=True)
    assert len(set(own)) == 16 and operations[:8] == operations[8:] and len(set(operations)) == 8


def test_epochs_and_ranks_do_not(synthetic_shards):
    def keyed(batches):
        return [(tuple(starts), tuple(flips)) for starts, flips, _, _ in batches]

    whole = keyed(drawn(synthetic_shards, epochs=2, draws="official", workers=0))
    assert whole[:11] != whole[11:22]
    first, second = (
        keyed(drawn(synthetic_shards, rank=rank, world=2, draws="official", workers=0)) for rank in (0, 1)
    )
    assert first != second and first == keyed(
        drawn(synthetic_shards, rank=0, world=2, draws="official", workers=0)
    )


def test_every_clip_has_its_own_draws_by_default(synthetic_shards):
    plain = drawn(synthetic_shards, workers=0)
    official = drawn(synthetic_shards, workers=0, draws="official")
    for one, other in zip(plain, official, strict=True):
        assert one[2:] == other[2:]  # boxes and seeds
    assert [row[:2] for row in plain] != [row[:2] for row in official]
    alike = [one[:2] == two[:2] for one, two in zip(plain[::2], plain[1::2], strict=False)]
    assert not all(alike)


def test_names_go_round_the_workers():
    draws = SharedDraws(rank=3, workers=4)
    names = [draws.name(batch, place) for batch in range(8) for place in range(2)]
    assert len(set(names)) == 4 and names[:8] == names[:2] * 4 and names[8:] == names[8:10] * 4
    assert draws.name(0, 0) != SharedDraws(rank=2, workers=4).name(0, 0)


def test_an_unknown_setting_is_refused(synthetic_shards):
    with pytest.raises(ValueError, match=r"--data.draws upstream is unknown"):
        LabelledDataModule(str(synthetic_shards), draws="upstream")
