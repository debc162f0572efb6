"""`maedfer convert`: turns an upstream `.pth` into a model folder, without pickle and optimizer state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from maedfer.models.config import ModelConfig
from maedfer.models.mae import MaskedAutoencoder
from maedfer.models.official import describe_encoder, encoder_part, from_official, read_official
from maedfer.models.weights import save_encoder


def convert(file: str | Path, out: str | Path, **options: Any) -> Path:
    """Writes `out/encoder` from a pre-training checkpoint, `out/classifier` from a fine-tuned one.

    Args:
        file: The upstream checkpoint.
        out: A folder, made when missing.
        options: arguments of `from_official` that its tensors do not imply.

    Returns:
        The folder written.

    Raises:
        FileNotFoundError: no such file.
        UserError: not an upstream checkpoint, or its shapes do not fit the options.
    """
    _, state = read_official(file)
    model = from_official(state, **options)
    encoder = model.encoder if isinstance(model, MaskedAutoencoder) else model
    architecture, model_args = describe_encoder(encoder_part(state), encoder.num_heads)
    model_args |= {"img_size": encoder.img_size, "num_frames": encoder.num_frames}
    if architecture.startswith("lgi_former"):
        model_args["region_size"] = list(encoder.region_size)
    provenance = {"converted_from": Path(file).name, "trained_by": "upstream MAE-DFER or VideoMAE code"}
    return save_encoder(
        encoder,
        Path(out) / ("classifier" if encoder.num_classes else "encoder"),
        ModelConfig(architecture, model_args, provenance=provenance),
    )
