"""Free Spoken Digit Dataset: isolated digits, and strings of 1–5 digits joined from real recordings."""

import hashlib
import logging
import os
import random
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from espnet_sld.corpus.audio import read_audio
from espnet_sld.corpus.data_dir import DataDir
from espnet_sld.corpus.grammar import DIGITS
from espnet_sld.corpus.wav import remove_others, whole_wav_seconds, write_wav
from espnet_sld.errors import InputError
from espnet_sld.progress import track

URL = "https://github.com/Jakobovski/free-spoken-digit-dataset"
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo")
HELD_OUT_SPEAKER = "yweweler"
NAME = re.compile(r"^(?P<digit>[0-9])_(?P<speaker>[a-z]+)_(?P<index>[0-9]+)\.wav$")
SAMPLE_RATE = 16000
# Indices 0–4 are the data set's official test split.
TEST_INDICES, DEV_INDICES = range(5), range(5, 10)
MAX_DIGITS = 5
SILENCE = (0.05, 0.20)  # seconds between two digits of a string
VERSION = 1  # raise it when the same recordings would give other samples


@dataclass(frozen=True, order=True)
class Token:
    """One recording."""

    speaker: str
    digit: int
    index: int
    path: Path


@dataclass(frozen=True)
class Utterance:
    """Recordings of one speaker, and the silences (seconds) between them."""

    utt: str
    tokens: tuple[Token, ...]
    gaps: tuple[float, ...] = ()

    @property
    def transcript(self) -> str:
        return " ".join(DIGITS[token.digit] for token in self.tokens)


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


def isolated(tokens: list[Token]) -> list[Utterance]:
    """Each recording by itself."""
    return [Utterance(f"{t.speaker}-{t.digit}-{t.index:03d}", (t,)) for t in tokens]


def _gaps(count: int, rng: random.Random) -> tuple[float, ...]:
    return tuple(round(rng.uniform(*SILENCE), 3) for _ in range(count - 1))


def strings(name: str, tokens: list[Token], count: int, seed: int) -> list[Utterance]:
    """`count` strings: speakers in turn, 1–5 digits (uniform), digits uniform, no recording twice in one.

    String i is a function of the seed, the set's name and i.
    """
    by_speaker: dict[str, list[list[Token]]] = {}
    for speaker in SPEAKERS:
        digits = [[t for t in tokens if t.speaker == speaker and t.digit == d] for d in range(10)]
        by_speaker[speaker] = digits
    result = []
    for i in range(count):
        speaker = SPEAKERS[i % len(SPEAKERS)]
        rng = random.Random(f"{seed} {name} {i}")
        chosen: list[Token] = []
        for _ in range(rng.randint(1, MAX_DIGITS)):
            groups = [[t for t in group if t not in chosen] for group in by_speaker[speaker]]
            chosen.append(rng.choice(rng.choice([group for group in groups if group])))
        result.append(Utterance(f"{speaker}-{name}-{i:06d}", tuple(chosen), _gaps(len(chosen), rng)))
    return result


def strings_once(name: str, tokens: list[Token], seed: int) -> list[Utterance]:
    """Strings that use every recording exactly once, so that utterances are independent."""
    result = []
    for speaker in SPEAKERS:
        rng = random.Random(f"{seed} {name} {speaker}")
        left = [token for token in tokens if token.speaker == speaker]
        rng.shuffle(left)
        index = 0
        while left:
            length = rng.randint(1, MAX_DIGITS)
            part, left = left[:length], left[length:]
            result.append(Utterance(f"{speaker}-{name}-{index:06d}", tuple(part), _gaps(len(part), rng)))
            index += 1
    return result


def plan(
    recordings: Mapping[tuple[str, int], list[Token]], counts: Mapping[str, int], seed: int
) -> dict[str, list[Utterance]]:
    """Set name → utterances. `counts`: strings wanted in train, dev and test."""
    tokens = [token for group in recordings.values() for token in group]
    ours = [token for token in tokens if token.speaker in SPEAKERS]
    test = [token for token in ours if token.index in TEST_INDICES]
    dev = [token for token in ours if token.index in DEV_INDICES]
    train = [token for token in ours if token.index >= DEV_INDICES.stop]
    return {
        "train": isolated(train) + strings("train", train, counts["train"], seed),
        "dev": isolated(dev) + strings("dev", dev, counts["dev"], seed),
        "test_isolated": isolated(test),
        "test_strings": strings("test", test, counts["test"], seed),
        "test_strings_once": strings_once("once", test, seed),
        "test_speaker": isolated([token for token in tokens if token.speaker == HELD_OUT_SPEAKER]),
    }


def prepare(
    fsdd_dir: str | os.PathLike, data_dir: str | os.PathLike, counts: Mapping[str, int], *, seed: int = 0
) -> dict[str, DataDir]:
    """Write `data_dir/<set>` for all six sets, with 16 kHz wavs in `data_dir/wavs/<set>`.

    The same seed gives the same bytes; a run that was killed continues where it was.

    Raises:
        InputError: recordings are missing, misnamed or broken, or a count is not positive.
    """
    for name, count in counts.items():
        if count < 1:
            raise InputError(f"--num_{name}_strings {count}: at least 1")
    sets = plan(find_recordings(fsdd_dir), counts, seed)
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
