"""A canary: every private attribute of Lightning and DeepSpeed that `maedfer` uses exists as it expects."""

import inspect
import re
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from lightning_fabric.strategies.launchers import subprocess_script
from pytorch_lightning.callbacks import EMAWeightAveraging
from pytorch_lightning.loops import fetchers, fit_loop, progress, training_epoch_loop
from pytorch_lightning.loops.evaluation_loop import _EvaluationLoop
from pytorch_lightning.strategies import DeepSpeedStrategy, Strategy
from pytorch_lightning.strategies.launchers import _SubprocessScriptLauncher
from pytorch_lightning.trainer.connectors import signal_connector

import maedfer
from maedfer.lightning_internals import OBSERVER, OVERRIDDEN

ROOT = Path(maedfer.__file__).parent
USED = {
    r"self\._data_fetcher\b": fit_loop,
    r"self\.max_batches\b": fit_loop,
    r"trainer\.val_check_batch = ": fit_loop,
    r"def _should_accumulate\(self\)": fit_loop,
    r"self\.epoch_loop = ": fit_loop,
    r"def _should_check_val_fx\(self, data_fetcher: ": training_epoch_loop,
    r"self\.val_loop = ": training_epoch_loop,
    r"self\.batch_progress = ": training_epoch_loop,
    r"def skip\(self\)": _EvaluationLoop,
    r"\bready: int = 0": progress,
    r"self\.length\b": fetchers,
    r"def register_signal_handlers\(self\)": signal_connector,
    r"self\.procs\b": _SubprocessScriptLauncher,
    rf'name="{OBSERVER}"': subprocess_script,
    r"in self\._child_processes": subprocess_script,
    r"self\._latest_update_step\b": EMAWeightAveraging.__mro__[1],
    r"self\._precision_plugin\b": Strategy,
    r"self\._process_group_backend\b": DeepSpeedStrategy.__mro__[1],
    r"def _init_deepspeed_distributed\(self\)": DeepSpeedStrategy,
    **{rf"def {name}\(self\)": DeepSpeedStrategy for name in OVERRIDDEN},
}
"""A line of the source of Lightning for each attribute, and the class or module that holds it."""


@pytest.mark.parametrize("line", USED)
def test_a_part_of_lightning_exists(line):
    assert re.search(line, inspect.getsource(USED[line])), (
        f"pytorch_lightning {version('pytorch_lightning')} has no {line!r} in {USED[line].__name__}"
    )


def test_a_fused_optimizer_has_the_mark_that_forbids_to_clip():
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], fused=True)
    assert optimizer._step_supports_amp_scaling is True, f"torch {version('torch')}"


@pytest.mark.long
@pytest.mark.skipif(find_spec("deepspeed") is None, reason="needs DeepSpeed")
def test_every_part_of_deepspeed_exists():
    import deepspeed
    from deepspeed.runtime.engine import DeepSpeedEngine

    assert isinstance(deepspeed.ops.__compatible_ops__, dict), f"deepspeed {version('deepspeed')}"
    assert "scale_wrt_gas" in inspect.getsource(DeepSpeedEngine), f"deepspeed {version('deepspeed')}"


def test_no_other_file_uses_a_private_attribute_of_lightning():
    private = re.compile(
        r"\b(?:trainer|loop|fit_loop|epoch_loop|strategy|launcher|optimizer|thread)\._[a-z]\w*"
    )
    users = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in sorted(ROOT.rglob("*.py"))
        if path.name != "lightning_internals.py"
        for match in private.finditer(path.read_text(encoding="utf-8"))
    ]
    assert not users
