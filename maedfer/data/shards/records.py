"""The JSON record of a sample, and the sample's key.

Everything that writes shards (`maedfer pack`, the synthetic faces) goes through `shard_sample`, so that every
record has every field. `data_shards/README.md` describes the fields for readers who have only the files.
"""

from __future__ import annotations

import hashlib
import json
import re
import types
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self, TypedDict, get_args, get_origin, get_type_hints, is_typeddict

from maedfer.constants import CLIP_SPAN_S
from maedfer.data.shards.format import SCHEMA
from maedfer.errors import UserError
from maedfer.files import dump_json

KEY = re.compile(r"[a-z0-9][a-z0-9_-]*")

OPTIONAL = ("frame_bytes", "sha256")
"""Fields that a record may lack: sizes that only JPEG frames have, and a checksum that other writers leave
out."""


class BrokenSample(UserError):
    """Reports a sample whose record is damaged or whose frames do not decode as the record says."""


@dataclass(frozen=True)
class EncodedTrack:
    """The stored frames of a track: member extension, bytes, and the size of each JPEG (None for mp4)."""

    extension: str
    data: bytes
    frame_bytes: list[int] | None


class TrackGeometry(TypedDict):
    """Where the frames of a track were cut out of the source.

    `boxes` has one square `[x, y, w, h]` per stored frame in upright source pixels (a rectangle where a frame
    was squeezed to a square), margin included, and may reach over the border; `rotation` one angle per stored
    frame in degrees (the crop was turned by it about the centre of its box, counter-clockwise positive), or
    None when faces were not turned; `margin` is the share of the face box added on every side.
    """

    boxes: list[list[float]]
    rotation: list[float] | None
    margin: float
    detector: str


@dataclass(frozen=True, slots=True)
class TrackRecord:
    """The record of one sample, `<key>.json` in a shard.

    Attributes:
        key: Key of the sample (`sample_key`).
        frames: Number of stored frames that decode.
        fps: Stored frames per second.
        width: Pixels.
        height: Pixels.
        encoding: Encoding of the frames, `jpeg` or `h264`.
        source: Name of the source, relative to and including its root folder's name.
        start_s: Time of the first frame in the source.
        end_s: Time of the last frame in the source.
        track: Number of the track in its source.
        geometry: Where the crops lie; None for frames that were not cut out of a video.
        face_ok: Share (0 to 1) of the examined frames in which the detector found the face; None where no
            detector ran.
        short: Whether the track spans less than a clip, so that a reader samples it over its whole length.
        label: Position of the label in the index's classes.
        label_name: Name of the label.
        votes: Votes per class, in the order of the index's classes.
        fold: Cross-validation fold.
        subject: The person who is seen.
        metadata: Any other known values, plain JSON.
        frame_bytes: Sizes of the JPEG files; None for other encodings.
        sha256: Checksum of the frames; None where the writer noted none.
        schema: Version of the format.
        more: Fields of other writers, kept as they are.
    """

    key: str
    frames: int
    fps: float
    width: int
    height: int
    encoding: str
    source: str = ""
    start_s: float = 0.0
    end_s: float = 0.0
    track: int = 0
    geometry: TrackGeometry | None = None
    face_ok: float | None = None
    short: bool = False
    label: int | None = None
    label_name: str | None = None
    votes: list[float] | None = None
    fold: str | int | None = None
    subject: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    frame_bytes: list[int] | None = None
    sha256: str | None = None
    schema: int = SCHEMA
    more: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Reads a record; fields that decoding does not need may be missing.

        Raises:
            BrokenSample: it is not a JSON object, lacks a field, or has a value of a wrong type.
        """
        try:
            values = json.loads(data)
        except ValueError as error:
            raise BrokenSample(None, f"has no JSON record ({error})") from error
        if not isinstance(values, dict):
            raise BrokenSample(None, "has no JSON record")
        if lacking := NEEDED - values.keys():
            raise BrokenSample(None, f"its record lacks {', '.join(sorted(lacking))}")
        if wrong := list(_wrong_values(values)):
            raise BrokenSample(None, "; ".join(wrong))
        known = {name: values.pop(name) for name in FIELD_TYPES if name in values}
        return cls(**known, more=values)

    def to_json(self) -> bytes:
        """Writes the record, keys sorted, so that equal records give equal bytes."""
        values = {name: getattr(self, name) for name in FIELD_TYPES}
        kept = {name: value for name, value in values.items() if name not in OPTIONAL or value is not None}
        return dump_json({**kept, **self.more})

    def value(self, column: str) -> Any:
        """Returns a field, or else a value of the metadata, by its name; None where there is neither."""
        found = getattr(self, column) if column in FIELD_TYPES else self.more.get(column)
        return self.metadata.get(column) if found is None else found


def _json_types(hint: Any) -> tuple[type, ...]:
    """Returns the types that `json.loads` gives for a value of an annotated type."""
    if isinstance(hint, types.UnionType):
        return tuple(kind for inner in get_args(hint) for kind in _json_types(inner))
    kind = get_origin(hint) or hint
    if kind is Mapping or is_typeddict(kind):
        return (dict,)
    return (int, float) if kind is float else (kind,)


FIELD_TYPES: Mapping[str, tuple[type, ...]] = {
    name: _json_types(hint) for name, hint in get_type_hints(TrackRecord).items() if name != "more"
}
"""The fields of a record, and the types that their JSON values may have."""

NEEDED = frozenset({"key", "frames", "fps", "width", "height", "encoding"})
"""Fields without which the frames cannot be decoded."""


def _wrong_values(values: Mapping[str, Any]) -> Iterator[str]:
    """Yields a text for each field of a record whose value is of a wrong type or not positive."""
    for name, allowed in FIELD_TYPES.items():
        if name not in values:
            continue
        value = values[name]
        well_typed: bool = isinstance(value, allowed) and (bool in allowed or not isinstance(value, bool))
        if not well_typed:
            names = ("null" if kind is types.NoneType else kind.__name__ for kind in allowed)
            yield f"its {name} is {str(value)[:40]!r}, not {' or '.join(names)}"
        elif name in ("frames", "fps", "width", "height") and not value > 0:
            yield f"its {name} is {value}, not more than 0"
        elif name == "frame_bytes" and value and not all(type(size) is int for size in value):
            yield "its frame_bytes are not all whole numbers"


def shard_sample(record: TrackRecord, encoded: EncodedTrack) -> dict[str, bytes]:
    """Returns the sample as `write_shard` takes it: its key, its record and its frames.

    Args:
        record: The record without the fields that follow from the frames: `short`, `frame_bytes`, `sha256`.
            Times are rounded to microseconds, `face_ok` to four digits.
        encoded: The frames.

    Raises:
        ValueError: the key has other characters than a shard allows, or there are no frames.
    """
    if KEY.fullmatch(record.key) is None:
        raise ValueError(f"sample key {record.key!r} may hold only lower-case letters, digits, '-' and '_'")
    if record.frames < 1 or record.fps <= 0:
        raise ValueError(f"sample {record.key} has {record.frames} frames at {record.fps} frames per second")
    whole = replace(
        record,
        fps=round(float(record.fps), 6),
        start_s=round(float(record.start_s), 6),
        end_s=round(float(record.end_s), 6),
        face_ok=None if record.face_ok is None else round(float(record.face_ok), 4),
        short=is_short(record.frames, record.fps),
        frame_bytes=encoded.frame_bytes,
        sha256=hashlib.sha256(encoded.data).hexdigest(),
    )
    return {"__key__": record.key.encode(), "json": whole.to_json(), encoded.extension: encoded.data}


def is_short(frames: int, fps: float) -> bool:
    """Returns whether a track spans less than a clip (2.4 s)."""
    return bool((frames - 1) / fps < CLIP_SPAN_S - 1e-6)


def sample_key(source: str, track: int, fingerprint: str = "", span: Sequence[float | None] = ()) -> str:
    """Returns the key of a sample: `<slug>-<8 hex>-<track>`, without dots and the same on every machine.

    The hexadecimal digits are a hash of the source name, the span that was asked for and the file's
    fingerprint, so that files of the same name in two folders, or two spans of one file, do not collide.
    """
    digest = hashlib.sha256(dump_json([source, list(span), fingerprint])).hexdigest()[:8]
    return f"{slug(source)}-{digest}-{track:03d}"


def slug(source: str) -> str:
    """Returns the end of a source name (up to three parts of its path) in `[a-z0-9_]`, 48 characters at most.

    The file name alone would not do: in data sets with ten thousand files called `00001.mp4`, only the hash
    would tell keys apart.
    """
    parts = re.sub(r"\.[A-Za-z0-9]{1,5}$", "", source).split("/")
    text = "_".join(parts[1:][-3:] or parts)
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "_", plain)[-48:].strip("_") or "source"
