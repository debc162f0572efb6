"""The table of verbs. A new verb is one entry here, and the function that it names."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Verb:
    """A verb of the command line.

    Attributes:
        name: the word after `maedfer`.
        help: one line for `maedfer --help`.
        target: `module:function`, imported when the verb runs. The parameters and the docstring of the
            function become flags and help. It returns None or something to print; a returned object whose
            `ok` is false gives exit code 1.
        positional: parameter of the function that is given without a flag.
        trains: the function takes the list of words after the verb, reads them with LightningCLI and
            returns the exit code.
        switches: flags of a verb that trains which need no value. Other verbs have their `bool` parameters.
    """

    name: str
    help: str
    target: str
    positional: str | None = None
    trains: bool = False
    switches: tuple[str, ...] = ()


VERBS = {
    verb.name: verb
    for verb in (
        Verb(
            "demo",
            "run the whole way on synthetic faces in a few minutes: pack, verify, pretrain, finetune",
            "maedfer.demo.command:demo",
        ),
        Verb(
            "doctor",
            "show versions, device, codecs, detectors and free space of this machine in one table",
            "maedfer.doctor:doctor",
        ),
        Verb(
            "synthesize",
            "make synthetic face videos (or, unlabelled, shards of them)",
            "maedfer.data.synthetic.synthesize:synthesize",
        ),
        Verb(
            "pack",
            "find, track and crop the faces of any videos, and write them to WebDataset shards",
            "maedfer.data.pack.command:pack",
            positional="sources",
        ),
        Verb(
            "verify",
            "read every sample of a shard folder and list what is broken",
            "maedfer.data.shards.verify:verify",
            positional="folder",
        ),
        Verb(
            "info",
            "summarise a shard folder and draw a contact sheet",
            "maedfer.data.shards.info:info",
            positional="folder",
        ),
        Verb(
            "merge",
            "join shard folders, such as the parts of `pack --part i/n`",
            "maedfer.data.pack.merge:merge",
            positional="folders",
        ),
        Verb(
            "pretrain",
            "pretrain LGI-Former by masked reconstruction of appearance and motion",
            "maedfer.training.pretraining.command:pretrain",
            trains=True,
            switches=("resume",),
        ),
        Verb(
            "reconstruct",
            "compute held-out errors of a pretrained model and draw its reconstructions",
            "maedfer.training.pretraining.reconstruct:reconstruct",
        ),
        Verb(
            "finetune",
            "train a classifier (or regressor) on labelled shards, from an encoder or from scratch",
            "maedfer.training.finetuning.command:finetune",
            trains=True,
            switches=("resume", "freeze_encoder", "official"),
        ),
        Verb(
            "evaluate",
            "score a fine-tuned model: UAR, WAR, per class and group, figures, predictions as CSV",
            "maedfer.training.finetuning.evaluate:evaluate",
        ),
        Verb(
            "compare",
            "compare two models on the same test clips: differences, intervals, tests",
            "maedfer.report.compare:compare",
            positional="runs",
        ),
        Verb(
            "consolidate",
            "write the encoder or classifier of an unfinished run from its checkpoint",
            "maedfer.training.consolidate:consolidate",
            positional="run",
        ),
        Verb(
            "convert",
            "turn a checkpoint of the original MAE-DFER code into a maedfer folder",
            "maedfer.models.convert:convert",
            positional="file",
        ),
    )
}
"""Every verb by its name, in the order of `maedfer --help`."""
