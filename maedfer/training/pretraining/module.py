"""Pre-trains an encoder by masked reconstruction, as a LightningModule (paper section 3).

A batch consists of uint8 clips with the views and masks drawn for them; cropping, flipping and normalising
happen on the device in one operation. Optimizer and schedule are upstream's: AdamW (or Muon, see
`optimizer`), linear scaling of the learning rate by the global batch, warm-up and cosine per step.
Departures: representative tokens are not decayed (upstream excludes them under a name that does not match)
unless `region_tokens` is official, and warm-up is a share of the run, not epochs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from einops import rearrange
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from timm.optim import param_groups_weight_decay
from torch import Tensor

from maedfer.data.loading.batch import ClipBatch
from maedfer.data.loading.masks import MaskSpec
from maedfer.data.loading.views import prepare_clips
from maedfer.errors import UserError
from maedfer.lightning_internals import datamodule_of
from maedfer.models.encoder import VideoEncoder
from maedfer.models.lgi_former import LGIFormer
from maedfer.models.masking import draw_predicted
from maedfer.models.registry import build_mae
from maedfer.randomness import seed_of
from maedfer.training.steps.compilation import call, compiled_call
from maedfer.training.steps.finite_steps import FiniteSteps
from maedfer.training.steps.optimizer import OptimizerName
from maedfer.training.steps.region_tokens import REGION_TOKENS
from maedfer.training.steps.scheduled_module import ScheduledModule
from maedfer.upstream import Switch, is_official


class MaskedPretraining(ScheduledModule, FiniteSteps):
    """A masked autoencoder, its optimizer and its schedule.

    Args:
        architecture: registered name of the encoder, such as `lgi_former_base_patch16_160`.
        model_args: arguments that override those of the registered architecture.
        decoder_dim: width of the decoder.
        decoder_depth: blocks of the decoder.
        decoder_num_heads: attention heads of the decoder.
        appearance_weight: lambda, weight of the appearance loss; motion gets the rest. 0.5 is upstream's
            loss.
        motion_group: frames whose motion is measured from the first of them: 2 is upstream's, 1 takes all
            frames as they look; null takes those of a tubelet.
        target_std_floor: standard deviation (pixels in 0..1) under which a flat patch is not blown up to unit
            variance; 0 is upstream's target.
        decoder_positions: `correct`, or `official` for upstream's permuted ones.
        zero_init_heads: start the prediction heads at 0; a short run learns sooner. Off is upstream.
        decoder_attention: `joint` is upstream's; `cross` lets masked tokens attend to visible ones only, and
            costs less.
        mask_ratio: share of the tokens of every region that is masked.
        mask_mode: `tube` (one pattern of a window for all frames, upstream's) or `random` (one for every
            region, its frames unlike each other).
        mask_symmetry: `none`, or visible tokens in one half of the face only, left or right: the same half
            for the whole clip (`global`), or drawn for each window or region (`local`).
        predicted_share: share of the masked tokens, drawn anew for every clip, that a training step predicts;
            less than 1 costs less. Evaluation always predicts all of them.
        optimizer: `adamw` is upstream's; `muon` learns in a fraction of the steps, and takes the same rates.
        base_lr: peak learning rate for a global batch of 256.
        min_lr: final learning rate for a global batch of 256.
        warmup_share: share of the run over which the learning rate rises from 0.
        weight_decay: of matrices; biases, norms, the mask and the representative tokens are not decayed.
        region_tokens: `correct`, or `official` to decay the representative tokens, as upstream does.
        betas: AdamW's.
        grad_checkpointing: recompute activations in the backward pass, to save memory.
        compile: run training steps through `torch.compile`; the first takes a minute or more.
    """

    def __init__(
        self,
        architecture: str = "lgi_former_base_patch16_160",
        model_args: dict[str, Any] | None = None,
        decoder_dim: int = 384,
        decoder_depth: int = 4,
        decoder_num_heads: int = 6,
        appearance_weight: float = 0.5,
        motion_group: int | None = None,
        target_std_floor: float = 0.0,
        decoder_positions: Literal["correct", "official"] = "correct",
        zero_init_heads: bool = False,
        decoder_attention: Literal["joint", "cross"] = "joint",
        mask_ratio: float = 0.9,
        mask_mode: Literal["tube", "random"] = "tube",
        mask_symmetry: Literal["none", "global", "local"] = "none",
        predicted_share: float = 1.0,
        optimizer: OptimizerName = "adamw",
        base_lr: float = 3e-4,
        min_lr: float = 1e-5,
        warmup_share: float = 0.05,
        weight_decay: float = 0.05,
        region_tokens: Switch = "correct",
        betas: tuple[float, float] = (0.9, 0.95),
        grad_checkpointing: bool = False,
        compile: bool = False,
    ) -> None:
        super().__init__(base_lr, min_lr, warmup_share, optimizer, betas)
        self.architecture, self.model_args = architecture, dict(model_args or {})
        self.mae = build_mae(
            architecture,
            self.model_args,
            decoder_dim=decoder_dim,
            decoder_depth=decoder_depth,
            decoder_num_heads=decoder_num_heads,
            appearance_weight=appearance_weight,
            motion_group=motion_group,
            target_std_floor=target_std_floor,
            decoder_positions=decoder_positions,
            zero_init_heads=zero_init_heads,
            decoder_attention=decoder_attention,
        )
        self.mae.set_grad_checkpointing(grad_checkpointing)
        encoder = self.mae.encoder
        if isinstance(encoder, LGIFormer):
            encoder.freeze_unpooled("token")  # the decoder reads local tokens only
        self.masks = MaskSpec(encoder.grid, encoder.region_size, mask_ratio, mask_mode, mask_symmetry)
        # Known in advance, so that no step waits for the device to count its masks.
        self.num_masked = self.masks.num_masked
        self.num_predicted = count_predicted(self.num_masked, predicted_share)
        self.compiles, self._call = compile, compiled_call() if compile else call
        self._weight_decay = weight_decay
        self._official_tokens = is_official("region_tokens", region_tokens)

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

    @property
    def num_tokens(self) -> int:
        """The number of tokens of a clip, N."""
        frames, rows, columns = self.mae.encoder.grid
        return frames * rows * columns

    def all_targets(self, clips: Tensor) -> Tensor:
        """Returns the targets (B, N, P) of every token of normalised clips (B, 3, T, H, W)."""
        everything = torch.arange(self.num_tokens, device=clips.device)
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
