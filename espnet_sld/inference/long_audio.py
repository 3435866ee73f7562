"""Long recordings cut at their pauses, so that every piece fits the model's positions."""

import numpy as np

from espnet_sld.errors import InputError

FRAME, SHIFT = 0.025, 0.01  # seconds
BLOCK = 6000  # frames whose energies are computed at once
FLOOR = -90.0  # dB, of digital silence
SILENCE = -60.0  # dB of full scale: in a recording without contrast what is quieter than this is no speech
CONTRAST = 6.0  # dB between loud and quiet frames, below which nothing tells speech from noise
KEPT = 0.3  # seconds of a pause that stay at each side of a piece
LEAST = 0.1  # seconds, of what a user may ask for


def longest_piece(asked: float | None, otherwise: float) -> float:
    """Seconds of the longest piece: what was asked for, or `otherwise` if nothing was.

    Raises:
        InputError: less than 0.1 s was asked for.
    """
    if asked is None:
        return otherwise
    if not asked >= LEAST:
        raise InputError(f"segments of {asked} s: must be at least {LEAST} s")
    return asked


def energies(wave: np.ndarray, rate: int) -> np.ndarray:
    """Energy of each frame in dB of full scale, float64 (frames,): 25 ms every 10 ms, the mean removed."""
    shift, window = round(SHIFT * rate), round(FRAME * rate)
    number = max(1, (len(wave) - window) // shift + 1)
    mean, power = wave.mean(dtype=np.float64), np.empty(number)
    for first in range(0, number, BLOCK):  # float64 copies of hours would take gigabytes
        starts = np.arange(first, min(first + BLOCK, number)) * shift
        ends = np.minimum(starts + window, len(wave))
        centred = wave[starts[0] : ends[-1]].astype(np.float64) - mean
        sums = np.concatenate([[0.0], np.cumsum(centred**2)])
        energy = sums[ends - starts[0]] - sums[starts - starts[0]]
        power[first : first + len(starts)] = energy / np.maximum(ends - starts, 1)
    return 10 * np.log10(np.maximum(power, 10 ** (FLOOR / 10)))


def speech_frames(levels: np.ndarray) -> np.ndarray:
    """Which frames are louder than the pauses, bool (frames,): 30 % of the way from quiet to loud, in dB.

    Where nearly all is alike, that is noise or speech throughout, or a silence in which little may be said.
    """
    quiet, loud = np.percentile(levels, [10, 95])
    if loud - quiet < CONTRAST:
        return np.ones(len(levels), bool) if loud > SILENCE else levels > SILENCE
    return levels > quiet + 0.3 * (loud - quiet)


def split_at_pauses(wave: np.ndarray, rate: int, max_seconds: float) -> list[tuple[int, int]]:
    """Pieces (first sample, end) of at most `max_seconds`, in order, that hold all speech of a recording.

    A cut lies in the middle of the longest pause of the last two thirds of what fits, or at the quietest
    place where there is no pause; no piece is shorter than a third of `max_seconds` but for trimmed pauses.
    Of a pause at the ends of a piece 0.3 s are kept; pieces without speech are left out.

    Args:
        wave: (n,) float32.
        max_seconds: at least 0.1.
    """
    if max_seconds < 0.1:
        raise ValueError(f"max_seconds is {max_seconds}: pieces must be at least 0.1 s long")
    limit, shift = int(max_seconds * rate), round(SHIFT * rate)
    levels = energies(wave, rate)
    speech = speech_frames(levels)
    pieces, start = [], 0
    while len(wave) - start > limit:
        # whatever is left is at least a third of the limit, too
        low, high = start + limit // 3, min(start + limit, len(wave) - limit // 3)
        first, last = min(low // shift, len(levels) - 1), min(high // shift, len(levels))
        place = first + _best_cut(levels[first:last], speech[first:last])
        cut = min(max(place * shift + round(FRAME * rate) // 2, low), high)
        pieces.append((start, cut))
        start = cut
    pieces.append((start, len(wave)))
    trimmed = (_trim(piece, speech, shift, round(KEPT * rate)) for piece in pieces)
    return [piece for piece in trimmed if piece is not None]


def _best_cut(levels: np.ndarray, speech: np.ndarray) -> int:
    """The middle of the longest run without speech, else the quietest 50 ms."""
    quiet = np.concatenate([[False], ~speech, [False]])
    edges = np.flatnonzero(quiet[1:] != quiet[:-1]).reshape(-1, 2)
    if len(edges):
        first, end = edges[np.argmax(edges[:, 1] - edges[:, 0])]
        return int(first + end) // 2
    return int(np.argmin(np.convolve(levels, np.ones(5), mode="same")[: len(levels)])) if len(levels) else 0


def _trim(piece: tuple[int, int], speech: np.ndarray, shift: int, kept: int) -> tuple[int, int] | None:
    """The piece with at most `kept` samples of pause at its ends; None without speech."""
    start, end = piece
    inside = np.flatnonzero(speech[start // shift : -(-end // shift)])
    if not len(inside):
        return None
    first = (start // shift + inside[0]) * shift
    last = (start // shift + inside[-1] + 1) * shift
    return max(start, first - kept), min(end, last + kept)
