"""The model card beside saved weights: what they are, what they were trained on, what not to do with them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

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

A clip of 16 frames (unless `model_args` says otherwise), {interval} seconds apart, of one face cropped as
`geometry` says; RGB float32 `(B, 3, T, H, W)`, pixels in 0..1 minus mean {mean}, divided by std {std}.

{labels}## Intended use

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

Model arguments and face geometry:

```json
{settings}
```
"""


def model_card(config: Mapping[str, Any]) -> str:
    """The card, in Markdown, of weights with this `config.json`."""
    labels, provenance = config["labels"], config["provenance"]
    classifier = bool(config["model_args"].get("num_classes"))
    return TEMPLATE.format(
        title=f"{config['architecture']} ({'classifier' if classifier else 'encoder'})",
        kind="Classifier" if classifier else "Encoder",
        architecture=config["architecture"],
        synthetic=(
            "**Trained on synthetic faces: it shows that the pipeline works and knows no real people.**"
            if provenance.get("synthetic")
            else "What it was trained on is under *Training*."
        ),
        loader="load_classifier" if classifier else "load_encoder",
        interval=config["frame_interval_s"],
        mean=config["mean"],
        std=config["std"],
        labels=f"## Classes\n\n{', '.join(labels)}\n\n" if labels else "",
        provenance=json.dumps(provenance, indent=2),
        settings=json.dumps({key: config[key] for key in ("model_args", "geometry")}, indent=2),
    )
