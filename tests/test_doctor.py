"""`maedfer doctor`: one table of this machine, where missing libraries are rows and not errors."""

import importlib
import inspect
import os

import pytest

from maedfer import doctor as doctor_module
from maedfer.__main__ import main
from maedfer.doctor import DECODERS, doctor


@pytest.fixture(scope="module")
def checks():
    return {check.name: check for check in doctor().checks}


def test_the_table_names_what_a_run_depends_on(checks, capsys):
    import av
    import torch

    assert main(["doctor"]) == 0
    shown = capsys.readouterr().out
    for name in ("maedfer", "python", "device", "cores", "decodes", "encodes", "detector haar"):
        assert f"\n{name} " in shown and checks[name].found in shown
    assert checks["torch"].found == torch.__version__ and checks["av"].found == av.__version__
    assert checks["decodes"].found == ", ".join(DECODERS)  # what the wheels of PyAV can read
    assert not any(check.broken or check.found.startswith("broken") for check in checks.values())
    assert "free in" in checks["working folder"].found and "free in" in checks["temporary files"].found


def test_the_device_is_the_one_that_the_trainer_takes(checks):
    from pytorch_lightning import Trainer

    kind = type(Trainer(logger=False, enable_checkpointing=False).accelerator).__name__
    assert checks["device"].found.startswith(kind.removesuffix("Accelerator").lower())
    assert "bf16" in checks["device"].found


def test_the_cascades_are_those_of_the_detector():
    source = inspect.getsource(importlib.import_module("maedfer.data.faces.detectors"))
    assert all(name in source for name in doctor_module.CASCADES)


@pytest.mark.parametrize(
    ("name", "value", "shown", "code"),
    [
        ("REQUIRED", ("torch", "no_such_library"), "broken: No module named 'no_such_library'", 1),
        ("OPTIONAL", {"no-such-library": "train"}, "not installed  pip install 'maedfer[train]'", 0),
        ("DECODERS", {"h264": ("no_such_decoder",)}, "broken: no decoder for H.264", 1),
        ("DECODERS", {"h264": ("h264",), "av1": ("no_such_decoder",)}, "h264, av1 (no)", 0),
        ("CASCADES", ("no_such_cascade.xml",), "broken: OpenCV has no no_such_cascade.xml", 1),
        ("MIN_SHARED_BYTES", 2**60, "docker run --shm-size", 0),
    ],
)
def test_what_is_missing_is_a_row_and_what_every_user_needs_exit_1(
    name, value, shown, code, monkeypatch, capsys
):
    monkeypatch.setattr(doctor_module, name, value)
    assert main(["doctor"]) == code
    table = " ".join(capsys.readouterr().out.split())
    assert " ".join(shown.split()) in table


def test_no_compiler_and_an_unwritable_folder_are_rows(monkeypatch, capsys):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert main(["doctor"]) == 0
    shown = capsys.readouterr().out
    assert "only for --model.compile" in shown and "not writable" in shown
