"""Writes the card (`README.md`) of a model folder: what the weights are, their training, and their limits."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from maedfer.models.config import ModelConfig

TEMPLATE = """---
library_name: maedfer
tags: [video, facial-expression-recognition, masked-autoencoder]
---

# {title}

{kind} `{architecture}`, saved by maedfer. {synthetic}

```python
import maedfer

model = maedfer.{loader}("path/to/this/folder")
```

## Input

A clip of {frames} frames, {interval} seconds apart, of one face cropped as `geometry` says; RGB float32
`(B, 3, T, H, W)`, pixels in 0..1 minus mean {mean}, divided by std {std}. All settings:

```json
{input}
```

{outputs}## Intended use

Research on facial expressions in video, and as a starting point for fine-tuning on such data. The model
sees the movement and look of a face. It does not know what a person feels: expressions and feelings differ
between people, situations and cultures.

## Limits

* Inferring people's emotions is regulated in many places; the EU AI Act forbids it at work and in
  education, with few exceptions, and treats other uses as high-risk. Ask for consent, and do not let a
  decision about a person rest on this model.
* Accuracy differs between groups of people, cameras and lighting as the training data does. Measure it on
  your own data before relying on it.
* Faces must be cropped as in training; other crops, or frame rates, cost accuracy without any warning.

## Training

```json
{provenance}
```

Model arguments:

```json
{model_args}
```
"""


def model_card(config: ModelConfig) -> str:
    """Returns the card, in Markdown, of the weights that a configuration describes."""
    classifier = bool(config.model_args.get("num_classes"))
    names = config.output.names if config.output else ()
    return TEMPLATE.format(
        title=f"{config.architecture} ({'classifier' if classifier else 'encoder'})",
        kind="Classifier" if classifier else "Encoder",
        architecture=config.architecture,
        synthetic=(
            "**Trained on synthetic faces: it shows that the pipeline works and knows no real people.**"
            if config.provenance.get("synthetic")
            else "What it was trained on is under *Training*."
        ),
        loader="load_classifier" if classifier else "load_encoder",
        frames=config.input.num_frames,
        interval=config.input.frame_interval_s,
        mean=list(config.input.mean),
        std=list(config.input.std),
        outputs=f"## Outputs\n\n{', '.join(names)}\n\n" if names else "",
        provenance=json.dumps(dict(config.provenance), indent=2),
        model_args=json.dumps(dict(config.model_args), indent=2),
        input=json.dumps(asdict(config.input), indent=2),
    )
