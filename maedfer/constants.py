"""Numbers that every room shares: the clip (paper section 4.1; upstream data loaders) and its normalisation.

This module imports nothing, so that any room may read it.
"""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

NUM_FRAMES = 16
"""Frames of a clip."""

FRAME_INTERVAL_S = 0.16
"""Seconds between the frames of a clip: stride 4 at 25 frames per second, at any source rate."""


CLIP_SPAN_S = (NUM_FRAMES - 1) * FRAME_INTERVAL_S
"""Seconds from the first to the last frame of a clip: 2.4."""

STORED_FPS = 12.5
"""Stored frames per second: every second one is a frame of a clip, so that clips can start in between."""
