"""The curves of a run: a running mean that a step without a loss does not end."""

import math

import pytest

from maedfer.report.reconstruction_figures import smooth


def test_the_running_mean_leaves_out_what_is_no_number():
    values = [4.0, 2.0, math.nan, 6.0, math.inf, 1.0]
    expected = []
    for end in range(1, len(values) + 1):
        known = [value for value in values[max(0, end - 3) : end] if math.isfinite(value)]
        expected.append(sum(known) / len(known))
    assert smooth(values, window=3).tolist() == pytest.approx(expected)
    assert smooth([math.nan, 3.0], window=1).isnan().tolist() == [True, False]
