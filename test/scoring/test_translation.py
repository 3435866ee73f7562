"""BLEU with its signature, beside the error rates."""

import json
import math

import pytest

from espnet_sld.bin import score_bleu
from espnet_sld.errors import InputError
from espnet_sld.scoring.translation import bleu

REFERENCE = {"u1": "sieben drei null eins", "u2": "vier", "u3": "neun acht zwei fünf sechs"}
HYPOTHESIS = {"u1": "sieben drei null eins", "u2": "vier", "u3": "neun acht zwei fünf fünf"}


def write(path, table):
    path.write_text("".join(f"{key} {text}\n" for key, text in table.items()), encoding="utf-8")
    return path


def test_bleu_is_the_formula_of_its_counts():
    measured = bleu(list(HYPOTHESIS.values()), [list(REFERENCE.values())], tokenize="none")
    # by hand: words 10, 9 right; bigrams 7, 6 right; trigrams 5, 4 right; four-grams 3, 2 right
    assert measured["bleu_totals"] == [10, 7, 5, 3] and measured["bleu_matches"] == [9, 6, 4, 2]
    precision = math.prod([9 / 10, 6 / 7, 4 / 5, 2 / 3]) ** 0.25
    assert measured["bleu"] == pytest.approx(100 * precision, abs=1e-3)
    assert "tok:none" in measured["bleu_signature"] and "version:" in measured["bleu_signature"]


def test_result_json_has_bleu_and_the_word_errors(tmp_path):
    hyp, ref = write(tmp_path / "hyp", HYPOTHESIS), write(tmp_path / "ref", REFERENCE)
    out = tmp_path / "st_greedy" / "test"
    (out).mkdir(parents=True)
    (out / "decode.json").write_text('{"decode_seconds": 2.0, "audio_seconds": 4.0, "bleu": 1.0}')
    assert score_bleu.main(f"--hyp {hyp} --ref {ref} --out_dir {out}".split()) == 0
    stored = json.loads((out / "result.json").read_text())
    assert stored["wer"] == 10.0 and stored["sub"] == 1 and stored["ref_words"] == 10
    assert stored["bleu"] == pytest.approx(
        bleu(list(HYPOTHESIS.values()), [list(REFERENCE.values())])["bleu"]
    )
    assert stored["rtf"] == 0.5 and "nrefs:1" in stored["bleu_signature"]


def test_more_references_are_all_used(tmp_path):
    hyp, ref = write(tmp_path / "hyp", HYPOTHESIS), write(tmp_path / "ref", REFERENCE)
    other = write(tmp_path / "other", HYPOTHESIS)
    out = tmp_path / "st" / "test"
    assert score_bleu.main(f"--hyp {hyp} --ref {ref} {other} --out_dir {out}".split()) == 0
    stored = json.loads((out / "result.json").read_text())
    assert stored["bleu"] == 100.0 and stored["wer"] == 10.0


def test_a_tokeniser_that_sacrebleu_lacks_is_named():
    with pytest.raises(InputError, match="--tokenize klingon"):
        bleu(["a"], [["a"]], tokenize="klingon")
