"""The cross-attention decoder: each prediction stands alone; what only upstream's decoder has is refused."""

import pytest
import torch

from maedfer.models import build_mae, region_tube_mask
from maedfer.models.cross_decoder import CrossDecoder, attention_of_decoder
from maedfer.models.official import to_official

CROSS = {"decoder_attention": "cross"}


def decoder():
    torch.manual_seed(0)
    return CrossDecoder(
        dim=16, depth=3, num_heads=2, mlp_ratio=4.0, appearance_size=5, motion_size=7
    ).double()


def test_a_prediction_does_not_depend_on_which_others_are_made():
    visible, masked = torch.randn(2, 6, 16).double(), torch.randn(2, 9, 16).double()
    whole = decoder()(visible, masked)
    assert whole.shape == (2, 9, 5 + 7)
    for places in ([0], [8], [1, 4, 5], [5, 1]):
        torch.testing.assert_close(decoder()(visible, masked[:, places]), whole[:, places])
    other = masked.clone()
    other[:, 3, 0] += 1
    moved = (decoder()(visible, other) - whole).abs().amax(dim=(0, 2)) > 1e-6
    assert moved.tolist() == [place == 3 for place in range(9)]


def test_every_prediction_depends_on_every_visible_token_but_not_on_their_order():
    visible, masked = torch.randn(1, 6, 16).double(), torch.randn(1, 4, 16).double()
    whole = decoder()(visible, masked)
    torch.testing.assert_close(decoder()(visible.flip(1), masked), whole)
    for place in range(6):
        other = visible.clone()
        other[:, place, 0] += 1
        assert ((decoder()(other, masked) - whole).abs().amax(dim=2) > 1e-9).all()


def test_a_tubelet_gets_the_same_prediction_alone_and_among_all(build_tiny_mae, clip):
    mae = build_tiny_mae(CROSS)
    mask = region_tube_mask(2, (4, 4, 4), (2, 2, 4), 0.75, torch.Generator().manual_seed(0))
    whole = mae(clip, mask).pred
    for place in (0, 17, 47):
        alone = mae(clip, mask, predicted=torch.full((2, 1), place)).pred
        torch.testing.assert_close(alone[:, 0], whole[:, place], rtol=1e-4, atol=1e-5)


def test_the_default_is_the_published_decoder(build_tiny_mae):
    default, joint, cross = (build_tiny_mae(args) for args in ({}, {"decoder_attention": "joint"}, CROSS))
    assert default.decoder_attention == "joint"
    assert list(default.state_dict()) == list(joint.state_dict())
    assert attention_of_decoder(default.state_dict()) == "joint"
    assert attention_of_decoder(cross.state_dict()) == "cross"
    own = cross.state_dict().keys() - default.state_dict().keys()
    assert own == {
        *("decoder.context_norm.weight", "decoder.context_norm.bias"),
        *("decoder.blocks.0.attn.q.weight", "decoder.blocks.0.attn.kv.weight"),
    }


def test_what_makes_no_sense_is_refused(build_tiny_mae):
    with pytest.raises(ValueError, match=r"^decoder_attention: 'self' is not one of \('joint', 'cross'\)"):
        build_tiny_mae({"decoder_attention": "self"})
    with pytest.raises(ValueError, match=r"^decoder_positions: .*decoder_attention='cross' take 'correct'"):
        build_tiny_mae(CROSS | {"decoder_positions": "official"})
    with pytest.raises(ValueError, match=r"^decoder_num_heads: 5 does not divide the width 16"):
        build_tiny_mae(CROSS | {"decoder_num_heads": 5})
    with pytest.raises(ValueError, match=r"^decoder_attention: upstream has no 'cross'"):
        to_official(build_tiny_mae(CROSS).state_dict())


def test_it_takes_a_joint_encoder_and_heads_that_start_at_zero(build_tiny_mae, clip):
    mae = build_tiny_mae(CROSS, architecture="vit_joint_tiny_patch8_64")
    mask = region_tube_mask(2, mae.encoder.grid, mae.encoder.region_size, 0.9)
    assert mae(clip, mask).pred.shape == (2, 4 * 14, 384)
    pictures = mae.reconstruct(clip, mask)
    assert pictures.reconstruction.shape == clip.shape
    shape = {"img_size": 32, "num_frames": 8, "region_size": (2, 2, 4)}
    decoder = CROSS | {"decoder_dim": 24, "decoder_depth": 1, "zero_init_heads": True}
    zeroed = build_mae("lgi_former_tiny_patch8_64", shape, **decoder)
    assert (zeroed(clip, region_tube_mask(2, (4, 4, 4), (2, 2, 4), 0.75)).pred == 0).all()
