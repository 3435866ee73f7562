"""Unit text: every id has its own character, both ways; de-duplication loses nothing but durations."""

import numpy as np
import pytest

from espnet_sld.errors import InputError
from espnet_sld.units.unit_text import (
    MAX_UNITS,
    deduplicate,
    ids_to_text,
    text_to_ids,
    write_character_list,
)


def test_all_20902_ids_come_back():
    text = ids_to_text(range(MAX_UNITS))
    assert len(text) == len(set(text)) == MAX_UNITS
    assert (text[0], text[-1]) == ("\u4e00", "\u9fa5")
    np.testing.assert_array_equal(text_to_ids(text), np.arange(MAX_UNITS))


def test_no_unit_is_a_space_or_line_break_to_python():
    text = ids_to_text(range(MAX_UNITS))
    assert text.split() == [text] and text.splitlines() == [text]


@pytest.mark.parametrize("bad", [[-1], [MAX_UNITS], [0, 5, 30000]])
def test_ids_without_a_character_are_refused(bad):
    with pytest.raises(InputError, match="has no character"):
        ids_to_text(bad)


@pytest.mark.parametrize("text", ["a", "\u4e00 \u4e01", "\u4e32", "\u3400", "\U0001f600"])
def test_characters_outside_the_clusters_are_refused(text):
    with pytest.raises(InputError, match="is no unit of 50 clusters"):
        text_to_ids(text, 50)


@pytest.mark.parametrize("ids", [[], [3], [3, 3], [3, 3, 5, 3], [1, 2, 2, 2, 1, 1]])
def test_repeating_by_durations_undoes_deduplication(ids):
    joined, durations = deduplicate(ids)
    np.testing.assert_array_equal(np.repeat(joined, durations), np.array(ids, dtype=np.int64))
    assert (np.diff(joined) != 0).all() and (durations > 0).all()


def test_empty_text_and_ids():
    assert ids_to_text([]) == "" and text_to_ids("").shape == (0,)


def test_character_list_has_all_lines(tmp_path):
    write_character_list(tmp_path / "list")
    rows = [line.split(" ") for line in (tmp_path / "list").read_text(encoding="utf-8").splitlines()]
    assert len(rows) == MAX_UNITS
    assert all(ids_to_text([int(number)]) == character for number, character in rows)
