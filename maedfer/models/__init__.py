"""Models of MAE-DFER; importing this package registers them with timm.

The paper's words, and the modules that implement them:

* tubelet (cube) and its embedding: `tubelets`; position codes: `positions`
* region, and the two orders of tokens: `regions`; representative tokens: `lgi_former.LGIFormer.region_tokens`
* local intra-region, global inter-region, local-global attention: `lgi_block.LGIBlock`, on `attention`
* the joint-attention baseline (VideoMAE): `vit`; what both encoders share: `encoder`, `features`, `pooling`
* linear and attentive probes: `probe`
* region tube mask: `masking`; appearance and motion targets: `targets`, over other frames: `motion_groups`
* the masked autoencoder, lambda and the loss: `mae`; its decoder: `decoder`; its pictures: `pictures`
* models by name, and their arguments: `registry`, `arguments`; model folders: `weights`, `config`, `card`
* upstream checkpoints: `official` (and `to_official` for the way back), `official_stages`, `convert`
"""

from maedfer.models.features import Features
from maedfer.models.lgi_former import LGIFormer
from maedfer.models.mae import MAEOutput, MaskedAutoencoder
from maedfer.models.masking import MaskSpec, mask_indices, region_tube_mask, tube_mask
from maedfer.models.official import to_official
from maedfer.models.pictures import Reconstruction
from maedfer.models.regions import RegionLayout
from maedfer.models.registry import architectures, build_encoder, build_mae
from maedfer.models.vit import JointViT

__all__ = [
    "Features",
    "JointViT",
    "LGIFormer",
    "MAEOutput",
    "MaskSpec",
    "MaskedAutoencoder",
    "Reconstruction",
    "RegionLayout",
    "architectures",
    "build_encoder",
    "build_mae",
    "mask_indices",
    "region_tube_mask",
    "to_official",
    "tube_mask",
]
