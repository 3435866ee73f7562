"""Units → a Kaldi data directory of 16 kHz recordings."""

import hashlib
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from espnet_sld.corpus.audio import convert
from espnet_sld.corpus.data_dir import DataDir
from espnet_sld.corpus.sources import Recording
from espnet_sld.corpus.wav import write_wav
from espnet_sld.errors import InputError
from espnet_sld.files import write_json
from espnet_sld.progress import track
from espnet_sld.stamps import Stamp, file_digest
from espnet_sld.vocoder.griffin_lim import GATE_DB, ITERATIONS, gate, griffin_lim
from espnet_sld.vocoder.mel import MelConf
from espnet_sld.vocoder.saved import ANY, RECORD, UnitVocoder
from espnet_sld.vocoder.timing import UNIT_RATE, read_units

EMPTY_SECONDS = 0.5  # of silence, for an utterance without units
CASES = ("ts", "rm")
REPORT = "synthesis.json"


class WaveMaker(Protocol):
    """Mel spectrum → waveform.

    Attributes:
        conf: the spectra that it takes.
    """

    conf: MelConf

    def __call__(self, mel: np.ndarray, num_samples: int, seed: int = 0) -> np.ndarray:
        """Log-mel (T, M), T = num_frames(num_samples) → samples (num_samples,) at the spectrum's rate."""

    def describe(self) -> dict[str, Any]:
        """Everything that decides the waveform (JSON values), for stamps."""


@dataclass(frozen=True)
class GriffinLim:
    """The default: no model."""

    conf: MelConf
    iterations: int = ITERATIONS

    def __call__(self, mel: np.ndarray, num_samples: int, seed: int = 0) -> np.ndarray:
        wave = griffin_lim(mel, num_samples, self.conf, iterations=self.iterations, seed=seed)
        return gate(wave, self.conf.sample_rate)

    def describe(self) -> dict[str, Any]:
        settings = {"iterations": self.iterations, "gate_db": GATE_DB}
        return {"kind": "griffin_lim", **settings, "mel": self.conf.as_dict()}


def speak(
    units: np.ndarray,
    vocoder: UnitVocoder,
    maker: WaveMaker,
    *,
    joined: bool = False,
    speaker: str = ANY,
    seed: int = 0,
) -> np.ndarray:
    """One utterance: units int64 (U,) → samples float32 at 16 kHz, `timing.num_samples(frames)` of them.

    Args:
        joined: the units are de-duplicated: their durations are predicted.

    Raises:
        InputError: there are no units, or the two models have different spectra.
    """
    if maker.conf != vocoder.conf:
        raise InputError(
            f"the vocoder predicts spectra of {vocoder.conf.as_dict()}, the waveform's model takes "
            f"{maker.conf.as_dict()}; train the vocoder with that model's (--hifigan DIR)"
        )
    if not len(units):
        raise InputError("no units to speak")
    units = vocoder.expand(units) if joined else units
    rate = vocoder.conf.sample_rate
    wave = maker(vocoder.mel(units, speaker), vocoder.timing.num_samples(len(units), rate), seed)
    if rate != UNIT_RATE:
        wave = convert(Recording(wave[:, None], rate), UNIT_RATE)
    wanted = vocoder.timing.num_samples(len(units))
    return np.pad(wave[:wanted], (0, max(0, wanted - len(wave))))


def synthesise(
    units_file: str | os.PathLike,
    vocoder_dir: str | os.PathLike,
    out_dir: str | os.PathLike,
    *,
    maker: WaveMaker | None = None,
    unit_case: str = "ts",
    speaker: str = ANY,
    utt2spk: Mapping[str, str] | None = None,
    own_voice: bool = False,
    text: Mapping[str, str] | None = None,
    seed: int = 0,
    shard: tuple[int, int] = (1, 1),
) -> dict[str, Any]:
    """Write `out_dir` as a data directory, wavs (16 kHz, PCM 16) in `out_dir/wavs`, and `synthesis.json`.

    An utterance without units becomes half a second of silence, so that who listens counts its words as
    missing; it is counted and named in the report. Waveforms do not depend on the other utterances. Nothing
    if up to date.

    Args:
        maker: None: Griffin-Lim.
        unit_case: `ts`: units frame by frame; `rm`: de-duplicated, durations are predicted.
        speaker: the voice of all, unless `own_voice`.
        utt2spk: speakers for the directory's utt2spk; without it each is its own.
        own_voice: speak in the voice of `utt2spk`; speakers that the vocoder does not know get `any`.
        text: transcripts for the directory.
        shard: (i, N): the i-th of N parts of the utterances.

    Returns:
        The report: utterances, empty, unknown_speakers, seconds.

    Raises:
        InputError: units of another vocoder, or an utterance without a speaker or transcript.
    """
    vocoder = UnitVocoder.load(vocoder_dir)
    maker = maker or GriffinLim(vocoder.conf)
    if unit_case not in CASES or not 1 <= shard[0] <= shard[1]:
        raise InputError(f"unit_case {unit_case} (must be ts or rm), shard {shard[0]} of {shard[1]}")
    units = read_units(units_file, vocoder.num_units)
    ids = sorted(units, key=str.encode)
    ids = ids[len(ids) * (shard[0] - 1) // shard[1] : len(ids) * shard[0] // shard[1]]
    for name, table in (("speaker", utt2spk), ("transcript", text)):
        if table is not None and (missing := [utt for utt in ids if utt not in table]):
            raise InputError(
                f"{units_file}: {len(missing)} utterances have no {name}: {' '.join(missing[:3])}"
            )
    if own_voice and utt2spk is None:
        raise InputError("to speak in the utterances' own voices, utt2spk is needed")
    voices = {utt: utt2spk[utt] if own_voice else speaker for utt in ids}
    unknown = sorted({voice for voice in voices.values() if voice not in (*vocoder.speakers, ANY)})
    if unknown and own_voice:
        logging.warning(f"{len(unknown)} speakers are unknown to the vocoder and get '{ANY}': {unknown[:10]}")
        voices = {utt: ANY if voice in unknown else voice for utt, voice in voices.items()}
    elif unknown:
        vocoder.voice(speaker)
    out_dir = Path(out_dir)
    stamp = Stamp(
        out_dir / "synthesis.done.json",
        inputs=[units_file],
        options={
            "vocoder": file_digest(Path(vocoder_dir) / RECORD),
            "maker": maker.describe(),
            "unit_case": unit_case,
            "voices": voices,
            "utt2spk": utt2spk and {utt: utt2spk[utt] for utt in ids},
            "text": text and {utt: text[utt] for utt in ids},
            "seed": seed,
            "shard": list(shard),
        },
        outputs=[out_dir / "wav.scp", out_dir / REPORT],
    )
    if stamp.fresh():
        logging.info("%s is up to date", out_dir)
        return stamp.result()
    stamp.withdraw()
    (out_dir / "wavs").mkdir(parents=True, exist_ok=True)
    data, empty, digest = DataDir({}, {}, utt2dur={}), [], hashlib.blake2b(digest_size=16)
    for utt in track(ids, len(ids), "speech"):
        if "/" in utt:
            raise InputError(f"{units_file}: utterance '{utt}' cannot name a file; rename it")
        if len(units[utt]):
            wave = speak(
                units[utt],
                vocoder,
                maker,
                joined=unit_case == "rm",
                speaker=voices[utt],
                seed=_seed(seed, utt),
            )
        else:
            wave = np.zeros(round(EMPTY_SECONDS * UNIT_RATE), dtype=np.float32)
            empty.append(utt)
        path = out_dir / "wavs" / f"{utt}.wav"
        write_wav(path, wave, UNIT_RATE)
        digest.update(wave.tobytes())
        data.wav[utt], data.utt2spk[utt] = str(path), utt2spk[utt] if utt2spk else utt
        data.utt2dur[utt] = len(wave) / UNIT_RATE
        if text is not None:
            data.text[utt] = text[utt]
    if empty:
        logging.warning(
            f"{len(empty)} of {len(ids)} utterances have no units and become silence: {empty[:10]}"
        )
    data.write(out_dir)
    report = {
        "utterances": len(ids),
        "empty": empty,
        "unknown_speakers": unknown,
        "seconds": round(sum(data.utt2dur.values()), 3),
        "vocoder": maker.describe()["kind"],
        "digest": digest.hexdigest(),  # of all samples: what reads the recordings sees that they are others
    }
    write_json(out_dir / REPORT, report)
    stamp.write(**report)
    return report


def _seed(seed: int, utterance: str) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed} {utterance}".encode(), digest_size=6).digest(), "big")
