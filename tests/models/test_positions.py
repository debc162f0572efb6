"""The position tables: upstream's rows, and what the 3-D one promises."""

import json

import pytest
import torch
from helpers.reference import position

from maedfer.models.positions import position_table, sincos_1d, sincos_3d


def test_the_table_is_the_formula():
    expected = torch.stack([position(place, 10) for place in range(7)])
    assert torch.equal(sincos_1d(7, 10).double(), expected)


@pytest.mark.real
def test_the_table_is_upstreams(shared):
    oracle = json.loads((shared / "oracle" / "utils_oracle.json").read_text())["sincos_800x64"]
    table = sincos_1d(800, 64)
    for place, values in oracle.items():
        row = table[int(place)]
        torch.testing.assert_close(torch.cat((row[:8], row[-2:])), torch.tensor(values), rtol=0, atol=1e-7)


def test_three_axes_are_coded_apart():
    table = sincos_3d((2, 3, 4), 20).view(2, 3, 4, 20)
    time, row, column = table.split((8, 6, 6), dim=-1)
    assert torch.equal(time[:, 0, 0], time[:, 2, 3]) and torch.equal(time[:, 0, 0], sincos_1d(2, 8))
    assert torch.equal(row[0, :, 0], row[1, :, 3]) and torch.equal(row[0, :, 0], sincos_1d(3, 6))
    assert torch.equal(column[0, 0], column[1, 2]) and torch.equal(column[0, 0], sincos_1d(4, 6))
    assert len(table.flatten(0, 2).unique(dim=0)) == 24


def test_unknown_names_and_odd_widths_are_refused():
    with pytest.raises(ValueError, match=r"^positions: '2d'"):
        position_table("2d", (1, 2, 3), 12)
    with pytest.raises(ValueError, match=r"^positions: .* embed_dim is 9"):
        position_table("3d", (1, 2, 3), 9)
