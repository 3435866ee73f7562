"""Speed perturbation by an exact polyphase windowed sinc, in torch on any device (Smith 1984).

Playing audio `speed` times as fast is resampling it by 1 / speed = up / down. Output sample m is
Σ_n x[n] · h(m·down/up − n), h a sinc cut off a little below the lower of the two Nyquist frequencies and
windowed after Kaiser. All in float64, so that neither device nor TF32 settings show in the float32 result.
"""

import math
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np

from espnet_sld.errors import InputError

MAX_TERM = 1000  # of a speed factor's numerator and denominator
CROSSINGS = 64  # zero crossings of the sinc on each side
ATTENUATION = 100.0  # dB, of what lies above the lower Nyquist frequency
BLOCK = 1 << 16  # positions computed at once


def describe() -> dict[str, Any]:
    """What decides the result, for stamps."""
    return {"method": "kaiser sinc", "crossings": CROSSINGS, "attenuation": ATTENUATION}


@cache
def ratio(speed: float) -> tuple[int, int]:
    """(up, down), coprime, with up / down = 1 / speed.

    Raises:
        InputError: the factor is not positive, or no ratio of numbers up to 1000.
    """
    fraction = Fraction(speed).limit_denominator(MAX_TERM) if speed > 0 else Fraction(0)
    up, down = fraction.denominator, fraction.numerator
    if not 0 < down <= MAX_TERM or abs(down / up - speed) > 1e-9 * speed:
        raise InputError(
            f"speed factor {speed:.10g} is no ratio of whole numbers up to {MAX_TERM}; "
            "use one such as 0.9 or 1.1, or --speed_on cpu"
        )
    return up, down


def output_length(num_samples: int, up: int, down: int) -> int:
    """Samples after resampling by up / down: rounded, half up, as soxr's."""
    return (2 * num_samples * up + down) // (2 * down)


@cache
def kernel(up: int, down: int) -> tuple[np.ndarray, int]:
    """(float64 (taps, up), reach): column p has the weights of inputs −reach … taps−reach−1 for phase p.

    The transition from 1 to −ATTENUATION dB ends at the lower Nyquist frequency; its width is what a Kaiser
    window of CROSSINGS crossings gives (Kaiser's formula).
    """
    scale = min(1.0, up / down)  # lower Nyquist frequency, as a share of the input's
    transition = (ATTENUATION - 8) / (2.285 * 2 * CROSSINGS * math.pi)
    cutoff = scale * (1 - transition / 2)
    beta = 0.1102 * (ATTENUATION - 8.7)
    width = CROSSINGS / scale  # half the window, in input samples
    reach = math.ceil(width)
    # Phase p of a period of `down` inputs and `up` outputs lies at input p·down/up.
    positions = np.arange(up) * down / up
    offsets = np.arange(-reach, reach + down + 1)[:, None] - positions[None, :]
    inside = np.clip(1 - (offsets / width) ** 2, 0, None)
    window = np.where(np.abs(offsets) <= width, np.i0(beta * np.sqrt(inside)) / np.i0(beta), 0)
    return cutoff * np.sinc(cutoff * offsets) * window, reach


def change_speed(samples: np.ndarray, speed: float, device: str = "cpu") -> np.ndarray:
    """Samples (n,) float32 → (`output_length`,) float32, `speed` times as fast and as high.

    Beyond the ends the signal is 0. The result does not depend on what else is resampled.

    Raises:
        InputError: a factor that is no small ratio.
    """
    import torch

    up, down = ratio(float(speed))
    if up == down:
        return samples
    length = output_length(len(samples), up, down)
    weights, reach = kernel(up, down)
    periods = math.ceil(length / up)
    padded = torch.zeros((periods - 1) * down + len(weights), dtype=torch.float64, device=device)
    used = min(len(samples), len(padded) - reach)
    padded[reach : reach + used] = torch.from_numpy(samples[:used]).to(device).double()
    frames = padded.unfold(0, len(weights), down)  # (periods, taps), a view
    matrix = torch.from_numpy(weights).to(device)
    parts = [block @ matrix for block in frames.split(BLOCK)]
    return torch.cat(parts).flatten()[:length].float().cpu().numpy()
