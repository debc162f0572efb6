"""MAE-DFER's masked autoencoder: encode the visible tubelets, predict appearance and motion of the others.

Paper section 3 (arXiv 2307.02227): the loss is `lambda * MSE(appearance) + (1 - lambda) * MSE(motion)` over
masked tubelets, lambda = 0.5, which equals upstream's single mean squared error over both targets.

Upstream gives the visible tokens permuted position codes in the decoder: they leave its encoder region after
region but receive codes in raster order (40 of 80 wrong as published). `decoder_positions="correct"` pairs
them rightly; `"official"` repeats the permutation, so that released weights reconstruct as they were trained.

Two departures make training cheaper, both off by default. The decoder may predict only some of the masked
tokens (`forward(predicted=...)`, after VideoMAE V2, arXiv 2303.16727), and its mask tokens may attend to
visible ones only (`decoder_attention="cross"`, see `cross_decoder`).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from maedfer.constants import IMAGENET_MEAN, IMAGENET_STD
from maedfer.models.cross_decoder import CrossDecoder
from maedfer.models.decoder import JointDecoder
from maedfer.models.encoder import VideoEncoder
from maedfer.models.lgi_former import LGIFormer
from maedfer.models.masking import mask_indices
from maedfer.models.motion_groups import check_motion_group
from maedfer.models.pictures import Reconstruction, draw_reconstruction
from maedfer.models.pooling import ATTENTIVE
from maedfer.models.positions import position_table
from maedfer.models.targets import appearance_size, reconstruction_targets, split_target, targets_to_pixels

DECODER_POSITIONS = ("correct", "official")
DECODERS = {"joint": JointDecoder, "cross": CrossDecoder}


class MAEOutput(NamedTuple):
    """What one pass of the autoencoder gives.

    Attributes:
        pred: predictions (B, M, P) of the masked tubelets, or of those asked for, in raster order;
            appearance first, then motion.
        loss: weighted sum of the two, the number to minimise.
        loss_appearance: mean squared error of the appearance half.
        loss_motion: mean squared error of the motion half.
        target: what `pred` should be, (B, M, P), at least float32.
    """

    pred: Tensor
    loss: Tensor
    loss_appearance: Tensor
    loss_motion: Tensor
    target: Tensor


class MaskedAutoencoder(nn.Module):
    """An encoder with a decoder on top, for pre-training.

    Args:
        encoder: `LGIFormer` or `JointViT`, without classes.
        decoder_dim: width of the decoder.
        decoder_depth: blocks of the decoder.
        decoder_num_heads: attention heads of the decoder.
        appearance_weight: the paper's lambda; motion weighs 1 - lambda.
        motion_group: see `targets`; None, the frames of a tubelet, is upstream for tubelets of 2.
        target_std_floor: see `targets`; 0 is upstream.
        decoder_positions: `correct`, or `official` for upstream's permutation.
        decoder_mlp_ratio: hidden width of the decoder's MLPs over its width.
        zero_init_heads: see `decoder`; off is upstream.
        decoder_attention: `joint`, or `cross` for mask tokens that attend to visible ones only.

    Raises:
        ValueError: a classifier as encoder, a tubelet without a second frame, a number out of range, or
            upstream's positions in a decoder that is not upstream's.
    """

    def __init__(
        self,
        encoder: VideoEncoder,
        decoder_dim: int = 384,
        decoder_depth: int = 4,
        decoder_num_heads: int = 6,
        appearance_weight: float = 0.5,
        target_std_floor: float = 0.0,
        decoder_positions: str = "correct",
        decoder_mlp_ratio: float = 4.0,
        zero_init_heads: bool = False,
        decoder_attention: str = "joint",
        motion_group: int | None = None,
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
            decoder_dim,
            decoder_depth,
            decoder_num_heads,
            decoder_mlp_ratio,
            appearance,
            motion,
            zero_init_heads,
        )
        table = position_table(encoder.positions, encoder.grid, decoder_dim)
        self.register_buffer("decoder_pos_embed", table, persistent=False)

    def forward(
        self, clip: Tensor, mask: Tensor, num_masked: int | None = None, predicted: Tensor | None = None
    ) -> MAEOutput:
        """Predict masked tubelets and compare with their targets.

        Args:
            clip: float (B, 3, T, H, W), ImageNet-normalised.
            mask: bool (B, N), True = masked, raster order, equally many in every region of every clip.
            num_masked: masked tokens per clip. Given, the mask's values are not read on the host (no wait for
                a GPU, no break in a compiled graph) and a mask on a GPU is not checked.
            predicted: int64 (B, P), places 0..M-1 among the masked tokens of each clip, ascending: the only
                ones that the decoder and the loss see. All of them when None.

        Raises:
            ValueError: a clip of another size, or a mask whose counts differ.
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
        """Raster indices of the visible (B, V) and masked (B, M) tokens, on `device`; checks the mask.

        Raises:
            ValueError: counts differ between regions or clips, or from `num_masked`.
        """
        readable = num_masked is None or mask.device.type == "cpu"
        if readable and not torch.compiler.is_compiling():
            counted = self.encoder.layout.count_masked(mask)
            if num_masked not in (None, counted):
                raise ValueError(
                    f"num_masked={num_masked}, but the mask hides {counted} tokens of every clip"
                )
            num_masked = counted
        visible, masked = mask_indices(mask, num_masked)
        return visible.to(device), masked.to(device)

    def predict(self, clip: Tensor, visible: Tensor, masked: Tensor) -> Tensor:
        """Predictions (B, M, P) for the tokens at `masked` from those at `visible` (raster indices)."""
        tokens = self.encoder_to_decoder(self.encoder.forward_visible(clip, visible).tokens)
        tokens = tokens + self.decoder_pos_embed[self._position_rows(visible)]
        hidden = self.mask_token + self.decoder_pos_embed[masked]
        return self.decoder(tokens, hidden.to(tokens.dtype))

    def targets(self, clip: Tensor, masked: Tensor) -> Tensor:
        """Targets (B, M, P) of the tokens at `masked`, in float32 or better even under autocast."""
        with torch.autocast(clip.device.type, enabled=False):
            return reconstruction_targets(self.to_pixels(clip), masked, *self._target_settings)

    def forward_loss(self, pred: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The loss, and its appearance and motion parts, in the precision of the target."""
        with torch.autocast(pred.device.type, enabled=False):
            error = (pred.to(target.dtype) - target).square()
            appearance, motion = split_target(error, self.encoder.patch_size, self.encoder.in_chans)
            appearance, motion = appearance.mean(), motion.mean()
            loss = self.appearance_weight * appearance + (1 - self.appearance_weight) * motion
        return loss, appearance, motion

    @torch.no_grad()
    def reconstruct(self, clip: Tensor, mask: Tensor) -> Reconstruction:
        """Predict masked tubelets and draw the result as pixels, visible tubelets as they were.

        Args:
            clip: float (B, 3, T, H, W), ImageNet-normalised.
            mask: bool (B, N), True = masked.
        """
        visible, masked = self.split_mask(mask, device=clip.device)
        pred = self.predict(clip, visible, masked)
        pixels = self.to_pixels(clip)
        guessed = targets_to_pixels(pred.to(pixels.dtype), pixels, masked, *self._target_settings)
        return draw_reconstruction(
            pixels, guessed, masked, self.encoder.patch_size, self.encoder.tubelet_size
        )

    def to_pixels(self, clip: Tensor) -> Tensor:
        """Undo the ImageNet normalisation: pixels in 0..1, float32 or better."""
        channels = clip.to(torch.promote_types(clip.dtype, torch.float32)).unbind(1)
        # Plain numbers, because a buffer would lose digits when the module is cast to half precision.
        pixels = [c * std + mean for c, mean, std in zip(channels, IMAGENET_MEAN, IMAGENET_STD, strict=True)]
        return torch.stack(pixels, dim=1)

    def no_weight_decay(self) -> set[str]:
        """Parameters that weight decay must leave alone; upstream decays region tokens, by an oversight."""
        return {"mask_token", *(f"encoder.{name}" for name in self.encoder.no_weight_decay())}

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute encoder and decoder blocks in the backward pass."""
        self.encoder.set_grad_checkpointing(enable)
        self.decoder.grad_checkpointing = enable

    @property
    def _target_settings(self) -> tuple[int, int, float, int | None]:
        """What targets are made with, and undone with."""
        encoder = self.encoder
        return encoder.patch_size, encoder.tubelet_size, self.target_std_floor, self.motion_group

    def _position_rows(self, visible: Tensor) -> Tensor:
        """Which row of the position table each visible token gets."""
        if self.decoder_positions == "correct":
            return visible
        return visible.gather(1, self.encoder.region_major_places(visible))


def _check_encoder(encoder: VideoEncoder) -> None:
    if encoder.num_classes:
        raise ValueError(
            f"the encoder has num_classes={encoder.num_classes}; pre-training takes one without classes"
        )
    if encoder.pool_mode == ATTENTIVE:
        raise ValueError("pool='attentive' has a query that pre-training does not train: add it afterwards")
    if not isinstance(encoder.norm, nn.LayerNorm):
        raise ValueError(
            "the encoder has lost its norm to a classifier; pre-train from an encoder that has one"
        )
    if encoder.tubelet_size < 2 or encoder.in_chans != 3:
        raise ValueError(
            f"tubelet_size={encoder.tubelet_size}, in_chans={encoder.in_chans}: motion targets need "
            "two frames per tubelet, pixels three colours"
        )
    if isinstance(encoder, LGIFormer):
        encoder.check_read("token")


def _check_loss(appearance_weight: float, target_std_floor: float) -> None:
    if not 0 <= appearance_weight <= 1:
        raise ValueError(f"appearance_weight={appearance_weight} (lambda) is not between 0 and 1")
    if target_std_floor < 0:
        raise ValueError(f"target_std_floor={target_std_floor} is negative")


def _check_decoder(decoder_attention: str, decoder_positions: str) -> None:
    if decoder_attention not in DECODERS:
        raise ValueError(f"decoder_attention={decoder_attention!r} is not one of {tuple(DECODERS)}")
    if decoder_positions not in DECODER_POSITIONS:
        raise ValueError(f"decoder_positions={decoder_positions!r} is not one of {DECODER_POSITIONS}")
    if decoder_positions == "official" and decoder_attention != "joint":
        raise ValueError(
            f"decoder_positions='official' repeats upstream's decoder, which has joint attention: with "
            f"decoder_attention={decoder_attention!r} take decoder_positions='correct'"
        )
