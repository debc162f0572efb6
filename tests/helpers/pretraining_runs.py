"""What the tests of pre-training share: a tiny command line, and readers of a run folder."""

import csv
import json

STEPS = 12


def arguments(shards, run, *more, steps=STEPS):
    """Command line of a tiny pre-training run."""
    model = {"img_size": 32, "region_size": [2, 2, 4], "embed_dim": 24, "depth": 2, "num_heads": 2}
    return [
        *("pretrain", "--config", "pretrain/demo", "--run", str(run), "--data.shards", str(shards)),
        *(
            "--model.appearance_weight",
            "0.5",
            "--model.model_args",
            json.dumps(model),
            "--model.decoder_dim",
            "16",
            "--model.decoder_depth",
            "1",
        ),
        *("--model.decoder_num_heads", "2", "--data.batch_size", "4", "--data.workers", "1"),
        # As published; what the demo recipe has instead is for those who test it to add.
        *("--model.optimizer", "adamw", "--model.mask_mode", "tube", "--model.decoder_attention", "joint"),
        *("--model.motion_group", "null"),
        *(
            "--data.record_keys",
            "true",
            "--trainer.max_steps",
            str(steps),
            "--checkpoint_every",
            "5",
            *("--trainer.val_check_interval", "6"),
            *more,
        ),
    ]


def rows(run):
    """The rows of `metrics.csv`."""
    with (run / "metrics.csv").open() as stream:
        return list(csv.DictReader(stream))


def keys(run, rank=0):
    """The lines of a rank's list of clips."""
    return (run / "keys" / f"rank{rank}.txt").read_text().splitlines()
