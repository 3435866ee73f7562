"""The embedded default corpus: grammar sentences spoken by espeak-ng, as Kaldi data directories."""

import hashlib
import multiprocessing
import os
import random
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from espnet_sld.corpus import espeak, grammar
from espnet_sld.corpus.data_dir import DataDir
from espnet_sld.corpus.wav import remove_others, whole_wav_seconds, write_wav
from espnet_sld.errors import InputError
from espnet_sld.progress import Progress

SAMPLE_RATE = 16000
VERSION = 1  # raise it when the same sentence and voice would give other samples
# Speaker id → espeak-ng voice. Variants differ in formants, bandwidths and breath, accents in vowels.
TRAINING_VOICES = {
    "us_base": "en-us",
    "us_m1": "en-us+m1",
    "us_m2": "en-us+m2",
    "us_m3": "en-us+m3",
    "us_m4": "en-us+m4",
    "us_m5": "en-us+m5",
    "us_f1": "en-us+f1",
    "us_f2": "en-us+f2",
    "us_f3": "en-us+f3",
    "us_f4": "en-us+f4",
    "gb_base": "en",
    "gb_m3": "en+m3",
    "gb_f2": "en+f2",
    "gb_f4": "en+f4",
}
# Variants that no training voice has.
HELD_OUT_VOICES = {"us_m7": "en-us+m7", "us_f5": "en-us+f5", "gb_m6": "en+m6", "gb_linda": "en+linda"}
RATES = (145, 205)  # words per minute
PITCHES = (30, 70)
PITCH_RANGES = (35, 65)
SETS = ("train", "dev", "test", "test_voices")
CHUNK = 32
MAX_MISSES = 5000  # sentences drawn in a row that are no new ones of the set


@dataclass(frozen=True)
class Spoken:
    """One utterance before it is spoken: all that its samples depend on."""

    utt: str
    speaker: str
    voice: str
    sentence: str
    rate: int
    pitch: int
    pitch_range: int

    def file_name(self, engine: str) -> str:
        """The id and a digest of everything that the samples depend on: a file of this name is right."""
        how = (self.voice, self.rate, self.pitch, self.pitch_range)
        key = repr((VERSION, engine, SAMPLE_RATE, self.sentence, how))
        return f"{self.utt}.{hashlib.blake2b(key.encode(), digest_size=5).hexdigest()}.wav"


def plan(name: str, count: int, seed: int) -> list[Spoken]:
    """The first `count` utterances of a set: voices in turn, no sentence twice.

    A longer plan begins with the shorter one, and each utterance is a function of the seed and its id.

    Raises:
        InputError: the grammar has too few sentences.
    """
    voices = list((HELD_OUT_VOICES if name == "test_voices" else TRAINING_VOICES).items())
    rng = random.Random(f"{seed} {name} sentences")
    seen: set[str] = set()
    utterances = []
    misses = 0
    while len(utterances) < count:
        misses += 1
        if misses > MAX_MISSES:
            raise InputError(
                f"--num_{name} {count}: the grammar has too few sentences, {len(utterances)} were found; "
                "ask for less"
            )
        sentence = grammar.draw(rng)
        if sentence in seen or grammar.set_of(sentence) != name:
            continue
        misses = 0
        seen.add(sentence)
        index = len(utterances)
        speaker, voice = voices[index % len(voices)]
        utt = f"{speaker}-{name}-{index:06d}"
        utterances.append(drawn(utt, speaker, voice, sentence, f"{seed} {utt}"))
    return utterances


def drawn(utt: str, speaker: str, voice: str, sentence: str, key: str) -> Spoken:
    """An utterance with rate and pitch drawn by `key` alone."""
    own = random.Random(key)
    how = (own.randint(*RATES), own.randint(*PITCHES), own.randint(*PITCH_RANGES))
    return Spoken(utt, speaker, voice, sentence, *how)


def speak(utterance: Spoken, path: Path) -> float:
    """Synthesise one utterance into a 16 kHz, 16-bit wav; returns its seconds."""
    import soxr

    samples, rate = espeak.synthesise(
        utterance.sentence,
        utterance.voice,
        rate=utterance.rate,
        pitch=utterance.pitch,
        pitch_range=utterance.pitch_range,
    )
    samples = soxr.resample(samples, rate, SAMPLE_RATE)
    write_wav(path, samples, SAMPLE_RATE)
    return len(samples) / SAMPLE_RATE


def _speak_chunk(jobs: list[tuple[Spoken, Path]]) -> list[tuple[str, float]]:
    return [(utterance.utt, speak(utterance, path)) for utterance, path in jobs]


def _die_with_parent() -> None:
    """In a worker: leave when the main process is gone, also after its kill -9."""

    def watch() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _speak_all(jobs: list[tuple[Spoken, Path]], nj: int) -> Iterator[list[tuple[str, float]]]:
    chunks = [jobs[start : start + CHUNK] for start in range(0, len(jobs), CHUNK)]
    if nj == 1 or len(chunks) < 2:
        yield from map(_speak_chunk, chunks)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(nj, len(chunks)), mp_context=context, initializer=_die_with_parent) as pool:
        yield from pool.map(_speak_chunk, chunks)


def prepare(
    data_dir: str | os.PathLike, counts: Mapping[str, int], *, seed: int = 0, nj: int = 1
) -> dict[str, DataDir]:
    """Write `data_dir/<set>` for every set of `counts`, with wavs in `data_dir/wavs/<set>`.

    Args:
        counts: set name (train, dev, test, test_voices) → number of utterances.
        seed: the same seed gives the same bytes, whatever `nj` is.
        nj: processes.

    A run that was killed continues: files that stand whole under the name for these options are kept.

    Raises:
        InputError: a count is not positive, the grammar is too small, or espeak-ng is not installed.
    """
    for name, count in counts.items():
        if name not in SETS or count < 1:
            raise InputError(f"--num_{name} {count}: sets are {', '.join(SETS)}, with 1 utterance or more")
    if nj < 1:
        raise InputError(f"--nj {nj}: at least 1 process")
    espeak.version()  # is it there? Drawing takes a while
    return write_sets(data_dir, {name: plan(name, count, seed) for name, count in counts.items()}, nj=nj)


def write_sets(
    data_dir: str | os.PathLike, plans: Mapping[str, list[Spoken]], *, nj: int = 1
) -> dict[str, DataDir]:
    """Speak the utterances of every set: `data_dir/<set>`, wavs in `data_dir/wavs/<set>`.

    Raises:
        InputError: espeak-ng is not installed.
    """
    engine = espeak.version()
    data_dir = Path(data_dir)
    seconds: dict[str, float] = {}
    jobs: list[tuple[Spoken, Path]] = []
    for name, utterances in plans.items():
        folder = data_dir / "wavs" / name
        folder.mkdir(parents=True, exist_ok=True)
        for utterance in utterances:
            path = folder / utterance.file_name(engine)
            length = whole_wav_seconds(path, SAMPLE_RATE)
            if length is None:
                jobs.append((utterance, path))
            else:
                seconds[utterance.utt] = length
    if jobs:
        progress = Progress(len(jobs), "speech synthesis")
        for chunk in _speak_all(jobs, nj):
            seconds.update(chunk)
            progress.update(len(chunk))
        progress.close()
    result = {}
    for name, utterances in plans.items():
        folder = data_dir / "wavs" / name
        result[name] = DataDir(
            wav={u.utt: str(folder / u.file_name(engine)) for u in utterances},
            utt2spk={u.utt: u.speaker for u in utterances},
            text={u.utt: u.sentence for u in utterances},
            utt2dur={u.utt: seconds[u.utt] for u in utterances},
        )
        result[name].write(data_dir / name)
        remove_others(folder, {Path(path).name for path in result[name].wav.values()})
    return result
