"""Log-mel spectra: their definition, and computing them."""

from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from espnet_sld.errors import InputError


@dataclass(frozen=True)
class MelConf:
    """A log-mel spectrum: magnitudes |STFT|, Hann window, frames centred on t·hop, edges reflected.

    Filters are triangles on Slaney's mel scale with area normalisation (librosa's and torchaudio's
    `slaney`). The defaults are SpeechT5's analysis (16 kHz, 16 ms shift, 64 ms window) with a higher floor.

    Attributes:
        sample_rate: of the waveform, Hz.
        n_fft, window, hop: in samples.
        bands: M.
        low_freq, high_freq: range of the filters in Hz.
        log_base: 10 or "e".
        floor: least magnitude before the logarithm.
    """

    sample_rate: int = 16000
    n_fft: int = 1024
    window: int = 1024
    hop: int = 256
    bands: int = 80
    low_freq: float = 80.0
    high_freq: float = 7600.0
    log_base: str = "10"
    floor: float = 1e-5

    def __post_init__(self) -> None:
        if not (0 < self.hop <= self.window <= self.n_fft and self.bands > 0 and self.floor > 0):
            raise InputError(f"impossible mel analysis: {asdict(self)}")
        if not 0 <= self.low_freq < self.high_freq <= self.sample_rate / 2 or self.log_base not in (
            "10",
            "e",
        ):
            raise InputError(f"impossible range or logarithm of a mel analysis: {asdict(self)}")

    @property
    def nats(self) -> float:
        """What one unit of the logarithm is in nats."""
        return float(np.log(10.0)) if self.log_base == "10" else 1.0

    def num_frames(self, num_samples: int) -> int:
        """Frames of a waveform of that length."""
        return 1 + num_samples // self.hop

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def hertz_to_mel(hertz: np.ndarray) -> np.ndarray:
    """Slaney's scale: linear below 1 kHz (15 mel = 1 kHz), then 27 mel for every factor of 6.4."""
    hertz = np.asarray(hertz, dtype=np.float64)
    above = 15.0 + np.log(np.maximum(hertz, 1000.0) / 1000.0) * 27.0 / np.log(6.4)
    return np.where(hertz < 1000.0, hertz * 3.0 / 200.0, above)


def mel_to_hertz(mel: np.ndarray) -> np.ndarray:
    """The inverse of `hertz_to_mel`."""
    mel = np.asarray(mel, dtype=np.float64)
    return np.where(mel < 15.0, mel * 200.0 / 3.0, 1000.0 * np.exp((mel - 15.0) * np.log(6.4) / 27.0))


@lru_cache(maxsize=8)
def filters(conf: MelConf) -> torch.Tensor:
    """Triangular filters (bands, n_fft/2 + 1), float32, each of unit area in Hz."""
    ends = hertz_to_mel(np.array([conf.low_freq, conf.high_freq]))
    edges = mel_to_hertz(np.linspace(*ends, conf.bands + 2))
    bins = np.linspace(0, conf.sample_rate / 2, conf.n_fft // 2 + 1)
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    triangles = np.maximum(0.0, np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre)))
    return torch.from_numpy((triangles * 2.0 / (high - low)).astype(np.float32))


@lru_cache(maxsize=8)
def hann(conf: MelConf) -> torch.Tensor:
    """The periodic window (window,)."""
    return torch.hann_window(conf.window)


def log_mel(wave: np.ndarray, conf: MelConf) -> np.ndarray:
    """Samples (n,) at full scale ±1 → (num_frames(n), bands) float32.

    Raises:
        InputError: the waveform is shorter than half a window, so that its edges cannot be reflected.
    """
    samples = torch.from_numpy(np.ascontiguousarray(wave, dtype=np.float32))
    if len(samples) <= conf.n_fft // 2:
        raise InputError(
            f"{len(samples)} samples are too short for a spectrum: more than {conf.n_fft // 2} are needed"
        )
    magnitudes = torch.stft(
        samples, conf.n_fft, conf.hop, conf.window, hann(conf), center=True, pad_mode="reflect",
        return_complex=True,
    ).abs()  # (n_fft/2 + 1, T)  # fmt: skip
    mel = (filters(conf) @ magnitudes).clamp(min=conf.floor).T
    return (mel.log10() if conf.log_base == "10" else mel.log()).contiguous().numpy()
