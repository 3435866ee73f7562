"""Mel spectrum → waveform without a trained model: Griffin & Lim (1984) in its fast form."""

from functools import lru_cache

import numpy as np
import torch

from espnet_sld.vocoder.mel import MelConf, filters, hann

ITERATIONS = 60
MOMENTUM = 0.99  # Perraudin, Balazs, Søndergaard 2013
SPECTRUM_STEPS = 30
TINY = 1e-8
GATE_DB = -80.0  # of full scale; about what is left where a recording has digital silence
GATE_SECONDS = 0.015


def magnitudes(mel: np.ndarray, conf: MelConf) -> torch.Tensor:
    """Log-mel (T, M) → magnitudes (n_fft/2 + 1, T), not negative, whose filter outputs are near the mel's.

    Multiplicative updates (Lee & Seung 2001) of min ‖F S − exp(mel)‖² from the clamped pseudo-inverse.
    """
    bank, inverse = _filters(conf)
    target = torch.from_numpy(mel.T.astype(np.float64)).mul(conf.nats).exp()
    spectrum = (inverse @ target).clamp(min=TINY)
    numerator = bank.T @ target
    for _ in range(SPECTRUM_STEPS):
        spectrum = spectrum * numerator / (bank.T @ (bank @ spectrum)).clamp(min=TINY**2)
    return spectrum.float()


@lru_cache(maxsize=4)
def _filters(conf: MelConf) -> tuple[torch.Tensor, torch.Tensor]:
    """The filters in float64, and their pseudo-inverse."""
    bank = filters(conf).double()
    return bank, torch.linalg.pinv(bank)


def griffin_lim(
    mel: np.ndarray, num_samples: int, conf: MelConf, *, iterations: int = ITERATIONS, seed: int = 0
) -> np.ndarray:
    """A waveform (num_samples,) float32 with a spectrum near `mel` (T, M), T = num_frames(num_samples).

    Phases start at random by `seed`; the result depends on nothing else.
    """
    if len(mel) != conf.num_frames(num_samples):
        raise ValueError(f"{len(mel)} frames for {num_samples} samples, not {conf.num_frames(num_samples)}")
    target = magnitudes(mel, conf)
    stft = {"n_fft": conf.n_fft, "hop_length": conf.hop, "win_length": conf.window, "window": hann(conf)}
    generator = torch.Generator().manual_seed(seed)
    angles = torch.polar(
        torch.ones_like(target), 2 * torch.pi * torch.rand(target.shape, generator=generator)
    )
    # Padded to half a window more than needed, so that reflection at the edges is always possible.
    length = max(num_samples, conf.n_fft // 2 + 1)
    before = torch.zeros_like(angles)
    for _ in range(iterations):
        wave = torch.istft(target * angles, **stft, length=length)
        now = torch.stft(wave, **stft, return_complex=True)[:, : target.shape[1]]
        now = torch.nn.functional.pad(now, (0, target.shape[1] - now.shape[1]))
        angles = now + MOMENTUM * (now - before)
        angles = angles / angles.abs().clamp(min=TINY)
        before = now
    wave = torch.istft(target * angles, **stft, length=length)[:num_samples]
    return wave.numpy()


def gate(wave: np.ndarray, sample_rate: int, level_db: float = GATE_DB) -> np.ndarray:
    """The samples (N,) with zeros where the power of the 15 ms around them is below `level_db` of full scale.

    Nobody hears that, but features without a floor of their own tell it from silence, and so do units.
    """
    half = round(sample_rate * GATE_SECONDS / 2)
    squares = torch.from_numpy(wave)[None].square()
    power = torch.nn.functional.avg_pool1d(squares, 2 * half + 1, stride=1, padding=half)[0]
    return np.where(power.numpy() < 10 ** (level_db / 10), np.float32(0), wave)
