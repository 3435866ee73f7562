"""Transcripts on disk."""

import pytest

from espnet_sld.errors import InputError
from espnet_sld.scoring.trn import read_pair, read_trn, write_trn


def test_trn_round_trip_keeps_unicode_parentheses_and_empty_words(tmp_path):
    texts = {"b-2": "水 is (not) wet", "a-1": "", "c": "x (y)", "d(1)": "x(y) (z", "e(2)": "", "f(": "(a) b"}
    write_trn(tmp_path / "hyp.trn", texts)
    assert read_trn(tmp_path / "hyp.trn") == texts
    assert list(read_trn(tmp_path / "hyp.trn")) == ["a-1", "b-2", "c", "d(1)", "e(2)", "f("]
    (tmp_path / "other.trn").write_text("one two(u1)\n  (u2) \n")  # as other programs may write it
    assert read_trn(tmp_path / "other.trn") == {"u1": "one two", "u2": ""}


def test_trn_names_the_speaker_first(tmp_path):
    write_trn(tmp_path / "ref.trn", {"u1": "one two", "u2": ""}, {"u1": "anna"})
    assert (tmp_path / "ref.trn").read_text() == "one two (anna-u1)\n(u2)\n"


def test_trn_line_without_id_is_named(tmp_path):
    (tmp_path / "x.trn").write_text("one (u1)\ntwo\n")
    with pytest.raises(InputError, match=r"x\.trn:2: no '\(id\)'"):
        read_trn(tmp_path / "x.trn")


def test_trn_doubled_id_is_named(tmp_path):
    (tmp_path / "x.trn").write_text("one (u1)\ntwo (u1)\n")
    with pytest.raises(InputError, match="'u1' occurs twice"):
        read_trn(tmp_path / "x.trn")


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_missing_hypothesis_is_an_error_that_names_it(tmp_path):
    hyp, ref = write(tmp_path / "hyp", "u1 a\n"), write(tmp_path / "ref", "u1 a\nu2 b\n")
    with pytest.raises(InputError, match=r"hyp: no hypothesis for utterance u2"):
        read_pair(hyp, ref)


def test_extra_hypotheses_are_an_error_that_names_them(tmp_path):
    hyp = write(tmp_path / "hyp", "".join(f"u{n} a\n" for n in range(1, 9)))
    with pytest.raises(InputError, match="7 utterances: u2, u3, u4, u5, u6 and 2 more"):
        read_pair(hyp, write(tmp_path / "ref", "u1 a\n"))


def test_pairs_are_matched_by_id_whatever_the_order(tmp_path):
    hyp, ref = write(tmp_path / "hyp", "u2 b\nu1\n"), write(tmp_path / "ref", "u1 a\nu2 b\n")
    assert read_pair(hyp, ref) == (["u1", "u2"], ["a", "b"], ["", "b"])


@pytest.mark.parametrize("content", ["", None])
def test_no_references_are_an_error(tmp_path, content):
    hyp = write(tmp_path / "hyp", "u1 a\n")
    if content is not None:
        write(tmp_path / "ref", content)
    with pytest.raises(InputError, match="ref: no"):
        read_pair(hyp, tmp_path / "ref")
