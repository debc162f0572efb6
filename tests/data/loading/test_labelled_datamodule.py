"""The labelled data module: targets with their clips, parts kept apart, every test sample counted once."""

import json
import pickle

import pytest
import torch
from helpers.stream_shards import stream_sample
from jsonargparse import ArgumentParser

from maedfer.data.loading.labelled_datamodule import LabelledDataModule
from maedfer.data.shards.format import ShardIndex, shard_name, write_index, write_shard
from maedfer.errors import UserError

CLASSES = ("angry", "happy", "sad")
SETTINGS = {"batch_size": 6, "shuffle_window": 5, "workers": 0, "rand_augment_ops": 0}


def labelled_sample(split, n, classes):
    label = n % 3
    fields = {
        "label": classes.index(CLASSES[label]),
        "label_name": CLASSES[label],
        "subject": f"{split} {n % 12}",
        "source": f"{n}.mp4",
        "fold": 1 + n % 4,
        "metadata": {"valence": n / 100},
    }
    return stream_sample(f"{split}-{n:02d}", 34, **fields)


def write_labelled(folder, classes=CLASSES, **counts):
    """Shards of up to 13 samples for each split; the class of sample n is the one at n % 3 of CLASSES."""
    folder.mkdir()
    entries = []
    for split, count in counts.items():
        samples = [labelled_sample(split, n, classes) for n in range(count)]
        for number, start in enumerate(range(0, count, 13)):
            entries.append(write_shard(folder / shard_name(split, number), samples[start : start + 13]))
    write_index(folder, ShardIndex(tuple(entries), classes))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_labelled(tmp_path_factory.mktemp("labelled") / "faces", train=36, test=7)


def module_of(folder, rank=0, world=1, **settings):
    data = LabelledDataModule(str(folder), **(SETTINGS | settings))
    data.set_ranks(rank, world)
    return data


def kept(loader):
    """Keys and targets of the clips that count."""
    rows = [row for batch in loader for row in zip(batch.keys, batch.targets, batch.valid, strict=True)]
    return [(key, target.tolist()) for key, target, valid in rows if valid]


def one_hot(key):
    return [float(place == int(key[-2:]) % 3) for place in range(3)]


def test_training_sees_the_training_part_only_with_its_targets(folder):
    data = module_of(folder)
    train, val = data.subset("train"), data.subset("val")
    assert data.outputs == CLASSES and len(train) + len(val) == 36
    for _ in range(2):
        rows = []
        for batch in data.train_dataloader():
            assert batch.targets.dtype == torch.float32
            rows += zip(batch.keys, batch.targets.tolist(), strict=True)
            data.consumed(batch)
        assert len({key for key, _ in rows}) == len(rows) >= len(train) - 5
        assert {key for key, _ in rows} <= set(train.keys)
        assert all(target == one_hot(key) for key, target in rows)
    assert data.total_batches(2) == 2 * len(train) // 6


@pytest.mark.parametrize("world", [1, 2, 3])
def test_held_out_and_test_samples_are_counted_once(folder, world):
    val, test = [], []
    for rank in range(world):
        data = module_of(folder, rank, world, views=4)
        val += kept(data.val_dataloader())
        test += kept(data.test_dataloader())
        assert {len(batch.keys) for batch in data.test_dataloader()} == {4}
    assert sorted(key for key, _ in val) == data.subset("val").keys and data.has_held_out
    assert sorted(key for key, _ in test) == sorted(data.subset("test").keys * 4)
    assert all(target == one_hot(key) for key, target in val + test)


def test_views_of_a_test_sample_stand_together_and_are_spread(folder):
    data = module_of(folder, views=2, batch_size=5, flip=1.0)
    for batch in data.test_dataloader():
        assert len(batch.keys) == 4 and batch.keys[::2] == batch.keys[1::2]
        assert batch.starts == pytest.approx([0, 3 / 12.5] * 2)  # 34 frames hold starts 0 to 3
        assert not batch.flips.any() and batch.boxes.tolist() == [[0, 0, 1, 1]] * 4
    single = module_of(folder, views=8, batch_size=5).test_dataloader()
    assert len(single) == 7 and len(next(iter(single)).keys) == 8


def test_only_training_clips_are_augmented_also_by_a_copy_in_a_worker(folder):
    def clips(loader):
        return torch.cat([batch.clips for batch in loader])

    settings = {"crop": "none", "flip": 0.0, "rand_augment_magnitude": 9, "labels_per_class": 2}
    plain, changed = (module_of(folder, rand_augment_ops=ops, **settings) for ops in (0, 4))
    assert torch.equal(clips(plain.test_dataloader()), clips(changed.test_dataloader()))
    here = clips(changed.train_dataloader())
    assert here.shape == (6, 16, 3, 20, 20) and not torch.equal(clips(plain.train_dataloader()), here)
    stream = pickle.loads(
        pickle.dumps(changed.train_dataloader()._start()[0].dataset)
    )  # as a spawned one gets it
    assert torch.equal(here, clips(stream))


def test_a_fold_is_tested_and_never_trained_on(folder):
    data = module_of(folder, fold=2, test_split="none", official=True)
    tested = {key for key, _ in kept(data.test_dataloader())}
    assert (
        tested
        == {f"train-{n:02d}" for n in range(1, 36, 4)}
        == {key for key, _ in kept(data.val_dataloader())}
    )
    trained = {key for batch in data.train_dataloader() for key in batch.keys}
    assert len(trained) == 24 and not trained & tested
    assert (
        data.picture_batch(3).keys == data.picture_batch(3).keys and data.picture_batch(3).keys[0] in tested
    )


def test_another_selection_is_not_resumed(folder):
    state = module_of(folder, labels_per_class=4).state_dict()
    module_of(folder, labels_per_class=4).load_state_dict(state)
    for other in ({"labels_per_class": 5}, {"labels_per_class": 4, "val_share": 0.5}, {}):
        with pytest.raises(UserError, match="`labels_per_class`"):
            module_of(folder, **other).load_state_dict(state)


def test_a_folder_with_other_classes_is_tested_by_name(folder, tmp_path):
    other = write_labelled(tmp_path / "other", ("sad", "bored", "angry", "happy"), clips=5)
    data = module_of(other, classes=list(CLASSES))
    part = data.test_on("clips")
    assert len(part) == 5 and data.subset("test") is part
    rows = kept(data.test_dataloader())
    assert sorted({key for key, _ in rows}) == part.keys and all(
        target == one_hot(key) for key, target in rows
    )
    with pytest.raises(UserError, match=r"^classes: unknown labels angry, sad"):
        module_of(other, classes=["happy", "bored"]).test_on("clips")
    with pytest.raises(UserError, match=r"^shards: .* no samples of split 'test' \(splits: clips\)"):
        data.test_on("test")
    few = write_labelled(tmp_path / "few", test=1)
    with pytest.raises(UserError, match=r"all 1 test samples .* are angry"):
        module_of(few).test_on("test")


def test_numbers_are_regressed(folder):
    data = module_of(folder, task="regress", columns=["valence"])
    for key, target in kept(data.test_dataloader()):
        assert target == pytest.approx([int(key[-2:]) / 100])
    assert data.outputs == ("valence",) and data.subsets.val is not None


def test_what_is_missing_is_refused_or_empty(folder, tmp_path):
    alone = write_labelled(tmp_path / "alone", train=12)
    data = module_of(alone, val_share=0.0)
    assert data.val_dataloader() == [] and not data.has_held_out
    with pytest.raises(UserError, match=r"^shards: .* no test samples: give `test_split` or `fold`"):
        data.test_dataloader()
    with pytest.raises(UserError, match=r"^views: 0"):
        module_of(folder, views=0)
    with pytest.raises(UserError, match=r"^batch_size: 6 "):
        module_of(folder, labels_per_class=2, batch_size=12).train_dataloader()


def test_the_constructor_is_the_schema_of_recipes():
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(LabelledDataModule, "data")
    data = {"shards": "x", "fold": 3, "task": "regress", "columns": ["valence"], "batch_size": 4, "seed": 5}
    settings = parser.parse_object({"data": data}).data
    assert (settings.fold, settings.crop, settings.flip, settings.views) == (3, "resized", 0.5, 2)
    assert settings.clips_per_sample == 1 and settings.frame_interval_s is None
    made = parser.instantiate_classes(parser.parse_object({"data": data})).data
    assert made.batch_size == 4 and made.seed == 5 and made.columns == ["valence"]
    assert json.loads(json.dumps(settings.as_dict()))["val_split"] == "val"
