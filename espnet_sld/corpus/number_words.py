"""Digits in the words of several languages: small, exact translation pairs for recorded digits.

A transcript of English digit words ("seven three") has one translation a language, word by word. That makes
translation as easy as a task can be, and every word of a hypothesis right or wrong.
"""

import os
from pathlib import Path

from espnet_sld.corpus.grammar import DIGITS
from espnet_sld.errors import InputError
from espnet_sld.files import read_table, write_table

LANGUAGES = {
    "en": DIGITS,
    "de": ("null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun"),
    "es": ("cero", "uno", "dos", "tres", "cuatro", "cinco", "seis", "siete", "ocho", "nueve"),
    "fr": ("zéro", "un", "deux", "trois", "quatre", "cinq", "six", "sept", "huit", "neuf"),
}


def words_of(language: str) -> tuple[str, ...]:
    """The ten digit words of a language, zero first. Raises InputError for an unknown language."""
    if language not in LANGUAGES:
        raise InputError(f"no number words of language '{language}'; known: {' '.join(LANGUAGES)}")
    return LANGUAGES[language]


def translate(text: str, target: str, source: str = "en") -> str:
    """`seven three` → `sieben drei`, word by word.

    Raises:
        InputError: an unknown language, or a word that is no digit of the source language.
    """
    lexicon = dict(zip(words_of(source), words_of(target), strict=True))
    words = text.split()
    if unknown := [word for word in words if word not in lexicon]:
        raise InputError(
            f"'{unknown[0]}' is no digit of language {source}; only digit strings are translated"
        )
    return " ".join(lexicon[word] for word in words)


def translate_table(text: str | os.PathLike, out: str | os.PathLike, target: str, source: str = "en") -> int:
    """Write the translation of a Kaldi `text` file to `out`; returns its number of lines.

    Raises:
        InputError: naming the line's utterance, if one cannot be translated; nothing is written then.
    """
    if Path(out).resolve() == Path(text).resolve():
        raise InputError(f"{out}: is the file that is translated; give another name, such as {text}.{target}")
    translations = {}
    for utterance, words in read_table(text).items():
        try:
            translations[utterance] = translate(words, target, source)
        except InputError as error:
            raise InputError(f"{text}: utterance {utterance}: {error}") from None
    write_table(out, translations)
    return len(translations)
