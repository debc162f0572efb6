"""Trains under ZeRO (Rajbhandari et al. 2020) with DeepSpeed and Lightning's strategy, on GPUs and on CPUs.

ZeRO 1 splits the state of the optimizer over the ranks, 2 the gradients as well, 3 the parameters too.
Lightning runs its strategy on CUDA only; here it also runs over gloo on CPUs, so that tests really run it. It
differs from Lightning's in these points:

- `bf16-mixed` means the same as under DDP: weights and gradients in float32, autocast in the forward pass
  (DeepSpeed's `torch_autocast`). Lightning converts the model and the batch to bfloat16, crop boxes too.
- A step is the same as under DDP: the loss is divided once by the micro-batches of a step (Lightning and
  DeepSpeed both do it), and the last step of an epoch may have fewer of them (DeepSpeed counts on).
- A skipped step, whose loss is NaN or infinite, leaves weights and optimizer unchanged (`FiniteSteps`).
- A checkpoint is written aside and renamed, so a kill leaves the previous one.
- The batch size, which DeepSpeed needs for its own logs, comes from `ClipLoader.batch_sampler`.

Evaluation outside of training is in float32.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from jsonargparse import Namespace
from lightning_fabric.utilities.seed import reset_seed
from pytorch_lightning import Trainer
from pytorch_lightning.accelerators import CPUAccelerator
from pytorch_lightning.plugins.precision import DeepSpeedPrecision, Precision
from pytorch_lightning.strategies import DeepSpeedStrategy, StrategyRegistry
from torch import Tensor, nn

from maedfer.errors import UserError
from maedfer.lightning_internals import (
    engine_backward,
    is_accumulating,
    join_over_gloo,
    set_precision_plugin,
)
from maedfer.training.distributed.zero_checkpoint import ZeroCheckpoint, aside, discard, replace_checkpoint
from maedfer.training.steps.finite_steps import FiniteSteps, StepLost, running_statistics

PRECISIONS = ("32", "32-true", "bf16", "bf16-mixed")
"""Supported values of `precision`, as Lightning spells them."""


class ZeroPrecision(DeepSpeedPrecision):
    """Keeps weights and batches in float32; DeepSpeed's engine does the autocast, if there is any."""

    def convert_input(self, data: Any) -> Any:
        """Returns the batch unchanged: boxes and targets keep their digits."""
        return data

    def backward(  # type: ignore[override]  # Lightning's own classes disagree about the types
        self, tensor: Tensor, model: FiniteSteps, *args: Any, **kwargs: Any
    ) -> None:
        """Runs the backward pass of a loss that Lightning has divided by the micro-batches of a step.

        A step that is skipped has none, because the engine could not take the gradients back.

        Raises:
            StepLost: such a step has several micro-batches, and the engine already has some of them.
        """
        trainer = model.trainer
        if not model.is_skipped:
            engine_backward(trainer.model, tensor)
        elif trainer.accumulate_grad_batches > 1:
            raise StepLost(
                "accumulate_grad_batches",
                f"the loss of step {trainer.global_step + 1} is NaN or infinite on rank {model.bad_rank}, "
                "and DeepSpeed cannot skip a step of several micro-batches: take 1, or lower `base_lr`",
            )


class ZeroStrategy(DeepSpeedStrategy):
    """Lightning's DeepSpeedStrategy, also on CPUs; its options are that strategy's."""

    @property
    def root_device(self) -> torch.device:
        """The device of this rank; DeepSpeed needs an index, also for a CPU."""
        device = super().root_device
        return torch.device("cpu", 0) if device.type == "cpu" else device

    @property
    def precision_plugin(self) -> Precision:
        """The precision plugin, a `ZeroPrecision`."""
        return super().precision_plugin

    @precision_plugin.setter
    def precision_plugin(self, plugin: Precision | None) -> None:
        own = plugin
        if isinstance(plugin, DeepSpeedPrecision):
            own = ZeroPrecision(plugin.precision)  # type: ignore[arg-type]  # of a DeepSpeedPrecision
        set_precision_plugin(self, own)

    @property
    def stage(self) -> int:
        """The stage of ZeRO."""
        return int((self.config or {}).get("zero_optimization", {}).get("stage", 0))

    @property
    def handles_gradient_accumulation(self) -> bool:
        """False: Lightning counts the micro-batches of a step, as it does under DDP."""
        return False

    @contextmanager
    def block_backward_sync(self) -> Iterator[None]:
        """Does nothing: `training_step` sets where a step ends."""
        yield

    def setup_environment(self) -> None:
        """Joins the ranks; on CPUs over gloo."""
        if not isinstance(self.accelerator, CPUAccelerator):
            super().setup_environment()
            return
        self.accelerator.setup_device(self.root_device)
        reset_seed()
        self.set_world_ranks()
        join_over_gloo(self)

    def _format_config(self) -> None:
        """Fills in the settings that DeepSpeed needs of the run."""
        if isinstance(self.config, dict):
            # Offloaded, torch's AdamW runs on the CPU; DeepSpeed's own would have to be compiled first.
            self.config.setdefault("zero_force_ds_cpu_optimizer", False)
            if self.precision_plugin.precision == "bf16-mixed":
                # As under DDP, gradients of no module are reduced in bfloat16.
                autocast = {"enabled": True, "dtype": "bfloat16", "lower_precision_safe_modules": []}
                self.config.setdefault("torch_autocast", autocast)
                self.config.setdefault("bf16", {"enabled": False})
        super()._format_config()

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the forward pass, after telling the engine whether this micro-batch ends a step."""
        assert self.lightning_module is not None
        ends_step = not is_accumulating(self.lightning_module.trainer)
        self.deepspeed_engine.set_gradient_accumulation_boundary(ends_step)
        self._share_buffers()
        return super().training_step(*args, **kwargs)

    def validation_step(self, *args: Any, **kwargs: Any) -> Any:
        """Evaluates a batch."""
        self._share_buffers()
        return super().validation_step(*args, **kwargs)

    def test_step(self, *args: Any, **kwargs: Any) -> Any:
        """Evaluates a batch."""
        self._share_buffers()
        return super().test_step(*args, **kwargs)

    def _share_buffers(self) -> None:
        """Copies the running statistics of the first rank to all, before each forward pass, as DDP does."""
        assert self.lightning_module is not None
        for values in running_statistics(self.lightning_module):
            torch.distributed.broadcast(values, 0)

    def save_checkpoint(
        self, checkpoint: dict[str, Any], filepath: str | Path, storage_options: Any = None
    ) -> None:
        """Writes a checkpoint folder beside the one it replaces; all ranks take part."""
        path = Path(self.broadcast(str(filepath)))
        if self.is_global_zero:
            discard(aside(path))
        self.barrier()
        super().save_checkpoint(checkpoint, aside(path), storage_options)
        self.barrier()
        if self.is_global_zero:
            replace_checkpoint(path)
        self.barrier()


@contextmanager
def whole_parameters(module: nn.Module, changed: bool = False) -> Iterator[None]:
    """Gathers the parameters of a module that ZeRO 3 splits; every rank has to call it.

    Args:
        module: holds the parameters; without split ones nothing is done.
        changed: keep what is written to them inside the block (the same on all ranks).
    """
    split = split_parameters(module)
    if not split:
        yield
        return
    import deepspeed

    with deepspeed.zero.GatheredParameters(split, modifier_rank=0 if changed else None):
        yield


def split_parameters(module: nn.Module) -> list[nn.Parameter]:
    """Returns the parameters of a module that ZeRO 3 splits over the ranks."""
    return [parameter for parameter in module.parameters() if hasattr(parameter, "ds_id")]


def check_same_strategy(checkpoint: Path, trainer: Trainer) -> None:
    """Checks that a checkpoint was written by the same kind of strategy, under ZeRO with as many ranks.

    Raises:
        UserError: it was not; names both, and the remedy.
    """
    strategy = trainer.strategy
    if isinstance(strategy, ZeroStrategy) != checkpoint.is_dir():
        by = "under" if checkpoint.is_dir() else "without"
        raise UserError(
            "resume",
            f"{checkpoint} was written {by} DeepSpeed: resume with the former `strategy`, or start a new run "
            "from its weights with `init_from`",
        )
    if isinstance(strategy, ZeroStrategy):
        ZeroCheckpoint.of(checkpoint, "resume").check_same(strategy.stage, trainer.world_size)


def settle_strategy(trainer: Namespace) -> bool:
    """Replaces a strategy of DeepSpeed by `ZeroStrategy`, which Lightning's names and its class then mean.

    Args:
        trainer: the settings of the trainer; changed in place.

    Returns:
        Whether a strategy of DeepSpeed is asked for.

    Raises:
        UserError: DeepSpeed is not installed, or does not support other settings.
    """
    asked = trainer.strategy
    name = asked if isinstance(asked, str) else asked.get("class_path", "")
    own = f"{ZeroStrategy.__module__}.{ZeroStrategy.__name__}"
    if "deepspeed" not in name.lower() and name != own:
        return False
    _check_supported(trainer)
    accelerator = trainer.accelerator
    if accelerator == "cpu" or (accelerator == "auto" and not torch.cuda.is_available()):
        os.environ["DS_ACCELERATOR"] = "cpu"  # read when deepspeed is imported
    if isinstance(asked, str):
        _register_names()
    else:
        asked.class_path = own
    return True


def _check_supported(trainer: Namespace) -> None:
    if find_spec("deepspeed") is None:
        raise UserError("strategy", "deepspeed needs DeepSpeed: pip install 'maedfer[deepspeed]'")
    if str(trainer["precision"]) not in PRECISIONS:
        raise UserError(
            "precision",
            f"{trainer['precision']} is not supported with DeepSpeed here: take bf16-mixed or 32-true",
        )
    if trainer["gradient_clip_algorithm"] == "value":
        raise UserError("gradient_clip_algorithm", "DeepSpeed clips gradients by their norm: leave out value")


def _register_names() -> None:
    """Registers this class under Lightning's names, such as `deepspeed_stage_3_offload`."""
    for name in [name for name in StrategyRegistry.available_strategies() if name.startswith("deepspeed")]:
        entry = StrategyRegistry[name]
        options = {"description": entry["description"], "override": True, **entry["init_params"]}
        StrategyRegistry.register(name, ZeroStrategy, **options)
