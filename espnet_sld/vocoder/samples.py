"""What the vocoder is trained on: recordings with their units, cut into batches of pieces."""

import hashlib
import logging
import os
from dataclasses import dataclass

import numpy as np
import torch

from espnet_sld.corpus.data_dir import DataDir
from espnet_sld.corpus.durations import durations
from espnet_sld.errors import InputError
from espnet_sld.progress import track
from espnet_sld.units.reader import read_waves
from espnet_sld.units.unit_text import deduplicate
from espnet_sld.vocoder.mel import MelConf, log_mel
from espnet_sld.vocoder.timing import UNIT_RATE, Timing, read_units

CONTEXT = 8  # units on each side of a piece that the network may look at


@dataclass(frozen=True)
class Sample:
    """One utterance: units int64 (U,), log-mel float16 (T, M), its speaker."""

    utterance: str
    units: np.ndarray
    mel: np.ndarray
    speaker: str


def load_samples(
    data_dir: str | os.PathLike,
    units_file: str | os.PathLike,
    num_units: int,
    timing: Timing,
    conf: MelConf,
    *,
    hours: float = 0.0,
    seed: int = 0,
    threads: int = 1,
    allow_pipes: bool = False,
    channels: str = "mono",
) -> list[Sample]:
    """Read a data directory's utterances with their units, frame by frame (not de-duplicated).

    The units' file may hold more utterances than the directory. Spectra are kept in memory as float16: 36 MB
    an hour at 16 ms and 80 bands.

    Args:
        hours: draw utterances by a seeded hash until they have this much audio; 0: all.
        allow_pipes, channels: as `corpus.audio.read_audio`.

    Raises:
        InputError: an utterance has no units, or their number is not that of its samples.
    """
    data = DataDir.read(data_dir, text=False, allow_pipes=allow_pipes)
    units = read_units(units_file, num_units)
    if missing := [utt for utt in data.utterances if utt not in units]:
        raise InputError(
            f"{units_file}: lacks {len(missing)} of {len(data)} utterances of {data_dir} "
            f"({', '.join(missing[:3])} …); extract the units of that set"
        )
    if hours > 0:
        order = sorted(data.utterances, key=lambda utt: hashlib.blake2b(f"{seed} {utt}".encode()).digest())
        kept, total = [], 0.0
        for utt, seconds in durations(data, order, allow_pipes=allow_pipes):
            if total >= 3600 * hours:
                break
            kept.append(utt)
            total += seconds
        data = data.select(kept)
        logging.info("%d utterances drawn, %.2f h", len(kept), total / 3600)
    samples, short = [], []
    reading = {"threads": threads, "allow_pipes": allow_pipes, "channels": channels}
    waves = read_waves(data, conf.sample_rate, **reading)
    for wave in track(waves, len(data), "mel spectra"):
        ids = units[wave.utterance]
        expected = timing.num_units(round(len(wave.samples) * UNIT_RATE / conf.sample_rate))
        if abs(len(ids) - expected) > 1:
            raise InputError(
                f"{units_file}: utterance {wave.utterance} has {len(ids)} units, its recording {expected} of "
                f"{timing.shift} samples; give units before de-duplication, and the shift of their front-end"
            )
        if len(wave.samples) <= conf.n_fft // 2 or not len(ids):
            short.append(wave.utterance)
            continue
        mel = log_mel(wave.samples, conf)[
            : conf.num_frames(timing.num_samples(len(ids), conf.sample_rate))
        ].astype(np.float16)
        samples.append(Sample(wave.utterance, ids, mel, data.utt2spk[wave.utterance]))
    if short:
        logging.warning(
            "%d utterances are too short for a spectrum and left out: %s", len(short), " ".join(short)
        )
    if not samples:
        raise InputError(f"{data_dir}: no utterance is long enough to train on")
    return sorted(samples, key=lambda sample: sample.utterance)


class Pieces:
    """Batches of random pieces; the batch of a step depends on (seed, step) alone.

    Args:
        voices: speaker → index; `nobody` is the index that stands for no speaker in particular.
        frames: length of a piece in mel frames; shorter utterances are taken whole.
    """

    def __init__(
        self,
        samples: list[Sample],
        timing: Timing,
        conf: MelConf,
        num_units: int,
        voices: dict[str, int],
        nobody: int,
        *,
        frames: int = 96,
        batch: int = 16,
        speaker_dropout: float = 0.2,
        seed: int = 0,
    ):
        self.samples, self.timing, self.conf = samples, timing, conf
        self.num_units, self.voices, self.nobody = num_units, voices, nobody
        self.frames, self.batch, self.speaker_dropout, self.seed = frames, batch, speaker_dropout, seed
        lengths = np.array([len(sample.mel) for sample in samples], dtype=np.float64)
        self.chances = lengths / lengths.sum()

    def __call__(self, step: int) -> dict[str, torch.Tensor]:
        """Tensors of one step.

        Returns:
            units (B, U), index, place (B, T), voice (B,), mel (B, T, M), mask (B, T); runs and durations
            (B, R).
        """
        random = np.random.default_rng((self.seed, step))
        chosen = random.choice(len(self.samples), self.batch, p=self.chances)
        rows = [self._cut(self.samples[i], random) for i in chosen]
        drop = random.random(self.batch) < self.speaker_dropout
        voice = [
            self.nobody if dropped else self.voices[self.samples[i].speaker]
            for i, dropped in zip(chosen, drop, strict=True)
        ]
        units, index, place, mel, runs, lengths = zip(*rows, strict=True)
        batch = {
            "units": _pad(units, self.num_units),
            "index": _pad(index, -1),
            "place": _pad(place, 0.0),
            "mel": _pad(mel, 0.0),
            "runs": _pad(runs, self.num_units),
            "durations": _pad(lengths, 0),
            "voice": torch.tensor(voice),
        }
        return batch | {"mask": batch["index"] >= 0}

    def _cut(self, sample: Sample, random: np.random.Generator) -> tuple[np.ndarray, ...]:
        count = len(sample.mel)
        index, place = self.timing.unit_of_frames(len(sample.units), self.conf, count)
        first = int(random.integers(0, max(1, count - self.frames + 1)))
        part = slice(first, min(count, first + self.frames))
        begin = max(0, int(index[part][0]) - CONTEXT)
        end = min(len(sample.units), int(index[part][-1]) + 1 + CONTEXT)
        units = sample.units[begin:end]
        runs, lengths = deduplicate(units)
        # Runs that the cut shortened would teach wrong durations: leave out the first and last, if cut.
        keep = slice(int(begin > 0), len(runs) - int(end < len(sample.units)))
        runs, lengths = runs[keep], lengths[keep]
        return units, index[part] - begin, place[part], sample.mel[part].astype(np.float32), runs, lengths


def _pad(rows: tuple[np.ndarray, ...], value: float) -> torch.Tensor:
    """Arrays (n_i, …) → (B, max n, …), filled with `value`."""
    longest = max(len(row) for row in rows)
    result = np.full((len(rows), longest, *rows[0].shape[1:]), value, dtype=rows[0].dtype)
    for target, row in zip(result, rows, strict=True):
        target[: len(row)] = row
    return torch.from_numpy(result)
