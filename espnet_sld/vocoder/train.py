"""Training of the unit vocoder: L1 of normalised log-mel, and the durations' Poisson likelihood."""

import logging
import math
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from espnet_sld.errors import InputError
from espnet_sld.files import atomic_write
from espnet_sld.stamps import Stamp, file_digest
from espnet_sld.units.devices import check_device
from espnet_sld.vocoder.mel import MelConf
from espnet_sld.vocoder.samples import Pieces, Sample, load_samples
from espnet_sld.vocoder.saved import RECORD, WEIGHTS, UnitVocoder
from espnet_sld.vocoder.timing import Timing

STATE = "training_state.pt"


@dataclass(frozen=True)
class TrainOptions:
    """How to train.

    Attributes:
        steps, batch, frames: optimiser steps, pieces of a step, mel frames of a piece.
        learning_rate: peak; linear warm-up over 5 % of the steps, then cosine to 0. AdamW.
        speaker_dropout: share of pieces that are trained without their speaker, for the voice `any`.
        hours: audio drawn at random; 0: all.
        save_every: steps between saved states, from which a broken-off training goes on.
        allow_pipes, channels: of reading the audio, as `corpus.audio.read_audio`.
    """

    steps: int = 1000
    batch: int = 24
    frames: int = 96
    width: int = 128
    learning_rate: float = 3e-3
    speaker_dropout: float = 0.2
    hours: float = 0.0
    seed: int = 0
    save_every: int = 500
    device: str = "cpu"
    allow_pipes: bool = False
    channels: str = "mono"

    def __post_init__(self) -> None:
        if min(self.steps, self.batch, self.frames, self.width, self.save_every) < 1:
            raise InputError(f"vocoder training: counts must be at least 1: {asdict(self)}")
        check_device(self.device)
        if self.seed < 0:
            raise InputError(f"vocoder training: seed {self.seed} must not be negative")
        if not self.learning_rate > 0 or not 0 <= self.speaker_dropout <= 1 or self.hours < 0:
            raise InputError(f"vocoder training: learning_rate, speaker_dropout or hours: {asdict(self)}")


def train_vocoder(
    data_dir: str | os.PathLike,
    units_file: str | os.PathLike,
    out_dir: str | os.PathLike,
    num_units: int,
    timing: Timing,
    conf: MelConf,
    options: TrainOptions,
) -> UnitVocoder:
    """Train on a data directory and its units; write `model.safetensors`, `vocoder.json`. Nothing if fresh.

    A run that was broken off goes on from its last saved state and ends with the same weights.

    Raises:
        InputError: see `load_samples`.
    """
    out_dir = Path(out_dir)
    apart = {"save_every", "device", "allow_pipes", *(("channels",) if options.channels == "mono" else ())}
    settings = {name: value for name, value in asdict(options).items() if name not in apart}
    stamp = Stamp(
        out_dir / "train.done.json",
        inputs=[
            units_file,
            *(Path(data_dir) / name for name in ("wav.scp", "segments", "utt2spk", "utt2speed")),
        ],
        options={**settings, "num_units": num_units, "timing": asdict(timing), "mel": conf.as_dict()},
        outputs=[out_dir / WEIGHTS, out_dir / RECORD],
    )
    if stamp.fresh():
        logging.info("%s is up to date", out_dir)
        return UnitVocoder.load(out_dir)
    reading = {name: getattr(options, name) for name in ("hours", "seed", "allow_pipes", "channels")}
    samples = load_samples(data_dir, units_file, num_units, timing, conf, **reading)
    torch.manual_seed(options.seed)
    speakers = sorted({sample.speaker for sample in samples})
    vocoder = UnitVocoder(num_units, timing, conf, speakers, width=options.width)
    set_statistics(vocoder, samples)
    key = {"options": stamp.options, "inputs": stamp.inputs}
    curve = _Training(vocoder, samples, options, out_dir / STATE, key).run()
    vocoder.info = {
        "options": settings,
        "utterances": len(samples),
        "frames": sum(len(sample.mel) for sample in samples),
        "loss": curve,
        "units_digest": file_digest(units_file),
    }
    stamp.withdraw()
    vocoder.save(out_dir)
    stamp.write(**{name: vocoder.info[name] for name in ("utterances", "frames")}, last=curve[-1])
    (out_dir / STATE).unlink(missing_ok=True)
    return vocoder


def set_statistics(vocoder: UnitVocoder, samples: list[Sample]) -> None:
    """Each band's mean, one standard deviation for all bands, and each unit's typical spectrum.

    One deviation, so that quiet bands do not count more. A typical spectrum is the mean of the unit's frames,
    normalised, with two frames of the mean spectrum added: rare units stay near that.
    """
    count = sum(len(sample.mel) for sample in samples)
    mean = sum(sample.mel.astype(np.float64).sum(axis=0) for sample in samples) / count
    squares = sum(((sample.mel.astype(np.float64) - mean) ** 2).sum() for sample in samples)
    vocoder.mel_of.mean.copy_(torch.from_numpy(mean))
    scale = max(1e-3, math.sqrt(squares / (count * len(mean))))
    vocoder.mel_of.scale.fill_(scale)
    sums, frames = np.zeros((vocoder.num_units + 1, len(mean))), np.full(vocoder.num_units + 1, 2.0)
    for sample in samples:
        index, _ = vocoder.timing.unit_of_frames(len(sample.units), vocoder.conf, len(sample.mel))
        np.add.at(sums, sample.units[index], (sample.mel.astype(np.float64) - mean) / scale)
        np.add.at(frames, sample.units[index], 1)
    vocoder.mel_of.typical.copy_(torch.from_numpy(sums / frames[:, None]))


def rate(step: int, options: TrainOptions) -> float:
    """Learning rate of step 0, 1, …"""
    warm = max(1, options.steps // 20)
    if step < warm:
        return options.learning_rate * (step + 1) / warm
    return (
        options.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, options.steps - warm)))
    )


class _Training:
    """The loop, with its state on disk."""

    def __init__(
        self,
        vocoder: UnitVocoder,
        samples: list[Sample],
        options: TrainOptions,
        state: Path,
        key: dict[str, Any],
    ):
        self.options, self.state, self.key = options, state, key
        self.model = vocoder.modules().to(options.device).train()
        self.mel, self.durations = vocoder.mel_of, vocoder.lengths
        self.optimiser = torch.optim.AdamW(self.model.parameters(), weight_decay=0.01)
        voices = {speaker: number for number, speaker in enumerate(vocoder.speakers)}
        self.pieces = Pieces(
            samples,
            vocoder.timing,
            vocoder.conf,
            vocoder.num_units,
            voices,
            len(voices),
            frames=options.frames,
            batch=options.batch,
            speaker_dropout=options.speaker_dropout,
            seed=options.seed,
        )
        self.curve: list[dict[str, float]] = []

    def run(self) -> list[dict[str, float]]:
        """Train to the end; returns the mean losses of every `save_every` steps."""
        sums, since = {"mel_l1": 0.0, "duration_nll": 0.0}, 0
        for step in range(self._resume(), self.options.steps):
            for name, value in self._step(step).items():
                sums[name] += value
            since += 1
            if (step + 1) % self.options.save_every == 0 or step + 1 == self.options.steps:
                means = {name: round(value / since, 5) for name, value in sums.items()}
                self.curve.append({"step": step + 1, **means})
                logging.info("step %d of %d: %s", step + 1, self.options.steps, means)
                sums, since = dict.fromkeys(sums, 0.0), 0
                self._save(step + 1)
        self.model.to("cpu").eval()
        return self.curve

    def _step(self, step: int) -> dict[str, float]:
        batch = {name: value.to(self.options.device) for name, value in self.pieces(step).items()}
        predicted = self.mel(batch["units"], batch["index"], batch["place"], batch["voice"])
        target = (batch["mel"] - self.mel.mean) / self.mel.scale
        mask = batch["mask"]
        mel_l1 = (predicted - target)[mask].abs().mean()
        nll = predicted.new_zeros(())
        if batch["runs"].lt(self.mel.num_units).any():  # else every piece lies within one long run
            nll = self.durations.loss(batch["runs"], batch["durations"])
        for group in self.optimiser.param_groups:
            group["lr"] = rate(step, self.options)
        self.optimiser.zero_grad(set_to_none=True)
        (mel_l1 + nll).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        return {"mel_l1": mel_l1.item(), "duration_nll": nll.item()}

    def _save(self, step: int) -> None:
        with atomic_write(self.state, "wb") as stream:
            torch.save(
                {
                    "step": step,
                    "key": repr(self.key),
                    "curve": self.curve,
                    "model": self.model.state_dict(),
                    "optimiser": self.optimiser.state_dict(),
                },
                stream,
            )

    def _resume(self) -> int:
        """The step to go on from; a state of other data or options is not used."""
        if not self.state.is_file():
            return 0
        state = torch.load(self.state, map_location=self.options.device, weights_only=True)
        if state["key"] != repr(self.key):
            logging.info("%s: of other data or options; beginning anew", self.state)
            return 0
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.curve = state["curve"]
        logging.info("going on from step %d", state["step"])
        return state["step"]
