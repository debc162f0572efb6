"""`maedfer doctor`: shows in one table what this machine has of what the verbs need.

Libraries are imported row by row, so that a missing or broken one is a row of the table and not an error.
"""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path

from maedfer import __version__
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
    """A row: what was looked at, what was found, and the remedy where something is amiss.

    `broken` means that something that every user needs does not work.
    """

    name: str
    found: str
    remedy: str = ""
    broken: bool = False


@dataclass(frozen=True)
class Diagnosis:
    """All rows of the table."""

    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """True if everything that every user needs works."""
        return not any(check.broken for check in self.checks)

    def __str__(self) -> str:
        rows = [("", "found", "remedy"), *((c.name, c.found, c.remedy) for c in self.checks)]
        widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
        return "\n".join(f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c}".rstrip() for a, b, c in rows)


def doctor() -> Diagnosis:
    """Shows versions, the device in use, codecs, face detectors, compiler and free space in one table.

    The exit code is 1 where something that every user needs is broken.
    """
    compilers = filter(None, map(shutil.which, (os.environ.get("CXX", ""), "g++", "clang++", "cl")))
    compiler = next(compilers, None)
    checks = [
        Check("maedfer", f"{__version__} ({Path(__file__).parent})"),
        Check("python", f"{platform.python_version()} ({platform.platform()})"),
        *(_attempt(name, partial(_version, name), "pip install --upgrade maedfer") for name in REQUIRED),
        *(_optional(name, extra) for name, extra in OPTIONAL.items()),
        Check("cores", f"{usable_cores()} usable of {os.cpu_count()}"),
        Check("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "not set: leaves a core to the loader")),
        _attempt("device", _device, "install a torch that fits the driver: pytorch.org"),
        _attempt("decodes", _decoded, "install PyAV from a wheel: pip install av"),
        _attempt("encodes", _encoder, "install PyAV from a wheel, which has libx264: pip install av"),
        _attempt("detector haar", _cascades, "pip install --force-reinstall opencv-python-headless"),
        Check("detector yunet", "with a model file of the OpenCV model zoo: --detector-model FILE"),
        Check("C++ compiler", compiler)
        if compiler
        else Check("C++ compiler", "none", "only for --model.compile: install g++ and python3-dev"),
        _space("working folder", Path.cwd()),
        _space("temporary files", Path(tempfile.gettempdir())),
    ]
    if SHARED_MEMORY.is_dir():
        checks.append(_space("shared memory", SHARED_MEMORY, MIN_SHARED_BYTES))
    return Diagnosis(tuple(checks))


def _attempt(name: str, look: Callable[[], str], remedy: str) -> Check:
    """Runs one check that every user needs; whatever it raises becomes its row."""
    try:
        return Check(name, look())
    except Exception as error:
        message = " ".join(str(error).split()) or repr(error)
        return Check(name, f"broken: {message}"[:100], remedy, broken=True)


def _version(name: str) -> str:
    module = importlib.import_module(name)
    return str(getattr(module, "__version__", None) or metadata.version(name))


def _optional(name: str, extra: str) -> Check:
    try:
        return Check(name, metadata.version(name))
    except metadata.PackageNotFoundError:
        return Check(name, "not installed", f"pip install 'maedfer[{extra}]'")


def _device() -> str:
    """Returns the device that the Trainer takes by default, after a product of two bf16 matrices on it."""
    import torch

    kind = "mps" if torch.backends.mps.is_available() else "cuda" if torch.cuda.is_available() else "cpu"
    ones = torch.ones(64, 64, dtype=torch.bfloat16, device=kind)
    if (ones @ ones).float().mean().item() != 64:
        raise RuntimeError(f"{kind} multiplies bf16 matrices wrongly")
    name, fast = kind, True
    if kind == "cuda":
        gpu = torch.cuda.get_device_properties(0)
        name = f"cuda: {torch.cuda.device_count()} x {gpu.name}, {gpu.total_memory / 2**30:.0f} GiB"
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    elif kind == "cpu":
        name = f"cpu ({torch.backends.cpu.get_cpu_capability()})"
        probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # private: False where absent
        fast = any(getattr(torch.cpu, probe, bool)() for probe in probes)
    return f"{name}, bf16 {'in hardware' if fast else 'emulated (slow)'}"


def _decoded() -> str:
    """Lists the codecs of `DECODERS`, followed by `(no)` where PyAV has no decoder; H.264 is a must."""
    import av

    found = {codec: any(name in av.codecs_available for name in names) for codec, names in DECODERS.items()}
    if not found["h264"]:
        raise RuntimeError("no decoder for H.264")
    return ", ".join(codec if has else f"{codec} (no)" for codec, has in found.items())


def _encoder() -> str:
    """Names the encoder of H.264, which `--encoding h264` needs."""
    import av

    return f"h264 ({av.codec.Codec('libx264', 'w').name})"


def _cascades() -> str:
    cv2 = importlib.import_module("cv2")
    for name in CASCADES:
        if cv2.CascadeClassifier(str(Path(cv2.data.haarcascades) / name)).empty():
            raise RuntimeError(f"OpenCV has no {name}")
    return "ready"


def _space(name: str, folder: Path, least: int = 0) -> Check:
    free = shutil.disk_usage(folder).free
    remedy = "" if os.access(folder, os.W_OK) else "not writable: use another folder"
    if free < least:
        remedy = "small: docker run --shm-size, fewer --data.workers"
    return Check(name, f"{free / 2**30:.1f} GiB free in {folder}", remedy)
