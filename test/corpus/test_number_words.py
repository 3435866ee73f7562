"""Number words in several languages: exact pairs, and nothing translated by halves."""

import pytest

from espnet_sld.bin import translate_numbers
from espnet_sld.corpus.grammar import DIGITS
from espnet_sld.corpus.number_words import LANGUAGES, translate
from espnet_sld.errors import InputError
from espnet_sld.files import read_table


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_ten_words_and_translation_goes_both_ways(language):
    assert len(set(LANGUAGES[language])) == 10
    there = translate(" ".join(DIGITS), language)
    assert there.split() == list(LANGUAGES[language])
    assert translate(there, "en", language).split() == list(DIGITS)


def test_a_transcript_file_is_translated_line_by_line(tmp_path, capsys):
    (tmp_path / "text").write_text("u1 seven three zero\nu2 four\n")
    assert translate_numbers.main(["--text", str(tmp_path / "text"), "--lang", "de"]) == 0
    assert read_table(tmp_path / "text.de") == {"u1": "sieben drei null", "u2": "vier"}
    assert "2 lines" in capsys.readouterr().out


def test_a_word_that_is_no_digit_stops_with_its_utterance(tmp_path):
    (tmp_path / "text").write_text("u1 seven\nu2 eleven\n")
    with pytest.raises(InputError, match=r"utterance u2: 'eleven' is no digit of language en"):
        translate_numbers.main(["--text", str(tmp_path / "text")])
    assert not (tmp_path / "text.de").exists()
    with pytest.raises(InputError, match="no number words of language 'tlh'"):
        translate("one", "tlh")
    with pytest.raises(InputError, match="is the file that is translated"):
        translate_numbers.main(["--text", str(tmp_path / "text"), "--out", str(tmp_path / "text")])
