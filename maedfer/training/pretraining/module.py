"""Pre-trains an encoder by masked reconstruction, as a LightningModule (paper section 3).

A batch consists of uint8 clips with the views and masks drawn for them; cropping, flipping and normalising
happen on the device in one operation. Optimizer and schedule are upstream's: AdamW (or Muon, see
`optimizer`), linear scaling of the learning rate by the global batch, warm-up and cosine per step.
Departures: representative tokens are not decayed (upstream excludes them under a name that does not match)
unless `region_tokens` is official, and warm-up is a share of the run, not epochs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from einops import rearrange
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from timm.optim import param_groups_weight_decay
from torch import Tensor

from maedfer.data.loading.batch import ClipBatch
from maedfer.data.loading.views import prepare_clips
from maedfer.errors import UserError
from maedfer.lightning_internals import datamodule_of
from maedfer.models.encoder import VideoEncoder
from maedfer.models.features import LOCAL
from maedfer.models.lgi_former import LGIFormer
from maedfer.models.masking import MaskMode, MaskSpec, MaskSymmetry, draw_predicted
from maedfer.models.registry import build_mae
from maedfer.randomness import seed_of
from maedfer.training.steps.compilation import call, compiled_call
from maedfer.training.steps.finite_steps import FiniteSteps
from maedfer.training.steps.optimizer import OptimizerName
from maedfer.training.steps.region_tokens import REGION_TOKENS
from maedfer.training.steps.scheduled_module import ScheduledModule
from maedfer.upstream import Behaviour, mimics_upstream


class MaskedPretraining(ScheduledModule, FiniteSteps):
    """A masked autoencoder, its optimizer and its schedule.

    Args:
        architecture: Registered name of the encoder, such as `lgi_former_base_patch16_160`.
        model_args: Arguments that override those of the registered architecture.
        mask_ratio: Share of the tokens of every region that is masked.
        mask_mode: `tube` (one pattern of a window for all frames, upstream's) or `random` (one for every
            region, its frames unlike each other).
        mask_symmetry: `none`, or visible tokens in one half of the face only, left or right: the same half
            for the whole clip (`global`), or drawn for each window or region (`local`).
        predicted_share: Share of the masked tokens, drawn anew for every clip, that a training step predicts;
            less than 1 costs less. Evaluation always predicts all of them.
        optimizer: `adamw` is upstream's; `muon` learns in a fraction of the steps, and takes the same rates.
        base_lr: Peak learning rate for a global batch of 256.
        min_lr: Final learning rate for a global batch of 256.
        warmup_share: Share of the run over which the learning rate rises from 0.
        weight_decay: Weight decay of matrices; biases, norms, the mask and representative tokens have none.
        region_tokens: `correct`, or `official` to decay the representative tokens, as upstream does.
        betas: Betas of AdamW.
        grad_checkpointing: Recompute activations in the backward pass, to save memory.
        compile: Run training steps through `torch.compile`; the first takes a minute or more.
        decoder: arguments of `MaskedAutoencoder`, by keyword.
    """

    def __init__(
        self,
        architecture: str = "lgi_former_base_patch16_160",
        model_args: dict[str, Any] | None = None,
        mask_ratio: float = 0.9,
        mask_mode: MaskMode = "tube",
        mask_symmetry: MaskSymmetry = "none",
        predicted_share: float = 1.0,
        optimizer: OptimizerName = "adamw",
        base_lr: float = 3e-4,
        min_lr: float = 1e-5,
        warmup_share: float = 0.05,
        weight_decay: float = 0.05,
        region_tokens: Behaviour = "correct",
        betas: tuple[float, float] = (0.9, 0.95),
        grad_checkpointing: bool = False,
        compile: bool = False,
        **decoder: Any,
    ) -> None:
        super().__init__(base_lr, min_lr, warmup_share, optimizer, betas)
        self.architecture, self.model_args = architecture, dict(model_args or {})
        # The parameters that jsonargparse finds behind `decoder` are flags; the one given here is not.
        self.mae = build_mae(architecture, self.model_args, decoder_mlp_ratio=4.0, **decoder)
        self.mae.set_grad_checkpointing(grad_checkpointing)
        encoder = self.mae.encoder
        if isinstance(encoder, LGIFormer):
            encoder.freeze_unread(frozenset((LOCAL,)))  # the decoder reads no others
        self.masks = MaskSpec(encoder.grid, encoder.region_size, mask_ratio, mask_mode, mask_symmetry)
        # Known in advance, so that no step waits for the device to count its masks.
        self.num_masked = self.masks.num_masked
        self.num_predicted = count_predicted(self.num_masked, predicted_share)
        self.compiles, self._call = compile, compiled_call() if compile else call
        self._weight_decay = weight_decay
        self._official_tokens = mimics_upstream("region_tokens", region_tokens)

    def setup(self, stage: str) -> None:
        """Makes the data module draw clips and masks that fit the encoder."""
        datamodule_of(self.trainer).fit_to_model(self.mae.encoder.num_frames, self.masks)

    def clips(self, batch: ClipBatch) -> Tensor:
        """Returns the normalised clips (B, 3, T, H, W) of a batch."""
        return prepare_clips(batch.clips, batch.boxes, batch.flips, self.mae.encoder.img_size)

    def predicted(self, seeds: Sequence[int]) -> Tensor | None:
        """Draws the places (B, P) among the masked tokens that training predicts; None for all of them.

        Args:
            seeds: of the clips; equal seeds give equal places, on any rank and in any batch.
        """
        if self.num_predicted == self.num_masked:
            return None
        own = [seed_of(seed, "predicted") >> 65 for seed in seeds]  # 63 bits: torch's seeds are signed
        places = draw_predicted(own, self.num_masked, self.num_predicted)
        # Pinned, because the copy to a GPU would otherwise wait for the work that runs on it.
        places = places.pin_memory() if self.device.type == "cuda" else places
        return places.to(self.device, non_blocking=True)

    def training_step(self, batch: ClipBatch, batch_idx: int) -> dict[str, Tensor]:
        """Computes the losses of a batch and moves the cursor of the data module past it."""
        places = self.predicted(batch.seeds)
        output = self._call(self.mae, self.clips(batch), batch.masks, self.num_masked, places)
        self.watch(output.loss)
        datamodule_of(self.trainer).consumed(batch)
        losses = {name: getattr(output, name) for name in ("loss", "loss_appearance", "loss_motion")}
        self.log_dict({f"train/{k}": v.detach() for k, v in losses.items()}, batch_size=len(batch.clips))
        self.log("train/lr", self.learning_rate(self.trainer.global_step))
        # Lightning divides `loss` by the number of micro-batches of a step; the records need it undivided.
        return {**losses, "unscaled": losses["loss"].detach()}

    def validation_step(self, batch: ClipBatch, batch_idx: int) -> dict[str, Tensor]:
        """Returns predictions and targets (B, M, P) of held-out clips for `HeldOutEvaluation`."""
        output = self.mae(self.clips(batch), batch.masks, self.num_masked)
        assert batch.masks is not None
        _, masked = self.mae.split_mask(batch.masks, self.num_masked)
        valid = batch.valid
        return {"prediction": output.pred, "target": output.target, "masked": masked, "valid": valid}

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Returns one optimizer over decayed and undecayed tensors, and its schedule."""
        return self.scheduled(self.mae, self.parameter_groups(), self.start_schedule())

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Returns undecayed and decayed parameters; upstream decays the representative tokens by mistake."""
        spared = self.mae.no_weight_decay()
        if self._official_tokens:
            spared -= {f"encoder.{REGION_TOKENS}"}
        # By name: the meaning of the third argument differs between timm's versions.
        groups: list[dict[str, Any]] = param_groups_weight_decay(
            self.mae, self._weight_decay, no_weight_decay_list=spared
        )
        return groups

    def exported(self) -> VideoEncoder:
        """Returns the encoder."""
        return self.mae.encoder

    def all_targets(self, clips: Tensor) -> Tensor:
        """Returns the targets (B, N, P) of every token of normalised clips (B, 3, T, H, W)."""
        everything = torch.arange(self.mae.encoder.layout.num_tokens, device=clips.device)
        return self.mae.targets(clips, rearrange(everything, "n -> 1 n").expand(len(clips), -1))


def count_predicted(num_masked: int, share: float) -> int:
    """Returns how many masked tokens of a clip training predicts: a share, rounded to whole tokens.

    Raises:
        UserError: a share out of range, or of less than half a token.
    """
    count = round(share * num_masked) if 0 < share <= 1 else 0
    if not count:
        raise UserError(
            "predicted_share",
            f"{share} predicts none of the {num_masked} masked tokens of a clip, or more than all: take a "
            f"share from {1 / num_masked:.3g} to 1",
        )
    return count
