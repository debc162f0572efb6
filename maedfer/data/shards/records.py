"""The JSON record of a sample, its key, and the two descriptions that an index gives of all its samples.

Everything that writes shards (`maedfer pack`, the synthetic faces) goes through these functions, so that
every record has every field. `data_shards/README.md` is the reader's description of the same fields.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from maedfer.constants import CLIP_SPAN_S, STORED_FPS
from maedfer.data.shards.encoding import EXTENSIONS, EncodedTrack, Encoding, check_quality
from maedfer.data.shards.format import SCHEMA
from maedfer.files import dump_json


@dataclass(frozen=True)
class TrackGeometry:
    """Where the frames of a track were cut out of the source.

    `boxes` has one square `[x, y, w, h]` per stored frame in upright source pixels (no square where a frame
    was squeezed to one), margin included, and may reach over the border; `rotation` one angle per stored
    frame in degrees (the crop was turned by it about the centre of its box, counter-clockwise positive), or
    None when faces were not turned; `margin` is the share of the face box added on every side.
    """

    boxes: Sequence[Sequence[float]]
    rotation: Sequence[float] | None
    margin: float
    detector: str


def is_short(frames: int, fps: float) -> bool:
    """Whether a track spans less than a clip (2.4 s), so that a reader samples it over its whole length."""
    return bool((frames - 1) / fps < CLIP_SPAN_S - 1e-6)


def track_record(
    encoded: EncodedTrack,
    *,
    key: str,
    frames: int,
    fps: float,
    width: int,
    height: int,
    encoding: Encoding,
    source: str,
    start_s: float,
    end_s: float,
    track: int = 0,
    geometry: TrackGeometry | None = None,
    face_ok: float | None = None,
    label: int | None = None,
    label_name: str | None = None,
    votes: Sequence[float] | None = None,
    fold: str | int | None = None,
    subject: str | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Build the record of one sample; see `data_shards/README.md` for the meaning of each field.

    Args:
        encoded: What `encode_track` returned for the frames.
        key: Key of the sample (`sample_key`).
        frames: Number of frames that were encoded.
        fps: Stored frames per second.
        width: Pixels.
        height: Pixels.
        encoding: Name of the encoding.
        source: Name of the source, relative to and including its root folder's name.
        start_s: Time of the first frame in the source.
        end_s: Time of the last frame in the source.
        track: Number of the track in its source.
        geometry: Where the crops lie; None for frames that were not cut out of a video.
        face_ok: Share (0 to 1) of the looked-at frames in which the face was really found; None: nobody
            looked.
        label: Position of the label in the index's classes.
        label_name: Name of the label.
        votes: Votes per class, in the order of the index's classes.
        fold: Cross-validation fold.
        subject: Who is seen.
        metadata: Anything else that is known, plain JSON values.

    Raises:
        ValueError: a key with other characters than a shard allows, or no frames.
    """
    if KEY.fullmatch(key) is None:
        raise ValueError(f"sample key {key!r} may hold only lower-case letters, digits, '-' and '_'")
    if frames < 1 or fps <= 0:
        raise ValueError(f"sample {key} has {frames} frames at {fps} frames per second")
    record: dict[str, Any] = {
        "schema": SCHEMA,
        "key": key,
        "frames": frames,
        "fps": round(float(fps), 6),
        "width": width,
        "height": height,
        "encoding": encoding,
        "source": source,
        "start_s": round(float(start_s), 6),
        "end_s": round(float(end_s), 6),
        "track": track,
        "geometry": None if geometry is None else asdict(geometry),
        "face_ok": None if face_ok is None else round(float(face_ok), 4),
        "short": is_short(frames, fps),
        "label": label,
        "label_name": label_name,
        "votes": None if votes is None else list(votes),
        "fold": fold,
        "subject": subject,
        "metadata": dict(metadata or {}),
        "sha256": hashlib.sha256(encoded.data).hexdigest(),
    }
    if encoded.frame_bytes is not None:
        record["frame_bytes"] = encoded.frame_bytes
    return record


def shard_sample(record: Mapping[str, Any], encoded: EncodedTrack) -> dict[str, bytes]:
    """The sample as `write_shard` takes it: its key, its record and its frames."""
    return {"__key__": record["key"].encode(), "json": dump_json(record), encoded.extension: encoded.data}


KEY = re.compile(r"[a-z0-9][a-z0-9_-]*")


def sample_key(source: str, track: int, fingerprint: str = "", span: Sequence[float | None] = ()) -> str:
    """Key of a sample: `<slug>-<8 hex>-<track>`, without dots and the same on every machine.

    The hexadecimal digits are a hash of the source name, the span that was asked for and the file's
    fingerprint, so that files of the same name in two folders, or two spans of one file, do not collide.
    """
    digest = hashlib.sha256(dump_json([source, list(span), fingerprint])).hexdigest()[:8]
    return f"{slug(source)}-{digest}-{track:03d}"


def slug(source: str) -> str:
    """The end of a source name (up to three parts of its path) in `[a-z0-9_]`, at most 48 characters.

    Not the file name alone: data sets with ten thousand files called `00001.mp4` would leave everything to
    the hash.
    """
    parts = re.sub(r"\.[A-Za-z0-9]{1,5}$", "", source).split("/")
    text = "_".join(parts[1:][-3:] or parts)
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "_", plain)[-48:].strip("_") or "source"


def describe_encoding(
    encoding: Encoding, quality: int | None = None, fps: float = STORED_FPS
) -> dict[str, Any]:
    """The `encoding` of an index: name, member extension, quality, stored frames per second."""
    quality = check_quality(encoding, quality)
    return {"name": encoding, "extension": EXTENSIONS[encoding], "quality": quality, "fps": fps}


def describe_geometry(
    detector: str, size: int, margin: float, rotated: bool, squeezed: bool = False
) -> dict[str, Any]:
    """The `geometry` of an index: detector, stored pixels, margin, whether eye lines were levelled; and
    `squeezed` where frames that were no squares were squeezed to them."""
    plain = {"detector": detector, "size": size, "margin": margin, "rotated": rotated}
    return plain | {"squeezed": True} if squeezed else plain


def made_by(program: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The `made_by` of an index: program, version of maedfer, and the settings that decide the bytes."""
    try:
        release = version("maedfer")
    except PackageNotFoundError:  # run from a checkout
        release = "unknown"
    return {"program": program, "version": release, "settings": dict(settings)}


def is_synthetic(maker: Mapping[str, Any]) -> bool:
    """Whether the `made_by` of an index, or of a folder merged into it, says that its faces were drawn."""
    lists = [each for value in maker.values() if isinstance(value, list) for each in value]
    nested = (each for each in (*maker.values(), *lists) if isinstance(each, Mapping))
    return maker.get("synthetic") is True or any(map(is_synthetic, nested))
