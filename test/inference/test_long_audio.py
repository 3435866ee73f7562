"""How long a piece of a long recording may be."""

import math

import pytest

from espnet_sld.errors import InputError
from espnet_sld.inference.long_audio import longest_piece


def test_what_was_asked_for_counts_and_else_the_usual():
    assert longest_piece(None, 30.0) == 30.0 and longest_piece(None, math.inf) == math.inf
    assert longest_piece(0.1, 30.0) == 0.1 and longest_piece(45.0, 30.0) == 45.0


@pytest.mark.parametrize("asked", [0.0, 0.05, -3.0, math.nan])
def test_too_short_a_piece_is_refused(asked):
    with pytest.raises(InputError, match=f"segments of {asked} s: must be at least 0.1 s"):
        longest_piece(asked, 30.0)
