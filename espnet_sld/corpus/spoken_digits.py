"""Digits spoken by espeak-ng voices that nothing was trained on: another domain than recordings of people."""

import os
import random
from pathlib import Path

from espnet_sld.corpus import espeak
from espnet_sld.corpus.data_dir import DataDir
from espnet_sld.corpus.grammar import DIGITS
from espnet_sld.corpus.synthetic import (
    HELD_OUT_VOICES,
    PITCH_RANGES,
    PITCHES,
    RATES,
    SAMPLE_RATE,
    Spoken,
    speak,
)
from espnet_sld.corpus.wav import remove_others, whole_wav_seconds
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
                own = random.Random(f"{seed} {name} {utt}")
                drawn = (own.randint(*RATES), own.randint(*PITCHES), own.randint(*PITCH_RANGES))
                utterances.append(Spoken(utt, speaker, voice, word, *drawn))
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
    engine = espeak.version()
    folder = Path(data_dir) / "wavs" / name
    folder.mkdir(parents=True, exist_ok=True)
    utterances = plan_digits(name, per_digit, seed)
    paths = {spoken.utt: folder / spoken.file_name(engine) for spoken in utterances}
    seconds = {}
    for spoken in utterances:
        length = whole_wav_seconds(paths[spoken.utt], SAMPLE_RATE)
        seconds[spoken.utt] = speak(spoken, paths[spoken.utt]) if length is None else length
    data = DataDir(
        wav={utt: str(path) for utt, path in paths.items()},
        utt2spk={spoken.utt: spoken.speaker for spoken in utterances},
        text={spoken.utt: spoken.sentence for spoken in utterances},
        utt2dur=seconds,
    )
    data.write(Path(data_dir) / name)
    remove_others(folder, {path.name for path in paths.values()})
    return data
