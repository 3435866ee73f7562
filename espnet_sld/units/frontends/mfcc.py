"""Mel-frequency cepstra with differences, Kaldi's definition, normalised per utterance."""

from typing import Any

import numpy as np

from espnet_sld.errors import InputError

FULL_SCALE = 32768.0  # Kaldi's samples are 16-bit integers
NORMALISATIONS = ("none", "mean", "mean_variance")


class Mfcc:
    """13 cepstra (C0, not energy, as HuBERT's first k-means) + Δ + ΔΔ = 39, dither 0, edges snipped.

    A waveform of n samples has (n − window) // shift + 1 frames, window 400 and shift 320 by default.

    Args:
        frame_shift_ms: shift between output frames.
        frame_length_ms: window.
        num_ceps: cepstra, C0 included.
        num_mel_bins: triangular filters.
        low_freq, high_freq: their range in Hz; high_freq 0 = 8000. For recordings made at 8 kHz use 4000:
            what resampling leaves above is noise.
        delta_order: 2 = Δ and ΔΔ, 0 = cepstra only.
        delta_window: frames on each side of Kaldi's regression.
        delta_shift_ms: frame shift at which differences are taken, a divisor of `frame_shift_ms`; 0 = the
            same. With 10 and a `frame_shift_ms` of 40, every fourth frame of 10 ms features is kept.
        normalisation: none | mean | mean_variance, per utterance and dimension.
    """

    name = "mfcc"
    sample_rate = 16000

    def __init__(
        self,
        *,
        frame_shift_ms: float = 20,
        frame_length_ms: float = 25,
        num_ceps: int = 13,
        num_mel_bins: int = 23,
        low_freq: float = 20,
        high_freq: float = 0,
        delta_order: int = 2,
        delta_window: int = 2,
        delta_shift_ms: float = 0,
        normalisation: str = "mean",
    ):
        self.conf = {
            "frame_shift_ms": frame_shift_ms,
            "frame_length_ms": frame_length_ms,
            "num_ceps": num_ceps,
            "num_mel_bins": num_mel_bins,
            "low_freq": low_freq,
            "high_freq": high_freq or self.sample_rate / 2,
            "delta_order": delta_order,
            "delta_window": delta_window,
            "delta_shift_ms": delta_shift_ms or frame_shift_ms,
            "normalisation": normalisation,
        }
        per_ms = self.sample_rate / 1000
        self.shift, self.window = round(frame_shift_ms * per_ms), round(frame_length_ms * per_ms)
        self.base_shift = round(self.conf["delta_shift_ms"] * per_ms)
        if self.shift < 1 or self.window < 2 or self.base_shift < 1 or self.shift % self.base_shift:
            raise InputError(
                f"mfcc: frame_shift_ms {frame_shift_ms} must be positive and a multiple of delta_shift_ms"
            )
        if not 1 <= num_ceps <= num_mel_bins or delta_order < 0 or delta_window < 1:
            raise InputError(
                f"mfcc: impossible num_ceps {num_ceps}, num_mel_bins {num_mel_bins}, "
                f"delta_order {delta_order} or delta_window {delta_window}"
            )
        if not 0 <= low_freq < self.conf["high_freq"] <= self.sample_rate / 2:
            raise InputError(
                f"mfcc: low_freq {low_freq} and high_freq {high_freq} must rise within 0 … 8000 Hz"
            )
        if normalisation not in NORMALISATIONS:
            raise InputError(
                f"mfcc: normalisation '{normalisation}' must be one of {' '.join(NORMALISATIONS)}"
            )
        self.dimension = num_ceps * (delta_order + 1)
        self.frame_shift = self.shift / self.sample_rate

    def num_frames(self, num_samples: int) -> int:
        return max(0, (num_samples - self.window) // self.shift + 1)

    def extract(self, waves: list[np.ndarray]) -> list[np.ndarray]:
        return [self._extract_one(wave) for wave in waves]

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "sample_rate": self.sample_rate, **self.conf}

    def _extract_one(self, wave: np.ndarray) -> np.ndarray:
        if self.num_frames(len(wave)) < 1:
            raise InputError(f"{len(wave)} samples are too short for one frame of {self.window} samples")
        features = add_deltas(self._cepstra(wave), self.conf["delta_order"], self.conf["delta_window"])
        if self.conf["normalisation"] != "none":
            features -= features.mean(axis=0, dtype=np.float64).astype(np.float32)
        if self.conf["normalisation"] == "mean_variance":
            features /= np.maximum(features.std(axis=0, dtype=np.float64), 1e-5).astype(np.float32)
        return np.ascontiguousarray(features[:: self.shift // self.base_shift])

    def _cepstra(self, wave: np.ndarray) -> np.ndarray:
        """Static cepstra float32 (frames at the base shift, num_ceps)."""
        computer = self._computer()
        computer.accept_waveform(
            self.sample_rate, np.asarray(wave, dtype=np.float32) * np.float32(FULL_SCALE)
        )
        computer.input_finished()
        return np.stack([computer.get_frame(index) for index in range(computer.num_frames_ready)])

    def _computer(self):
        import kaldi_native_fbank

        options = kaldi_native_fbank.MfccOptions()
        options.frame_opts.samp_freq = self.sample_rate
        # Of whole samples: Kaldi would cut off what `num_frames` rounds.
        options.frame_opts.frame_length_ms = 1000 * self.window / self.sample_rate
        options.frame_opts.frame_shift_ms = 1000 * self.base_shift / self.sample_rate
        options.frame_opts.dither = 0.0
        options.frame_opts.snip_edges = True
        options.mel_opts.num_bins = self.conf["num_mel_bins"]
        options.mel_opts.low_freq = self.conf["low_freq"]
        options.mel_opts.high_freq = self.conf["high_freq"]
        options.num_ceps = self.conf["num_ceps"]
        options.use_energy = False
        return kaldi_native_fbank.OnlineMfcc(options)


def add_deltas(features: np.ndarray, order: int, window: int) -> np.ndarray:
    """Append differences up to `order`: (T, D) → (T, D·(order+1)), float32.

    Kaldi's add-deltas: d_t = Σ_j j·x_{t+j} / Σ_j j², j = −window … window; the second order applies the
    filter convolved with itself to the static features; beyond the ends the first and last frame repeat.
    """
    offsets = np.arange(-window, window + 1, dtype=np.float64)
    regression = offsets / (offsets**2).sum()
    blocks, scales = [features.astype(np.float32)], np.ones(1)
    for _ in range(order):
        scales = np.convolve(scales, regression)
        reach = len(scales) // 2
        padded = np.pad(features, ((reach, reach), (0, 0)), mode="edge")
        total = np.zeros(features.shape, dtype=np.float32)
        for index, scale in enumerate(scales):
            total += np.float32(scale) * padded[index : index + len(features)]
        blocks.append(total)
    return np.concatenate(blocks, axis=1)
