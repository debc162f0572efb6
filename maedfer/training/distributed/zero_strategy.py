"""ZeRO (Rajbhandari et al. 2020) through DeepSpeed and Lightning's strategy for it, on GPUs and on CPUs.

ZeRO 1 splits the state of the optimizer over the ranks, 2 the gradients as well, 3 the parameters too.
Lightning runs its strategy on CUDA only; here it also runs over gloo on CPUs, so that tests really run it. It
differs from Lightning's in these points:

- `bf16-mixed` means the same as under DDP: weights and gradients in float32, autocast in the forward pass
  (DeepSpeed's `torch_autocast`). Lightning's makes bfloat16 of the model and of the batch, crop boxes too.
- A step is what it is under DDP: the loss is divided once by the micro-batches of a step (Lightning and
  DeepSpeed both do it), and the last step of an epoch may have fewer of them (DeepSpeed's count goes on).
- A step that is left out, its loss being no number, leaves weights and optimizer alone (`FiniteSteps`).
- A checkpoint is written aside and renamed, so a kill leaves the one before.
- The batch size, which DeepSpeed wants to know for its own logs, comes from `ClipLoader.batch_sampler`.

Evaluation outside of training is in float32.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
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

from maedfer.training.distributed.zero_checkpoint import ZeroCheckpoint, aside, discard, replace_checkpoint
from maedfer.training.steps.finite_steps import FiniteSteps, StepLost, running_statistics

PRECISIONS = ("32", "32-true", "bf16", "bf16-mixed")
"""What `--trainer.precision` may be, as Lightning spells them."""


class ZeroPrecision(DeepSpeedPrecision):
    """float32 weights and batches; autocast, where it is asked for, is the engine's."""

    def convert_input(self, data: Any) -> Any:
        """The batch as it is: boxes and targets keep their digits."""
        return data

    def backward(self, tensor: Tensor, model: FiniteSteps, *args: Any, **kwargs: Any) -> None:
        """Backward pass of a loss that Lightning has divided by the micro-batches of a step.

        A step that is skipped has none, because the engine could not take the gradients back.

        Raises:
            StepLost: such a step has several micro-batches, and the engine already has some of them.
        """
        trainer = model.trainer
        if not model.left_out:
            trainer.model.backward(tensor, scale_wrt_gas=False)
        elif trainer.accumulate_grad_batches > 1:
            raise StepLost(
                float(tensor) * trainer.accumulate_grad_batches,
                "accumulate_grad_batches",
                f"the loss of step {trainer.global_step + 1} is NaN or infinite, and DeepSpeed cannot skip a "
                f"step of {trainer.accumulate_grad_batches} micro-batches: take 1, or lower `base_lr`",
            )


class ZeroStrategy(DeepSpeedStrategy):
    """Lightning's DeepSpeedStrategy, also on CPUs; its options are that strategy's."""

    @property
    def root_device(self) -> torch.device:
        """The device of this rank; DeepSpeed wants a number, also for a CPU."""
        device = super().root_device
        return torch.device("cpu", 0) if device.type == "cpu" else device

    @property
    def precision_plugin(self) -> Precision:
        """The precision, see `ZeroPrecision`."""
        return super().precision_plugin

    @precision_plugin.setter
    def precision_plugin(self, plugin: Precision | None) -> None:
        asked = isinstance(plugin, DeepSpeedPrecision)
        self._precision_plugin = ZeroPrecision(plugin.precision) if asked else plugin

    @property
    def stage(self) -> int:
        """The stage of ZeRO."""
        return int(self.config.get("zero_optimization", {}).get("stage", 0))

    @property
    def handles_gradient_accumulation(self) -> bool:
        """False: Lightning counts the micro-batches of a step, as it does under DDP."""
        return False

    @contextmanager
    def block_backward_sync(self) -> Iterator[None]:
        """Nothing to block: the engine is told in `training_step` where a step ends."""
        yield

    def setup_environment(self) -> None:
        """Join the ranks; on CPUs over gloo, without kernels that DeepSpeed would compile first."""
        if not isinstance(self.accelerator, CPUAccelerator):
            super().setup_environment()
            return
        import deepspeed

        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
        self._process_group_backend = "gloo"
        self.accelerator.setup_device(self.root_device)
        reset_seed()
        self.set_world_ranks()
        self._init_deepspeed_distributed()

    def _format_config(self) -> None:
        """Fill in what DeepSpeed has to know of the run."""
        if isinstance(self.config, dict):
            # Offloaded, torch's AdamW runs on the CPU; DeepSpeed's own would have to be compiled first.
            self.config.setdefault("zero_force_ds_cpu_optimizer", False)
            if self.precision_plugin.precision == "bf16-mixed":
                # No module's gradients are reduced in bfloat16, as DDP does not.
                autocast = {"enabled": True, "dtype": "bfloat16", "lower_precision_safe_modules": []}
                self.config.setdefault("torch_autocast", autocast)
                self.config.setdefault("bf16", {"enabled": False})
        super()._format_config()

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        """Forward pass; the engine is told before it whether this micro-batch ends a step."""
        loop = self.lightning_module.trainer.fit_loop
        self.deepspeed_engine.set_gradient_accumulation_boundary(not loop._should_accumulate())
        self._share_buffers()
        return super().training_step(*args, **kwargs)

    def validation_step(self, *args: Any, **kwargs: Any) -> Any:
        """Evaluation of a batch."""
        self._share_buffers()
        return super().validation_step(*args, **kwargs)

    def test_step(self, *args: Any, **kwargs: Any) -> Any:
        """Evaluation of a batch."""
        self._share_buffers()
        return super().test_step(*args, **kwargs)

    def _share_buffers(self) -> None:
        """Give every rank the running statistics of the first, before each forward pass, as DDP does."""
        for values in running_statistics(self.lightning_module):
            torch.distributed.broadcast(values, 0)

    def save_checkpoint(
        self, checkpoint: dict[str, Any], filepath: str | Path, storage_options: Any = None
    ) -> None:
        """Write a checkpoint folder beside the one it replaces; all ranks take part."""
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
    """Let every rank see all of a module's parameters, which ZeRO 3 splits; every rank has to come here.

    Args:
        module: whatever holds them; nothing is done where none is split.
        changed: keep what is written to them meanwhile (the same on all ranks).
    """
    split = split_parameters(module)
    if not split:
        yield
        return
    import deepspeed

    with deepspeed.zero.GatheredParameters(split, modifier_rank=0 if changed else None):
        yield


def split_parameters(module: nn.Module) -> list[nn.Parameter]:
    """Parameters of a module that ZeRO 3 splits over the ranks."""
    return [parameter for parameter in module.parameters() if hasattr(parameter, "ds_id")]


def refuse_other_strategy(checkpoint: Path, trainer: Trainer) -> None:
    """Refuse to resume what another kind of strategy, or under ZeRO another number of ranks, has written.

    Raises:
        ValueError: names both, and the remedy.
    """
    strategy, flag = trainer.strategy, f"--resume {checkpoint}"
    if isinstance(strategy, ZeroStrategy) != checkpoint.is_dir():
        by = "under" if checkpoint.is_dir() else "without"
        raise ValueError(
            f"{flag} was written {by} DeepSpeed: resume with the --trainer.strategy of before, or start a "
            "new run from its weights with --init-from"
        )
    if isinstance(strategy, ZeroStrategy):
        ZeroCheckpoint.of(checkpoint, flag).refuse_other(strategy.stage, trainer.world_size, flag)


def settle_strategy(trainer: Namespace) -> bool:
    """Put `ZeroStrategy` where a strategy of DeepSpeed is asked for.

    Lightning's names for its variants then mean ours, as does its class.

    Args:
        trainer: the settings of the trainer; changed in place.

    Returns:
        Whether a strategy of DeepSpeed is asked for.

    Raises:
        ValueError: DeepSpeed is not installed, or cannot do what the other settings ask for.
    """
    asked = trainer.strategy
    name = asked if isinstance(asked, str) else asked.get("class_path", "")
    own = f"{ZeroStrategy.__module__}.{ZeroStrategy.__name__}"
    if "deepspeed" not in name.lower() and name != own:
        return False
    _refuse_impossible(trainer)
    if _on_cpu(trainer.accelerator):
        os.environ["DS_ACCELERATOR"] = "cpu"  # read when deepspeed is imported
    if isinstance(asked, str):
        _register_names()
    else:
        asked.class_path = own
    return True


def _refuse_impossible(trainer: Mapping[str, Any]) -> None:
    if find_spec("deepspeed") is None:
        raise ValueError("--trainer.strategy deepspeed needs DeepSpeed: pip install 'maedfer[deepspeed]'")
    if str(trainer["precision"]) not in PRECISIONS:
        raise ValueError(
            f"--trainer.precision {trainer['precision']} does not go with DeepSpeed here: take bf16-mixed or "
            "32-true"
        )
    if trainer["gradient_clip_algorithm"] == "value":
        raise ValueError(
            "DeepSpeed clips gradients by their norm: leave --trainer.gradient_clip_algorithm value out"
        )


def _on_cpu(accelerator: Any) -> bool:
    return accelerator == "cpu" or (accelerator == "auto" and not torch.cuda.is_available())


def _register_names() -> None:
    """Let Lightning's names, such as `deepspeed_stage_3_offload`, build this class."""
    for name in [name for name in StrategyRegistry.available_strategies() if name.startswith("deepspeed")]:
        entry = StrategyRegistry[name]
        options = {"description": entry["description"], "override": True, **entry["init_params"]}
        StrategyRegistry.register(name, ZeroStrategy, **options)
