"""How far synthesised speech is from the recording: log-mel spectra compared along a time alignment.

Dynamic time warping (Sakoe & Chiba 1978; steps (1, 0), (0, 1), (1, 1), each cell's cost counted once) aligns
the two sequences by their mel cepstra; distances are means over the aligned pairs.

Mel cepstral distortion here: (10 / ln 10) · √(2 Σ_{d=1}^{13} (c_d − c'_d)²) in dB (Kubichek 1993), c the
cosine coefficients of the natural log of the mel powers (see `cepstra`); c_0, the level, is left out. It is
the root mean square, over the bands, of the difference in dB of two spectra that have no other coefficients.
Figures of other mel filters or analyses are not comparable with these.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from espnet_sld.errors import InputError

ORDER = 13
DECIBEL = 10.0 / np.log(10.0)


@dataclass(frozen=True)
class Distance:
    """Two utterances compared; distances are means over the `pairs` that the alignment has.

    Attributes:
        mcd_db: mel cepstral distortion.
        mel_db: absolute difference of the mel magnitudes in dB, mean over bands.
        pairs: length of the alignment.
        ref_frames, hyp_frames: frames of each.
    """

    mcd_db: float
    mel_db: float
    pairs: int
    ref_frames: int
    hyp_frames: int


def cepstra(log_mel: np.ndarray, order: int = ORDER) -> np.ndarray:
    """Power cepstra c_1 … c_order of natural-log mel magnitudes S: (T, M) → (T, order), float64.

    ln S(m)² ≈ c_0 + 2 Σ_d c_d cos(πd(m + ½)/M), hence c_d = (1/M) Σ_m ln S(m)² cos(πd(m + ½)/M).
    """
    bands = log_mel.shape[1]
    angles = np.pi * np.outer(np.arange(1, order + 1), np.arange(bands) + 0.5) / bands
    return 2.0 * log_mel.astype(np.float64) @ np.cos(angles).T / bands


def align(cost: np.ndarray) -> np.ndarray:
    """Dynamic time warping over a cost matrix (T, U): the pairs (P, 2) of the cheapest path."""
    rows, columns = cost.shape
    total = np.full((rows + 1, columns + 1), np.inf)
    total[0, 0] = 0.0
    for diagonal in range(2, rows + columns + 1):  # cells of one anti-diagonal do not depend on each other
        i = np.arange(max(1, diagonal - columns), min(rows, diagonal - 1) + 1)
        j = diagonal - i
        before = np.minimum(np.minimum(total[i - 1, j], total[i, j - 1]), total[i - 1, j - 1])
        total[i, j] = cost[i - 1, j - 1] + before
    i, j = rows, columns
    path = [(i - 1, j - 1)]
    while (i, j) != (1, 1):
        i, j = min(((i - 1, j - 1), (i - 1, j), (i, j - 1)), key=lambda cell: total[cell])
        path.append((i - 1, j - 1))
    return np.array(path[::-1])


def distance(reference: np.ndarray, synthesised: np.ndarray) -> Distance:
    """Compare two natural-log mel magnitude spectra (T, M) and (U, M).

    Raises:
        InputError: one is empty, or they have different numbers of bands.
    """
    if not len(reference) or not len(synthesised) or reference.shape[1] != synthesised.shape[1]:
        raise InputError(f"spectra of shapes {reference.shape} and {synthesised.shape} cannot be compared")
    ours, theirs = cepstra(reference), cepstra(synthesised)
    squares = (ours**2).sum(axis=1)[:, None] + (theirs**2).sum(axis=1)[None] - 2 * ours @ theirs.T
    distortion = DECIBEL * np.sqrt(2 * np.maximum(squares, 0.0))
    pairs = align(distortion)
    # 20 log10 of magnitudes: twice the factor of powers
    bands = np.abs(reference[pairs[:, 0]].astype(np.float64) - synthesised[pairs[:, 1]])
    return Distance(
        mcd_db=float(distortion[pairs[:, 0], pairs[:, 1]].mean()),
        mel_db=float(2 * DECIBEL * bands.mean()),
        pairs=len(pairs),
        ref_frames=len(reference),
        hyp_frames=len(synthesised),
    )


def report(pairs: Iterable[tuple[str, np.ndarray, np.ndarray]]) -> dict[str, float | int]:
    """Distances of a set: (utterance, recording's, synthesised speech's) natural-log mel spectra.

    Returns:
        `mcd_db` and `mel_db`, means over all aligned pairs of frames; `speech_length_ratio`, synthesised over
        recorded frames; `compared` utterances.

    Raises:
        InputError: there is no pair, or one cannot be compared (named).
    """
    found = []
    for utterance, recorded, synthesised in pairs:
        try:
            found.append(distance(recorded, synthesised))
        except InputError as error:
            raise InputError(f"utterance {utterance}: {error}") from None
    if not found:
        raise InputError("no utterance to compare")
    total = sum(item.pairs for item in found)
    return {
        "mcd_db": round(sum(item.mcd_db * item.pairs for item in found) / total, 4),
        "mel_db": round(sum(item.mel_db * item.pairs for item in found) / total, 4),
        "speech_length_ratio": round(
            sum(item.hyp_frames for item in found) / sum(item.ref_frames for item in found), 4
        ),
        "compared": len(found),
    }
