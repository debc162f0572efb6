"""Models of MAE-DFER; importing this package registers them with timm."""

from maedfer.models.features import Features
from maedfer.models.lgi_former import LGIFormer
from maedfer.models.mae import MAEOutput, MaskedAutoencoder
from maedfer.models.masking import draw_region_tube, mask_indices, region_tube_mask, tube_mask
from maedfer.models.pictures import Reconstruction
from maedfer.models.regions import RegionLayout
from maedfer.models.registry import architectures, build_encoder, build_mae
from maedfer.models.vit import JointViT

__all__ = [
    "Features",
    "JointViT",
    "LGIFormer",
    "MAEOutput",
    "MaskedAutoencoder",
    "Reconstruction",
    "RegionLayout",
    "architectures",
    "build_encoder",
    "build_mae",
    "draw_region_tube",
    "mask_indices",
    "region_tube_mask",
    "tube_mask",
]
