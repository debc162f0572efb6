"""What the tests of fine-tuning share: a tiny command line, readers of a run folder, and edited shards."""

import csv
import json

from maedfer.data.shards.format import ShardIndex, read_index, read_shard, write_index, write_shard

STEPS = 14
MODEL = {"img_size": 32, "region_size": [2, 2, 4], "embed_dim": 24, "depth": 2, "num_heads": 2}


def arguments(shards, run, *more, steps=STEPS, model=MODEL):
    """Command line of a tiny fine-tuning run: 7 classes, a validation share, a test split."""
    return [
        *("finetune", "--config", "finetune/demo", "--run", str(run), "--data.shards", str(shards)),
        *("--model.model_args", json.dumps(model), "--data.batch_size", "6", "--data.val_share", "0.25"),
        *("--model.drop_path_rate", "0.2", "--model.drop_rate", "0.1"),
        *("--data.frame_interval_s", "0.16", "--data.views", "2", "--data.record_keys", "true"),
        *("--trainer.max_steps", str(steps), "--trainer.enable_progress_bar", "false"),
        *("--checkpoint_every", "3", *more),
    ]


def table(path):
    """The rows of a CSV file."""
    with path.open() as stream:
        return list(csv.DictReader(stream))


def scores(folder):
    """The scores in a folder of results."""
    return json.loads((folder / "scores.json").read_text())["scores"]


def rewritten(shards, out, edit, classes=None):
    """A copy of a shard folder, each record as `edit(record, number in its split)` leaves it.

    An edit that returns a sample's bytes under `mjpg` replaces its frames; one that returns None drops it.
    """
    out.mkdir()
    index = read_index(shards)
    entries, seen = [], {}
    for entry in index.shards:
        samples = []
        for sample in read_shard(shards / entry.name):
            split = entry.name.rsplit("-", 1)[0]
            number = seen[split] = seen.get(split, -1) + 1
            record = edit(json.loads(sample["json"]), number)
            if record is not None:
                frames = {"mjpg": record.pop("mjpg")} if "mjpg" in record else {}
                samples.append({**sample, **frames, "json": json.dumps(record).encode()})
        if samples:
            entries.append(write_shard(out / entry.name, samples))
    classes = index.classes if classes is None else classes
    write_index(out, ShardIndex(tuple(entries), classes, index.geometry, index.encoding, index.made_by))
    return out
