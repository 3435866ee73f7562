"""Free Spoken Digit Dataset: isolated digits, and strings of digits joined from real recordings."""

import hashlib
import logging
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from espnet_sld.corpus.audio import read_audio
from espnet_sld.corpus.data_dir import DataDir
from espnet_sld.corpus.digit_grammar import grammar
from espnet_sld.corpus.fsdd_strings import (
    SPEAKERS,
    Token,
    Utterance,
    isolated,
    ordered_strings,
    strings,
    strings_once,
)
from espnet_sld.corpus.wav import remove_others, whole_wav_seconds, write_wav
from espnet_sld.errors import InputError
from espnet_sld.progress import track

URL = "https://github.com/Jakobovski/free-spoken-digit-dataset"
HELD_OUT_SPEAKER = "yweweler"
NAME = re.compile(r"^(?P<digit>[0-9])_(?P<speaker>[a-z]+)_(?P<index>[0-9]+)\.wav$")
SAMPLE_RATE = 16000
# Indices 0–4 are the data set's official test split.
TEST_INDICES, DEV_INDICES = range(5), range(5, 10)
ORDERS = ("uniform", "trigram", "control")  # of the digits in strings, see `plan`
VERSION = 1  # raise it when the same recordings would give other samples


def clone(download_dir: str | os.PathLike, url: str = URL) -> Path:
    """Clone the data set into `download_dir` unless it is there; a broken-off clone is made again.

    Raises:
        InputError: git is missing or the repository cannot be reached.
    """
    target = Path(download_dir) / "free-spoken-digit-dataset"
    if (target / "recordings").is_dir():
        return target
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.parent.mkdir(parents=True, exist_ok=True)
    remedy = f"get {url} by other means and give its folder as --fsdd_dir"
    command = ["git", "clone", "--depth", "1", url, str(partial)]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "GIT_TERMINAL_PROMPT": "0"},
        )
    except FileNotFoundError:
        raise InputError(f"git: no such program; install it, or {remedy}") from None
    if done.returncode:
        shutil.rmtree(partial, ignore_errors=True)
        tail = " ".join(done.stderr.strip().splitlines()[-1:])
        raise InputError(f"{url}: cannot be cloned ({tail}); {remedy}")
    partial.rename(target)
    return target


def find_recordings(fsdd_dir: str | os.PathLike) -> dict[tuple[str, int], list[Token]]:
    """(speaker, digit) → recordings by index, from `fsdd_dir/recordings/{digit}_{speaker}_{index}.wav`.

    Raises:
        InputError: no such folder, a wrong name, a speaker or digit without recordings, or an index missing.
    """
    folder = Path(fsdd_dir) / "recordings"
    if not folder.is_dir():
        hint = "; give the folder above it" if Path(fsdd_dir).name == "recordings" else ""
        raise InputError(f"{folder}: no such folder; --fsdd_dir is the one that holds recordings/{hint}")
    found: dict[tuple[str, int], dict[int, Token]] = {}
    wrong, strangers = [], set()
    for path in sorted(folder.iterdir()):
        match = NAME.match(path.name)
        if not match:
            if not path.name.startswith("."):
                wrong.append(path.name)
            continue
        speaker, digit, index = match["speaker"], int(match["digit"]), int(match["index"])
        if speaker not in (*SPEAKERS, HELD_OUT_SPEAKER):
            strangers.add(speaker)
            continue
        same = found.setdefault((speaker, digit), {})
        if index in same:
            raise InputError(f"{path}: index {index} occurs twice ({same[index].path.name}); remove one")
        same[index] = Token(speaker, digit, index, path)
    if wrong:
        raise InputError(
            f"{folder}: {len(wrong)} files are not named {{digit}}_{{speaker}}_{{index}}.wav "
            f"({', '.join(wrong[:5])}{' …' if len(wrong) > 5 else ''}); move them elsewhere"
        )
    if strangers:
        logging.warning(f"{folder}: speakers without a part in the split are left out: {sorted(strangers)}")
    for speaker in (*SPEAKERS, HELD_OUT_SPEAKER):
        for digit in range(10):
            have = found.get((speaker, digit), {})
            least = 1 if speaker == HELD_OUT_SPEAKER else DEV_INDICES.stop + 1
            absent = sorted(set(range(max([least, *(i + 1 for i in have)]))) - set(have))
            if absent:
                raise InputError(
                    f"{folder}: lacks {digit}_{speaker}_{absent[0]}.wav and {len(absent) - 1} more of that "
                    "digit and speaker; get the data set again (copy or clone all of it)"
                )
    return {key: [same[index] for index in sorted(same)] for key, same in sorted(found.items())}


def plan(
    recordings: Mapping[tuple[str, int], list[Token]],
    counts: Mapping[str, int],
    seed: int,
    order: str = "uniform",
) -> dict[str, list[Utterance]]:
    """Set name → utterances. `counts`: strings wanted in train, dev and test.

    Args:
        order: uniform: the six sets, strings of 1–5 uniform digits. trigram: strings of 5–8 digits by
            `digit_grammar` (train has the isolated digits too), and `test_uniform`, whose digits are uniform.
            control: the same with uniform digits everywhere; its `test_uniform` is that of trigram.

    Raises:
        InputError: an unknown order.
    """
    if order not in ORDERS:
        raise InputError(f"order of digits '{order}': must be {', '.join(ORDERS)}")
    tokens = [token for group in recordings.values() for token in group]
    ours = [token for token in tokens if token.speaker in SPEAKERS]
    test = [token for token in ours if token.index in TEST_INDICES]
    dev = [token for token in ours if token.index in DEV_INDICES]
    train = [token for token in ours if token.index >= DEV_INDICES.stop]
    if order != "uniform":
        table = grammar() if order == "trigram" else None
        sets = {
            "train": isolated(train) + ordered_strings("train", train, counts["train"], seed, table),
            "dev": ordered_strings("dev", dev, counts["dev"], seed, table),
        }
        if order == "trigram":
            sets["test_trigram"] = ordered_strings("trigram", test, counts["test"], seed, table)
        return {**sets, "test_uniform": ordered_strings("uniform", test, counts["test"], seed, None)}
    return {
        "train": isolated(train) + strings("train", train, counts["train"], seed),
        "dev": isolated(dev) + strings("dev", dev, counts["dev"], seed),
        "test_isolated": isolated(test),
        "test_strings": strings("test", test, counts["test"], seed),
        "test_strings_once": strings_once("once", test, seed),
        "test_speaker": isolated([token for token in tokens if token.speaker == HELD_OUT_SPEAKER]),
    }


def prepare(
    fsdd_dir: str | os.PathLike,
    data_dir: str | os.PathLike,
    counts: Mapping[str, int],
    *,
    seed: int = 0,
    order: str = "uniform",
) -> dict[str, DataDir]:
    """Write `data_dir/<set>` for all sets of `plan`, with 16 kHz wavs in `data_dir/wavs/<set>`.

    The same seed gives the same bytes; a run that was killed continues where it was.

    Raises:
        InputError: recordings are missing, misnamed or broken, or a count is not positive.
    """
    for name, count in counts.items():
        if count < 1:
            raise InputError(f"--num_{name}_strings {count}: at least 1")
    sets = plan(find_recordings(fsdd_dir), counts, seed, order)
    used = {t for utterances in sets.values() for u in utterances for t in u.tokens}
    digests, cache = {t: _digest(t.path.read_bytes()) for t in used}, {}
    result = {}
    for name, utterances in sets.items():
        folder = Path(data_dir) / "wavs" / name
        folder.mkdir(parents=True, exist_ok=True)
        files, seconds = {}, {}
        for u in track(utterances, len(utterances), f"fsdd {name}"):
            # The name holds a digest of all that the samples depend on: a whole file of this name is right.
            key = repr((VERSION, SAMPLE_RATE, u.gaps, [digests[t] for t in u.tokens]))
            path = folder / f"{u.utt}.{_digest(key.encode())}.wav"
            length = whole_wav_seconds(path, SAMPLE_RATE)
            if length is None:
                samples = _join(u, cache)
                write_wav(path, samples, SAMPLE_RATE)
                length = len(samples) / SAMPLE_RATE
            files[u.utt], seconds[u.utt] = str(path), length
        result[name] = DataDir(
            wav=files,
            utt2spk={u.utt: u.tokens[0].speaker for u in utterances},
            text={u.utt: u.transcript for u in utterances},
            utt2dur=seconds,
        )
        result[name].write(Path(data_dir) / name)
        remove_others(folder, {Path(path).name for path in files.values()})
    return result


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=5).hexdigest()


def _join(utterance: Utterance, cache: dict[Token, np.ndarray]) -> np.ndarray:
    """Samples (n,) float32 at 16 kHz: recordings one after the other with digital silence between."""
    parts = []
    for token, gap in zip(utterance.tokens, (*utterance.gaps, 0.0), strict=True):
        if token not in cache:
            cache[token] = read_audio(token.path, target_rate=SAMPLE_RATE)
        parts += [cache[token], np.zeros(round(gap * SAMPLE_RATE), np.float32)]
    return np.concatenate(parts)
