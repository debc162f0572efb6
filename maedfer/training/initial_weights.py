"""`--init-from`: start a new run from weights, wherever they come from; the other word, `--resume`, is in
run_folder.
"""

from pathlib import Path

import torch

from maedfer.models import LGIFormer, MaskedAutoencoder
from maedfer.models.official import from_official
from maedfer.models.strict_loading import load_strictly
from maedfer.models.weights import load_encoder
from maedfer.training.run_folder import RunFolder


def load_initial_weights(mae: MaskedAutoencoder, source: str) -> None:
    """Fill a masked autoencoder from a run, a checkpoint, an exported encoder, or an official `.pth`.

    A run or a checkpoint fills everything; an exported encoder (a path, or a name `load_encoder` knows) fills
    the encoder and leaves the decoder fresh.

    Raises:
        FileNotFoundError: there is nothing at `source`.
        ValueError: weights of another shape; both shapes are named.
    """
    path = Path(source)
    if path.is_dir() and RunFolder(path).last.is_file():
        path = RunFolder(path).last
    if path.suffix == ".ckpt":
        saved = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
        state = {key.removeprefix("mae."): value for key, value in saved.items()}
        load_strictly(mae, state, f"--init-from {source}")
    elif path.suffix in (".pth", ".pt"):
        load_strictly(mae, official_state(mae, path), f"--init-from {source}")
    else:
        load_strictly(mae.encoder, load_encoder(source).state_dict(), f"--init-from {source}")


def official_state(mae: MaskedAutoencoder, path: Path) -> dict[str, torch.Tensor]:
    """The state of an upstream pre-training checkpoint under our names."""
    encoder = mae.encoder
    region = encoder.region_size if isinstance(encoder, LGIFormer) else (2, 5, 10)
    loaded = from_official(path, region_size=region, img_size=encoder.img_size, num_frames=encoder.num_frames)
    if not isinstance(loaded, MaskedAutoencoder):
        raise ValueError(
            f"--init-from {path} is a fine-tuned classifier; pre-training starts from a pre-trained one"
        )
    return loaded.state_dict()
