"""`maedfer doctor`: shows in one table what this machine has of what the verbs need.

Libraries are imported row by row, so that a missing or broken one is a row of the table and not an error.
"""

from __future__ import annotations

import importlib
import io
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

from maedfer.processes.cores import usable_cores

REQUIRED = ("torch", "torchvision", "timm", "einops", "safetensors", "numpy", "av", "cv2", "simplejpeg")
"""Modules without which no video is packed and no model loaded."""

OPTIONAL = {
    "pytorch-lightning": "train",
    "webdataset": "train",
    "scikit-learn": "train",
    "tensorboard": "train",
    "deepspeed": "deepspeed",
}
"""Distributions that only some verbs need, and the extra of maedfer that installs each."""

DECODERS = {
    "h264": ("h264",),
    "hevc": ("hevc",),
    "vp9": ("vp9", "libvpx-vp9"),
    "av1": ("libdav1d", "libaom-av1"),  # FFmpeg's own `av1` decodes on a GPU only
    "mpeg4": ("mpeg4",),
    "mjpeg": ("mjpeg",),
}
"""Codecs of videos, and the decoders of FFmpeg that can read each."""

CASCADES = ("haarcascade_frontalface_alt2.xml", "haarcascade_frontalface_default.xml")
"""Files of OpenCV that the face detector `haar` reads."""

SHARED_MEMORY = Path("/dev/shm")
"""Where loader workers hand over their batches."""

MIN_SHARED_BYTES = 2**30
"""Room in the shared memory below which a batch of full size may not fit."""


@dataclass(frozen=True)
class Check:
    """One row: what was looked at, what was found, and, where something is amiss, the remedy."""

    name: str
    found: str
    remedy: str = ""
    broken: bool = False
    """Something that every user needs does not work, so the exit code is 1."""


@dataclass(frozen=True)
class Diagnosis:
    """All rows of the table."""

    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether everything that every user needs works."""
        return not any(check.broken for check in self.checks)

    def __str__(self) -> str:
        rows = [("", "found", "remedy"), *((c.name, c.found, c.remedy) for c in self.checks)]
        widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
        return "\n".join(f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c}".rstrip() for a, b, c in rows)


def doctor() -> Diagnosis:
    """Shows versions, the device in use, codecs, face detectors, compiler and free space in one table.

    The exit code is 1 where something that every verb needs is broken.
    """
    groups = (_versions, _device, _codecs, _detectors, _compiler, _space)
    return Diagnosis(tuple(check for group in groups for check in group()))


def _versions() -> Iterator[Check]:
    from maedfer import __version__

    yield Check("maedfer", f"{__version__} ({Path(__file__).parent})")
    supported = (3, 11) <= sys.version_info[:2] <= (3, 13)
    remedy = "" if supported else "take Python 3.11 to 3.13"
    yield Check("python", f"{platform.python_version()} ({platform.platform()})", remedy, not supported)
    for name in REQUIRED:
        yield _attempt(name, partial(_imported_version, name), "pip install --upgrade maedfer")
    for name, extra in OPTIONAL.items():
        try:
            yield Check(name, metadata.version(name))
        except metadata.PackageNotFoundError:
            yield Check(name, "not installed", f"pip install 'maedfer[{extra}]'")


def _attempt(name: str, look: Callable[[], str], remedy: str) -> Check:
    """Runs one check that every user needs; whatever it raises becomes its row."""
    try:
        return Check(name, look())
    except Exception as error:
        return Check(
            name, f"broken: {' '.join(str(error).split()) or repr(error)}"[:100], remedy, broken=True
        )


def _imported_version(name: str) -> str:
    module = importlib.import_module(name)
    return str(getattr(module, "__version__", None) or metadata.version(name))


def _device() -> Iterator[Check]:
    yield Check("cores", f"{usable_cores()} usable of {os.cpu_count()}")
    yield Check("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "not set: leaves a core to the loader"))
    yield _attempt("device", _describe_device, "install a torch that fits the driver: pytorch.org")


def _describe_device() -> str:
    """Returns the device that the Trainer takes by default, after a product of two bf16 matrices on it."""
    import torch

    kind = "mps" if torch.backends.mps.is_available() else "cuda" if torch.cuda.is_available() else "cpu"
    ones = torch.ones(64, 64, dtype=torch.bfloat16, device=kind)
    if (ones @ ones).float().mean().item() != 64:
        raise RuntimeError(f"{kind} multiplies bf16 matrices wrongly")
    if kind == "cuda":
        hardware = torch.cuda.is_bf16_supported(including_emulation=False)
        gpu = torch.cuda.get_device_properties(0)
        name = f"cuda: {torch.cuda.device_count()} x {gpu.name}, {gpu.total_memory / 2**30:.0f} GiB"
    else:
        hardware = kind == "mps" or _cpu_has_bf16(torch)
        name = "mps" if kind == "mps" else f"cpu ({torch.backends.cpu.get_cpu_capability()})"
    return f"{name}, bf16 {'in hardware' if hardware else 'emulated (slow)'}"


def _cpu_has_bf16(torch: Any) -> bool:
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # private: absent is no
    return any(getattr(torch.cpu, name, bool)() for name in names)


def _codecs() -> Iterator[Check]:
    yield _attempt("decodes", lambda: ", ".join(_decoded()), "install PyAV from a wheel: pip install av")
    yield _attempt("encodes", _encode, "install PyAV from a wheel, which has libx264: pip install av")


def _decoded() -> Iterator[str]:
    """Yields every codec of `DECODERS`, followed by `(no)` where PyAV has no decoder."""
    for codec, decoders in DECODERS.items():
        found = any(_has_decoder(name) for name in decoders)
        if codec == "h264" and not found:
            raise RuntimeError("no decoder for H.264")
        yield codec if found else f"{codec} (no)"


def _has_decoder(name: str) -> bool:
    import av

    try:
        av.codec.Codec(name, "r")
    except ValueError:  # UnknownCodecError is one
        return False
    return True


def _encode() -> str:
    """Writes a frame with libx264, as shards in H.264 have it, and reads it again."""
    import av
    import numpy as np

    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
        container.mux([*stream.encode(frame), *stream.encode()])
    file.seek(0)
    with av.open(file, "r") as written:
        if len(list(written.decode(video=0))) != 1:
            raise RuntimeError("a frame in H.264 cannot be read again")
    return "h264 (libx264)"


def _detectors() -> Iterator[Check]:
    yield _attempt("detector haar", _load_cascades, "pip install --force-reinstall opencv-python-headless")
    yield Check("detector yunet", "with a model file of the OpenCV model zoo: --detector-model FILE")


def _load_cascades() -> str:
    cv2: Any = importlib.import_module("cv2")
    for name in CASCADES:
        if cv2.CascadeClassifier(str(Path(cv2.data.haarcascades) / name)).empty():
            raise RuntimeError(f"OpenCV has no {name}")
    return "ready"


def _compiler() -> Iterator[Check]:
    names = [os.environ.get("CXX", ""), "g++", "clang++", "cl"]
    found = next((path for name in names if name and (path := shutil.which(name))), None)
    remedy = "" if found else "only for --model.compile: install g++ and python3-dev"
    yield Check("C++ compiler", found or "none", remedy)


def _space() -> Iterator[Check]:
    for name, folder in (("working folder", Path.cwd()), ("temporary files", Path(tempfile.gettempdir()))):
        writable = os.access(folder, os.W_OK)
        found = f"{_gib(shutil.disk_usage(folder).free)} free in {folder}"
        remedy = "" if writable else "not writable: use another folder"
        yield Check(name, found, remedy)
    if SHARED_MEMORY.is_dir():
        free = shutil.disk_usage(SHARED_MEMORY).free
        remedy = "" if free >= MIN_SHARED_BYTES else "small: docker run --shm-size, fewer --data.workers"
        yield Check("shared memory", f"{_gib(free)} free in {SHARED_MEMORY}", remedy)


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
