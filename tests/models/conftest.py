"""A tiny masked autoencoder, clips for it, and the oracle numbers of upstream."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from maedfer.constants import IMAGENET_MEAN, IMAGENET_STD
from maedfer.models import MaskedAutoencoder, build_encoder

# 8 frames of 32 px in tubelets of 2 x 8 x 8: a grid of (4, 4, 4).
TINY = {"img_size": 32, "num_frames": 8, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2}


def normalised(clip_u8: np.ndarray) -> torch.Tensor:
    """Clips as the oracle's input convention has them, all in float32."""
    mean, std = (np.array(x, np.float32)[:, None, None, None] for x in (IMAGENET_MEAN, IMAGENET_STD))
    return torch.from_numpy((clip_u8.astype(np.float32) / 255 - mean) / std)


def randomised(model: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Give every parameter a random value, so that no bias or norm can be left out unnoticed."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator) * 0.2
            parameter.copy_(noise + 1 if "norm" in name and name.endswith("weight") else noise)
    return model


@pytest.fixture
def build_tiny():
    """Build a tiny encoder with random weights; keyword arguments override its shape."""

    def build(architecture: str = "lgi_former_tiny_patch8_64", **model_args):
        args = TINY | ({"region_size": (2, 2, 4)} if "lgi" in architecture else {}) | model_args
        return randomised(build_encoder(architecture, args)).eval()

    return build


@pytest.fixture
def build_tiny_mae(build_tiny):
    """Build a tiny masked autoencoder with random weights; `mae_args` go to `MaskedAutoencoder`."""

    def build(mae_args=None, **model_args):
        decoder = {"decoder_dim": 16, "decoder_depth": 1, "decoder_num_heads": 2}
        return randomised(MaskedAutoencoder(build_tiny(**model_args), **decoder | (mae_args or {})), seed=1)

    return build


@pytest.fixture
def clip():
    """Two smooth, different clips of 8 frames of 32 px, normalised."""
    generator = torch.Generator().manual_seed(3)
    coarse = torch.rand(2, 3, 4, 6, 6, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size=(8, 32, 32), mode="trilinear")
    return normalised((smooth * 255).byte().numpy())


@dataclass(frozen=True)
class Oracle:
    """Numbers of the unmodified upstream modules, the state dict they belong to, and the clips."""

    numbers: dict[str, np.ndarray]
    weights: dict[str, torch.Tensor]
    clip: torch.Tensor

    def __getitem__(self, name: str) -> torch.Tensor:
        """One array by its name in the oracle's README."""
        return torch.as_tensor(self.numbers[name])


def read_oracle(path: Path) -> Oracle:
    """Read one of the two files."""
    numbers = dict(np.load(path))
    weights = {key[3:]: torch.from_numpy(value) for key, value in numbers.items() if key.startswith("sd/")}
    return Oracle(numbers, weights, normalised(numbers["clip_u8"]))


@pytest.fixture(scope="session")
def pretrain_oracle(shared):
    """The upstream autoencoder."""
    return read_oracle(shared / "oracle" / "pretrain_r2_5_10.npz")


@pytest.fixture(scope="session")
def finetune_oracle(shared):
    """The upstream classifier."""
    return read_oracle(shared / "oracle" / "finetune_r2_5_10.npz")
