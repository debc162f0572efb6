"""The joint-attention baseline against the plain loop."""

import pytest
import torch
from helpers import reference

from maedfer.models.official import to_official


def test_features_equal_the_plain_loop_and_there_are_no_representative_tokens(build_tiny, clip):
    model = build_tiny("vit_joint_tiny_patch8_64").double()
    p = to_official({name: value.detach() for name, value in model.named_parameters()})
    features = model.forward_features(clip.double())
    assert features.region_tokens.shape == (2, 0, 24)
    for i in range(2):
        x = torch.stack([reference.embed(clip[i].double(), n, p, (4, 4, 4), 8, "") for n in range(64)])
        for block in range(2):
            x = reference.joint_block(x, p, f"blocks.{block}", heads=2)
        expected = reference.layer_norm(x, p, "norm")
        torch.testing.assert_close(features.tokens[i], expected, rtol=1e-9, atol=1e-9)


def test_region_pooling_is_refused(build_tiny):
    with pytest.raises(ValueError, match=r"^pool: .*take 'token'"):
        build_tiny("vit_joint_tiny_patch8_64", pool="region")


def test_the_whole_grid_is_its_region(build_tiny):
    model = build_tiny("vit_joint_tiny_patch8_64")
    assert model.region_size == model.grid == (4, 4, 4) and model.num_regions == 1
