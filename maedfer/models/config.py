"""The `config.json` of a model folder: how to build the model, its input, its outputs.

A folder holds `config.json`, the card `README.md`, and `model.safetensors` once there are weights. A run
writes the first two when it starts (`weights.write_unfinished`) and all three when it ends
(`weights.save_encoder`). Configurations of schema 1, which kept the task and the input settings in
`provenance`, are read as well.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self, get_args

from maedfer.constants import FRAME_INTERVAL_S, IMAGENET_MEAN, IMAGENET_STD, NUM_FRAMES
from maedfer.errors import UserError
from maedfer.files import make_folder, write_atomically
from maedfer.models.card import model_card
from maedfer.tasks import TaskName
from maedfer.upstream import Behaviour

CONFIG_NAME, WEIGHTS_NAME, CARD_NAME = "config.json", "model.safetensors", "README.md"
SCHEMA = 2
KEYS_OF_SCHEMA_1 = frozenset(
    ("architecture", "model_args", "geometry", "frame_interval_s", "mean", "std", "labels", "provenance")
)


@dataclass(frozen=True, slots=True)
class InputSpec:
    """Describes how clips are made for a model.

    Attributes:
        num_frames: frames of a clip.
        frame_interval_s: seconds between the frames of a clip.
        mean: subtracted from each channel of pixels in 0..1.
        std: divides each channel afterwards.
        geometry: how faces were cropped, as in the shard index; empty where it is not known.
        frame_crop: part of the stored frames that is used: left, top, width, height in shares; None for all.
        sampling: which frames make a clip, see `ClipDataModule`.
    """

    num_frames: int = NUM_FRAMES
    frame_interval_s: float = FRAME_INTERVAL_S
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    geometry: Mapping[str, Any] = field(default_factory=dict)
    frame_crop: tuple[float, ...] | None = None
    sampling: Behaviour = "correct"


@dataclass(frozen=True, slots=True)
class OutputSpec:
    """Describes what the outputs of a model mean.

    Attributes:
        task: what was trained.
        names: name of each output, in order.
        columns: metadata columns that the targets were read from; None where they were labels.
    """

    task: TaskName
    names: tuple[str, ...]
    columns: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Everything a model folder says about its weights.

    Attributes:
        architecture: registered name.
        model_args: constructor arguments that differ from those of the name, including those of the head.
        input: how clips are made.
        output: what the outputs mean; None for an encoder, and for a classifier whose outputs have no names
            (upstream's).
        provenance: what the weights were trained on and how. It is shown, and nothing acts upon it but the
            warning of an evaluation that the model has seen its samples (`trained_on`, `shards_made_by`).
        weights_sha256: of `model.safetensors`; None before there are weights, and in folders of schema 1.
        calibration: how outputs are calibrated; None where they are not.
        schema: version of this format.
    """

    architecture: str
    model_args: Mapping[str, Any] = field(default_factory=dict)
    input: InputSpec = field(default_factory=InputSpec)
    output: OutputSpec | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    weights_sha256: str | None = None
    calibration: Mapping[str, Any] | None = None
    schema: int = SCHEMA

    @classmethod
    def from_json(cls, raw: object) -> Self:
        """Builds a configuration from the contents of a `config.json`, of schema 1 as well.

        Raises:
            UserError: keys are missing or unknown, or a task or schema is unknown.
        """
        if isinstance(raw, Mapping) and raw.keys() == KEYS_OF_SCHEMA_1:
            raw = _from_schema_1(raw)
        if isinstance(raw, Mapping) and raw.get("schema", SCHEMA) != SCHEMA:
            raise UserError(
                None, f"schema {raw['schema']} is not {SCHEMA}, which this version of maedfer reads"
            )
        values = _checked(cls, raw)
        values["input"] = InputSpec(**_checked(InputSpec, values["input"], "input"))
        if values["output"] is not None:
            values["output"] = OutputSpec(**_checked(OutputSpec, values["output"], "output"))
            if values["output"].task not in get_args(TaskName):
                raise UserError(None, f"task {values['output'].task!r} is not one of {get_args(TaskName)}")
        return cls(**values)

    def to_json(self) -> dict[str, Any]:
        """Returns the contents of `config.json`."""
        return asdict(self)


def read_config(folder: str | Path) -> ModelConfig:
    """Reads the `config.json` of a model folder.

    Raises:
        FileNotFoundError: it is missing.
        UserError: it is not JSON, or not a configuration.
    """
    path = Path(folder) / CONFIG_NAME
    if not path.is_file():
        raise FileNotFoundError(f"no {CONFIG_NAME} in {folder}")
    try:
        return ModelConfig.from_json(json.loads(path.read_text(encoding="utf-8")))
    except json.JSONDecodeError as error:
        raise UserError(None, f"{path} is not JSON: {error}") from error
    except UserError as error:
        raise UserError(None, f"{path}: {error.message}") from error


def write_config(folder: str | Path, config: ModelConfig) -> None:
    """Writes `config.json` and the card of a model, before there are weights or beside them.

    Args:
        folder: made when missing; each file is replaced as a whole.
        config: what to write; `weights_sha256` None says that the weights are still to come.
    """
    folder = Path(folder)
    make_folder(folder)
    write_atomically(folder / CARD_NAME, model_card(config).encode())
    write_atomically(folder / CONFIG_NAME, (json.dumps(config.to_json(), indent=2) + "\n").encode())


def _checked(kind: type, raw: object, name: str = CONFIG_NAME) -> dict[str, Any]:
    """Returns the values of a dataclass by name, tuples for lists; the keys must be exactly its fields."""
    expected = {field.name for field in fields(kind)}
    if not isinstance(raw, Mapping) or raw.keys() != expected:
        found = sorted(raw) if isinstance(raw, Mapping) else type(raw).__name__
        raise UserError(None, f"{name} has the keys {found}, expected exactly {sorted(expected)}")
    return {name: tuple(value) if isinstance(value, list) else value for name, value in raw.items()}


def _from_schema_1(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a configuration of schema 1 in the form of today."""
    args, said, names = raw["model_args"], raw["provenance"], raw["labels"]
    settings = {name: raw[name] for name in ("frame_interval_s", "mean", "std", "geometry")}
    settings |= {"num_frames": args.get("num_frames", NUM_FRAMES), "frame_crop": said.get("frame_crop")}
    settings |= {"sampling": said.get("sampling", "correct")}
    output = {"task": said.get("task", "classify"), "names": names, "columns": said.get("columns")}
    today = asdict(ModelConfig(raw["architecture"], args, provenance=said))
    return {**today, "input": settings, "output": output if names else None}
