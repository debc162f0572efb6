"""Region-major order against a loop over boxes, for every region that divides a grid."""

import pytest
import torch
from helpers.reference import regions_of
from hypothesis import given, settings
from hypothesis import strategies as st

from maedfer.models import RegionLayout
from maedfer.models.regions import as_triple

SIZES = st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4))


@settings(max_examples=50, deadline=None)
@given(SIZES, SIZES)
def test_orders_are_those_of_a_loop_over_boxes(region, repeats):
    grid = tuple(a * b for a, b in zip(region, repeats, strict=True))
    layout = RegionLayout(grid, region)
    groups = regions_of(range(layout.num_tokens), grid, region)
    assert layout.region_order.view(layout.num_regions, layout.tokens_per_region).tolist() == groups
    assert layout.region_order[layout.region_rank].tolist() == list(range(layout.num_tokens))
    for index, group in enumerate(groups):
        assert (layout.region_of_token[group] == index).all()


def test_the_published_layout_is_four_steps_of_upper_and_lower_face():
    layout = RegionLayout((8, 10, 10), (2, 5, 10))
    assert layout.region_of_token.view(8, 10, 10)[::2, ::5, 9].tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert (layout.num_regions, layout.tokens_per_region, layout.num_tokens) == (8, 100, 800)


def test_lists_from_json_become_tuples_and_layouts_are_values():
    assert as_triple([2, 5, 10], "region_size") == (2, 5, 10)
    assert RegionLayout((8, 10, 10), (2, 5, 10)) == RegionLayout((8, 10, 10), (2, 5, 10))


@pytest.mark.parametrize("region", [(3, 5, 10), (2, 4, 10), (2, 5, 3), (16, 5, 10)])
def test_a_region_that_does_not_divide_is_refused_with_one_that_does(region):
    with pytest.raises(ValueError, match=rf"^region_size: \({region[0]}, .*grid \(8, 10, 10\)") as error:
        RegionLayout((8, 10, 10), region)
    suggestion = tuple(map(int, str(error.value).split("for example (")[1].split(")")[0].split(",")))
    assert RegionLayout((8, 10, 10), suggestion)


def test_uneven_visible_tokens_are_refused():
    layout = RegionLayout((2, 2, 2), (1, 2, 2))
    layout.check_visible(torch.tensor([[0, 1, 6, 7]]))
    with pytest.raises(ValueError, match="between 1 and 3"):
        layout.check_visible(torch.tensor([[0, 1, 2, 7]]))
    with pytest.raises(ValueError, match="not a multiple of 2"):
        layout.check_visible(torch.tensor([[0, 1, 7]]))
