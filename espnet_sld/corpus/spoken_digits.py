"""Digits spoken by espeak-ng voices that nothing was trained on: another domain than recordings of people."""

import os

from espnet_sld.corpus.data_dir import DataDir
from espnet_sld.corpus.grammar import DIGITS
from espnet_sld.corpus.synthetic import HELD_OUT_VOICES, Spoken, drawn, write_sets
from espnet_sld.errors import InputError


def plan_digits(name: str, per_digit: int, seed: int) -> list[Spoken]:
    """Every digit `per_digit` times by every held-out voice of `synthetic`, at drawn rates and pitches.

    An utterance is a function of the seed and its id.
    """
    utterances = []
    for speaker, voice in HELD_OUT_VOICES.items():
        for digit, word in enumerate(DIGITS):
            for index in range(per_digit):
                utt = f"{speaker}-{digit}-{index:03d}"
                utterances.append(drawn(utt, speaker, voice, word, f"{seed} {name} {utt}"))
    return utterances


def prepare_digits(
    data_dir: str | os.PathLike, name: str = "voices", *, per_digit: int = 5, seed: int = 0
) -> DataDir:
    """Write `data_dir/<name>`, a word an utterance, with 16 kHz wavs in `data_dir/wavs/<name>`.

    What stands whole under its name is kept.

    Raises:
        InputError: `per_digit` is not positive, or espeak-ng is not installed.
    """
    if per_digit < 1:
        raise InputError(f"--per_digit {per_digit}: at least 1")
    return write_sets(data_dir, {name: plan_digits(name, per_digit, seed)})[name]
