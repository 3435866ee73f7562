"""Captions of a set: classes named, the closest reference, and what result.json then holds."""

import json

import pytest

from espnet_sld.bin import score_caption
from espnet_sld.errors import InputError
from espnet_sld.scoring.captions import closest, count_classes, read_captions, score_captions
from espnet_sld.scoring.cider import cider
from espnet_sld.scoring.result import read_result

CAPTIONS = {
    "i1": ["the digit two", "a two written by hand"],
    "i2": ["the digit five", "a five written by hand"],
    "i3": ["the digit one", "a one written by hand"],
}
HYPOTHESES = {"i1": "the digit two", "i2": "a two written by hand", "i3": "the digit"}


@pytest.fixture
def files(tmp_path):
    (tmp_path / "captions.tsv").write_text(
        "".join(f"{key}\t" + "\t".join(texts) + "\n" for key, texts in CAPTIONS.items())
    )
    (tmp_path / "hyp").write_text("".join(f"{key} {text}\n" for key, text in HYPOTHESES.items()))
    (tmp_path / "labels").write_text("i1 two\ni2 five\ni3 one\n")
    return tmp_path


def test_only_the_right_class_alone_counts_as_right():
    captions = ["a two", "a two two", "two or five", "a five", "nothing", "twofold"]
    counts = count_classes(captions, ["two"] * 6, ["two", "five"])
    assert (counts.right, counts.wrong, counts.none) == (2, 2, 2)
    assert counts.accuracy == pytest.approx(100 * 2 / 6)


def test_the_closest_reference_has_the_fewest_word_errors():
    assert closest("a two written", CAPTIONS["i1"]) == "a two written by hand"
    assert closest("", ["one two", "three four"]) == "one two"


def test_result_json_has_cider_classes_and_error_rates(files):
    out = files / "caption_greedy" / "test"
    arguments = f"--hyp {files}/hyp --captions {files}/captions.tsv --labels {files}/labels --out_dir {out}"
    assert score_caption.main(arguments.split()) == 0
    stored = json.loads((out / "result.json").read_text())
    expected = cider(list(HYPOTHESES.values()), list(CAPTIONS.values()))
    assert stored["cider"] == pytest.approx(100 * sum(expected) / 3, abs=1e-4)
    assert (stored["class_right"], stored["class_wrong"], stored["class_none"]) == (1, 1, 1)
    assert stored["class_accuracy"] == pytest.approx(33.3333)
    # against "the digit two", "a five written by hand", "the digit one": one substitution, one deletion
    assert (stored["sub"], stored["ins"], stored["del"], stored["ref_words"]) == (1, 0, 1, 11)
    assert stored["decode_tag"] == "caption_greedy" and stored["references"] == 6
    assert read_result(out / "result.json").extra["cider"] == stored["cider"]


def test_files_of_different_sets_are_refused(files):
    (files / "hyp").write_text("i1 the digit two\n")
    with pytest.raises(InputError, match=r"hyp: lacks 2 images of .*captions.tsv \(i2, i3\)"):
        score_captions(files / "hyp", files / "captions.tsv", files / "out")


def test_a_broken_captions_file_is_named_with_its_line(tmp_path):
    path = tmp_path / "captions.tsv"
    path.write_text("i1\ta cat\ni1\ta dog\n")
    with pytest.raises(InputError, match=r"captions.tsv:2: 'i1' occurs twice"):
        read_captions(path)
    path.write_text("i1 a cat\n")
    with pytest.raises(InputError, match="has no caption"):
        read_captions(path)
