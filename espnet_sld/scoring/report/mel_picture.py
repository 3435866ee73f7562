"""Mel spectrograms as pictures: numpy to an indexed PNG, inside an SVG with seconds and hertz at its axes."""

import base64
import math
import struct
import zlib
from collections.abc import Sequence
from html import escape

import numpy as np

from espnet_sld.scoring.report.charts import format_tick, round_ticks

RATE = 16000  # Hz
WINDOW, FFT, HOP = 400, 512, 160  # samples: 25 ms every 10 ms
BANDS = 80
COLUMNS = 600  # most frames of a picture: a longer recording has fewer a second
RANGE = 70.0  # dB below the loudest cell that are told apart
SHADES = 64  # fewer compress better, and look no different
HERTZ = (0, 500, 1000, 2000, 4000, 8000)
WIDTH, LEFT, RIGHT, TOP, PANEL, GAP, BOTTOM = 420, 58, 8, 18, 104, 24, 36
# Anchors of a colour map that is dark at the floor, bright at the top, and rises evenly in lightness.
ANCHORS = (
    (10, 8, 30),
    (59, 15, 112),
    (114, 31, 129),
    (183, 55, 121),
    (241, 96, 93),
    (254, 159, 109),
    (252, 253, 191),
)


def mel_decibels(samples: np.ndarray, rate: int = RATE) -> np.ndarray:
    """Samples (n,) → (frames, BANDS) float32 dB below the loudest cell, −RANGE … 0.

    Power spectra (Hann window) through triangles that are equally spaced on O'Shaughnessy's mel scale,
    2595 log10(1 + f/700), from 0 Hz to half the rate.
    """
    samples = np.asarray(samples, np.float32)
    hop = max(HOP, math.ceil(len(samples) / COLUMNS))
    padded = np.pad(samples, (WINDOW // 2, max(WINDOW - len(samples) % hop, WINDOW // 2)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[: len(samples) + 1 : hop]
    power = np.abs(np.fft.rfft(frames * np.hanning(WINDOW + 1)[:-1].astype(np.float32), FFT)) ** 2
    mel = power.astype(np.float32) @ filters(rate).T
    level = 10.0 * np.log10(np.maximum(mel, 1e-12))
    return np.maximum(level - level.max(), -RANGE).astype(np.float32)


def filters(rate: int = RATE) -> np.ndarray:
    """Triangles (BANDS, FFT/2 + 1), each with a largest weight of about 1."""
    edges = to_hertz(np.linspace(0.0, to_mel(rate / 2), BANDS + 2))
    bins = np.arange(FFT // 2 + 1) * rate / FFT
    rising = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    # a triangle between two bins of the transform: the nearest bin stands for it
    for band in np.flatnonzero(triangles.max(axis=1) < 1e-3):
        triangles[band, np.abs(bins - edges[band + 1]).argmin()] = 1.0
    return triangles.astype(np.float32)


def to_mel(hertz: float) -> float:
    """O'Shaughnessy's mel scale."""
    return 2595.0 * math.log10(1.0 + hertz / 700.0)


def to_hertz(mel: np.ndarray) -> np.ndarray:
    """Its inverse."""
    return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)


def png(levels: np.ndarray) -> bytes:
    """An indexed PNG of levels in −RANGE … 0, (frames, bands): time to the right, frequency upwards."""
    shades = np.rint((levels.T[::-1] + RANGE) / RANGE * (SHADES - 1)).astype(np.uint8)
    height, width = shades.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), shades], axis=1)  # filter type 0 before each row

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0))
        + chunk(b"PLTE", palette().tobytes())
        + chunk(b"IDAT", zlib.compress(rows.tobytes(), 9))
        + chunk(b"IEND", b"")
    )


def palette() -> np.ndarray:
    """(SHADES, 3) uint8 between the anchors."""
    anchors = np.array(ANCHORS, float)
    at = np.linspace(0, len(anchors) - 1, SHADES)
    channels = [np.interp(at, np.arange(len(anchors)), channel) for channel in anchors.T]
    return np.rint(np.stack(channels, axis=1)).astype(np.uint8)


def mel_svg(sounds: Sequence[tuple[str, np.ndarray]], described: str) -> str:
    """One panel for each (name, samples) under each other, on the same time axis."""
    longest = max([len(samples) for _, samples in sounds] + [1]) / RATE
    per_second = (WIDTH - LEFT - RIGHT) / longest
    parts, top = [], TOP
    for name, samples in sounds:
        width = max(len(samples) / RATE * per_second, 1.0)
        address = base64.b64encode(png(mel_decibels(samples))).decode()
        parts.append(
            f"<text class=label x={LEFT} y={top - 5}>{escape(name)}, {len(samples) / RATE:.2f} s</text>"
        )
        parts.append(
            f'<image href="data:image/png;base64,{address}" x={LEFT} y={top} width={width:.1f} '
            f"height={PANEL} preserveAspectRatio=none></image>"
        )
        for hertz in HERTZ:
            at = top + PANEL * (1 - to_mel(hertz) / to_mel(RATE / 2))
            parts.append(f"<line class=axis x1={LEFT - 3} x2={LEFT} y1={at:.1f} y2={at:.1f}></line>")
            if hertz != 500:  # no room for its number
                parts.append(f"<text x={LEFT - 6} y={at + 4:.1f} text-anchor=end>{format_tick(hertz)}</text>")
        parts.append(
            f"<line class=axis x1={LEFT} x2={WIDTH - RIGHT} y1={top + PANEL} y2={top + PANEL}></line>"
        )
        top += PANEL + GAP
    bottom = top - GAP
    for second in round_ticks(0.0, longest):
        at = LEFT + second * per_second
        parts.append(f"<line class=axis x1={at:.1f} x2={at:.1f} y1={bottom} y2={bottom + 4}></line>")
        parts.append(f"<text x={at:.1f} y={bottom + 15} text-anchor=middle>{format_tick(second)}</text>")
    height = bottom + BOTTOM
    across, middle = (LEFT + WIDTH - RIGHT) / 2, (TOP + bottom) / 2
    parts.append(f"<text class=label x={across:.0f} y={height - 5} text-anchor=middle>seconds</text>")
    parts.append(
        f'<text class=label transform="translate(11 {middle:.0f}) rotate(-90)" text-anchor=middle>'
        "Hz, mel scale</text>"
    )
    label = escape(described, quote=True)
    return f'<svg viewBox="0 0 {WIDTH} {height}" role=img aria-label="{label}">{"".join(parts)}</svg>'
