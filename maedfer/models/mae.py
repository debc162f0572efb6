"""MAE-DFER's masked autoencoder: encodes the visible tubelets, predicts appearance and motion of the others.

Paper section 3 (arXiv 2307.02227): the loss is `lambda * MSE(appearance) + (1 - lambda) * MSE(motion)` over
masked tubelets, lambda = 0.5, which equals upstream's single mean squared error over both targets.

Upstream gives the visible tokens permuted position codes in the decoder: they leave its encoder region after
region but receive codes in raster order (40 of 80 wrong as published). `decoder_positions="correct"` pairs
them correctly; `"official"` repeats the permutation, with which the released weights were trained.

Two departures make training cheaper, both off by default. The decoder may predict only some of the masked
tokens (`forward(predicted=...)`, after VideoMAE V2, arXiv 2303.16727), and its mask tokens may attend to
visible ones only (`decoder_attention="cross"`, see `cross_decoder`).
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypedDict

import torch
from torch import Tensor, nn

from maedfer.constants import IMAGENET_MEAN, IMAGENET_STD
from maedfer.errors import UserError
from maedfer.models.cross_decoder import CrossDecoder
from maedfer.models.decoder import Decoder, JointDecoder
from maedfer.models.encoder import VideoEncoder
from maedfer.models.features import LOCAL
from maedfer.models.lgi_former import LGIFormer
from maedfer.models.masking import mask_indices
from maedfer.models.motion_groups import check_motion_group
from maedfer.models.pictures import Reconstruction, draw_reconstruction
from maedfer.models.positions import position_table
from maedfer.models.targets import appearance_size, reconstruction_targets, split_target, targets_to_pixels
from maedfer.upstream import Behaviour, mimics_upstream

DecoderAttention = Literal["joint", "cross"]
DECODERS: dict[DecoderAttention, type[Decoder]] = {"joint": JointDecoder, "cross": CrossDecoder}


class MAEOutput(NamedTuple):
    """Holds the results of one pass of the autoencoder.

    Attributes:
        pred: predictions (B, M, P) of the masked tubelets, or of the requested ones, in raster order;
            appearance first, then motion.
        loss: weighted sum of the two, the number to minimise.
        loss_appearance: mean squared error of the appearance half.
        loss_motion: mean squared error of the motion half.
        target: target of `pred`, (B, M, P), at least float32.
    """

    pred: Tensor
    loss: Tensor
    loss_appearance: Tensor
    loss_motion: Tensor
    target: Tensor


class TargetSettings(TypedDict):
    """Settings that targets are made with, and turned back into pixels with; see `targets`."""

    patch_size: int
    tubelet_size: int
    target_std_floor: float
    motion_group: int | None


class MaskedAutoencoder(nn.Module):
    """An encoder with a decoder on top, for pre-training.

    `MaskedPretraining` passes on the arguments from `decoder_dim` to `decoder_attention`: `maedfer pretrain`
    takes its flags, their defaults and descriptions from here.

    Args:
        encoder: `LGIFormer` or `JointViT`, without classes.
        decoder_dim: Width of the decoder.
        decoder_depth: Blocks of the decoder.
        decoder_num_heads: Attention heads of the decoder.
        appearance_weight: Lambda, weight of the appearance loss; motion gets the rest. 0.5 is upstream's
            loss.
        motion_group: Frames whose motion is measured from the first of them: 2 is upstream's, 1 leaves all
            frames unchanged; null takes those of a tubelet.
        target_std_floor: Standard deviation (pixels in 0..1) below which a flat patch is not scaled up to
            unit variance; 0 is upstream's target.
        decoder_positions: `correct`, or `official` for upstream's permuted ones.
        zero_init_heads: Start the prediction heads at 0, from which a short run learns sooner; off is
            upstream.
        decoder_attention: `joint` is upstream's; `cross` lets masked tokens attend to visible ones only, and
            costs less.
        decoder_mlp_ratio: hidden width of the decoder's MLPs over its width.

    Raises:
        UserError: a classifier as encoder, a tubelet without a second frame, a number out of range, or
            upstream's positions in a decoder that is not upstream's.
    """

    decoder_pos_embed: Tensor

    def __init__(
        self,
        encoder: VideoEncoder,
        decoder_dim: int = 384,
        decoder_depth: int = 4,
        decoder_num_heads: int = 6,
        appearance_weight: float = 0.5,
        motion_group: int | None = None,
        target_std_floor: float = 0.0,
        decoder_positions: Behaviour = "correct",
        zero_init_heads: bool = False,
        decoder_attention: DecoderAttention = "joint",
        decoder_mlp_ratio: float = 4.0,
    ) -> None:
        super().__init__()
        _check_encoder(encoder)
        _check_loss(appearance_weight, target_std_floor)
        check_motion_group(motion_group)
        _check_decoder(decoder_attention, decoder_positions)
        self.encoder = encoder
        self.appearance_weight, self.target_std_floor = appearance_weight, target_std_floor
        self.motion_group = motion_group
        self.decoder_positions, self.decoder_attention = decoder_positions, decoder_attention
        self.encoder_to_decoder = nn.Linear(encoder.embed_dim, decoder_dim, bias=False)
        # Upstream's normal is cut at one sigma.
        self.mask_token = nn.Parameter(
            nn.init.trunc_normal_(torch.empty(1, 1, decoder_dim), std=0.02, a=-0.02, b=0.02)
        )
        appearance = appearance_size(encoder.patch_size, encoder.in_chans)
        motion = appearance * (encoder.tubelet_size - 1)
        self.decoder = DECODERS[decoder_attention](
            dim=decoder_dim,
            depth=decoder_depth,
            num_heads=decoder_num_heads,
            mlp_ratio=decoder_mlp_ratio,
            appearance_size=appearance,
            motion_size=motion,
            zero_init_heads=zero_init_heads,
        )
        table = position_table(encoder.positions, encoder.grid, decoder_dim)
        self.register_buffer("decoder_pos_embed", table, persistent=False)

    def forward(
        self, clip: Tensor, mask: Tensor, num_masked: int | None = None, predicted: Tensor | None = None
    ) -> MAEOutput:
        """Predicts masked tubelets and compares them with their targets.

        Args:
            clip: float (B, 3, T, H, W), ImageNet-normalised.
            mask: bool (B, N), True = masked, raster order, equally many in every region of every clip.
            num_masked: masked tokens per clip. Given, the mask's values are not read on the host (no wait for
                a GPU, no break in a compiled graph) and a mask on a GPU is not checked.
            predicted: int64 (B, P), places 0..M-1 among the masked tokens of each clip, ascending: the only
                ones that are decoded and compared. All of them when None.

        Raises:
            UserError: a clip of another size, or a mask whose counts differ.
        """
        visible, masked = self.split_mask(mask, num_masked, clip.device)
        if predicted is not None:
            masked = masked.gather(1, predicted.to(clip.device))
        pred = self.predict(clip, visible, masked)
        target = self.targets(clip, masked)
        return MAEOutput(pred, *self.forward_loss(pred, target), target)

    def split_mask(
        self, mask: Tensor, num_masked: int | None = None, device: torch.device | None = None
    ) -> tuple[Tensor, Tensor]:
        """Returns raster indices of visible (B, V) and masked (B, M) tokens, on `device`; checks the mask.

        Raises:
            UserError: counts differ between regions or clips, or from `num_masked`.
        """
        readable = num_masked is None or mask.device.type == "cpu"
        if readable and not torch.compiler.is_compiling():
            counted = self.encoder.layout.count_masked(mask)
            if num_masked not in (None, counted):
                raise UserError(
                    "num_masked", f"{num_masked}, but the mask hides {counted} tokens of every clip"
                )
            num_masked = counted
        visible, masked = mask_indices(mask, num_masked)
        return visible.to(device), masked.to(device)

    def predict(self, clip: Tensor, visible: Tensor, masked: Tensor) -> Tensor:
        """Predicts the tokens at `masked`, (B, M, P), from those at `visible` (raster indices)."""
        tokens = self.encoder_to_decoder(self.encoder.forward_visible(clip, visible).tokens)
        tokens = tokens + self.decoder_pos_embed[self._position_rows(visible)]
        hidden = self.mask_token + self.decoder_pos_embed[masked]
        return self.decoder(tokens, hidden.to(tokens.dtype))

    def targets(self, clip: Tensor, masked: Tensor) -> Tensor:
        """Computes the targets (B, M, P) of the tokens at `masked`, in float32 or better under autocast."""
        with torch.autocast(clip.device.type, enabled=False):
            return reconstruction_targets(self.to_pixels(clip), masked, **self._target_settings)

    def forward_loss(self, pred: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Computes the loss, its appearance part and its motion part, in the precision of the target."""
        with torch.autocast(pred.device.type, enabled=False):
            error = (pred.to(target.dtype) - target).square()
            appearance, motion = split_target(error, self.encoder.patch_size, self.encoder.in_chans)
            appearance, motion = appearance.mean(), motion.mean()
            loss = self.appearance_weight * appearance + (1 - self.appearance_weight) * motion
        return loss, appearance, motion

    @torch.no_grad()
    def reconstruct(self, clip: Tensor, mask: Tensor) -> Reconstruction:
        """Predicts masked tubelets and draws the result as pixels, with visible tubelets unchanged.

        Args:
            clip: float (B, 3, T, H, W), ImageNet-normalised.
            mask: bool (B, N), True = masked.
        """
        visible, masked = self.split_mask(mask, device=clip.device)
        pred = self.predict(clip, visible, masked)
        pixels = self.to_pixels(clip)
        predicted = targets_to_pixels(pred.to(pixels.dtype), pixels, masked, **self._target_settings)
        return draw_reconstruction(
            pixels, predicted, masked, self.encoder.patch_size, self.encoder.tubelet_size
        )

    def to_pixels(self, clip: Tensor) -> Tensor:
        """Undoes the ImageNet normalisation: pixels in 0..1, float32 or better."""
        channels = clip.to(torch.promote_types(clip.dtype, torch.float32)).unbind(1)
        # Plain numbers, because a buffer would lose digits when the module is cast to half precision.
        pixels = [c * std + mean for c, mean, std in zip(channels, IMAGENET_MEAN, IMAGENET_STD, strict=True)]
        return torch.stack(pixels, dim=1)

    def no_weight_decay(self) -> set[str]:
        """Returns parameters without weight decay; upstream decays the region tokens by oversight."""
        return {"mask_token", *(f"encoder.{name}" for name in self.encoder.no_weight_decay())}

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recomputes encoder and decoder blocks in the backward pass."""
        self.encoder.set_grad_checkpointing(enable)
        self.decoder.grad_checkpointing = enable

    @property
    def _target_settings(self) -> TargetSettings:
        return {
            "patch_size": self.encoder.patch_size,
            "tubelet_size": self.encoder.tubelet_size,
            "target_std_floor": self.target_std_floor,
            "motion_group": self.motion_group,
        }

    def _position_rows(self, visible: Tensor) -> Tensor:
        """Returns the row of the position table for each visible token, int64 (B, V)."""
        if self.decoder_positions == "correct":
            return visible
        return visible.gather(1, self.encoder.region_major_places(visible))


def _check_encoder(encoder: VideoEncoder) -> None:
    if encoder.num_classes:
        raise UserError(
            "num_classes", f"{encoder.num_classes}: pre-training takes an encoder without classes"
        )
    if encoder.pooling.learned:
        raise UserError(
            "pool", f"{encoder.pool_mode!r} has weights that pre-training does not train: add it afterwards"
        )
    if encoder.norms_pooled:
        raise UserError(
            "fc_norm", "a classifier has replaced the encoder's norm; pre-train from another encoder"
        )
    if encoder.tubelet_size < 2 or encoder.in_chans != 3:
        raise UserError(
            "tubelet_size",
            f"{encoder.tubelet_size}, in_chans={encoder.in_chans}: motion targets need two frames per "
            "tubelet and three colours",
        )
    if isinstance(encoder, LGIFormer):
        encoder.check_read(frozenset((LOCAL,)))


def _check_loss(appearance_weight: float, target_std_floor: float) -> None:
    if not 0 <= appearance_weight <= 1:
        raise UserError("appearance_weight", f"{appearance_weight} (lambda) is not between 0 and 1")
    if target_std_floor < 0:
        raise UserError("target_std_floor", f"{target_std_floor} is negative")


def _check_decoder(attention: str, positions: Behaviour) -> None:
    if attention not in DECODERS:
        raise UserError("decoder_attention", f"{attention!r} is not one of {tuple(DECODERS)}")
    if mimics_upstream("decoder_positions", positions) and attention != "joint":
        raise UserError(
            "decoder_positions",
            f"'official' repeats upstream's decoder, which has joint attention: with "
            f"decoder_attention={attention!r} take 'correct'",
        )
