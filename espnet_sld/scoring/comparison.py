"""Two decodings of one set, sentence by sentence: a statement about two trained models."""

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from espnet_sld.errors import InputError
from espnet_sld.files import write_json
from espnet_sld.scoring.result import read_utterance_errors
from espnet_sld.scoring.significance import compare_models, verdict


def compare_sets(
    first: str | os.PathLike,
    second: str | os.PathLike,
    *,
    margin: float = 0.5,
    resamples: int = 10_000,
    seed: int = 0,
) -> dict[str, Any]:
    """Compare two scored set directories (`…/<decode_tag>/<set>`); JSON values.

    Raises:
        InputError: one is not scored, or their utterances or references differ.
    """
    one, other = (read_utterance_errors(Path(path) / "per_utterance.tsv") for path in (first, second))
    if one.utterances != other.utterances or not np.array_equal(one.words, other.words):
        raise InputError(
            f"{second}: other utterances or references than in {first}; give decodings of the same set"
        )
    difference = compare_models(one.errors, other.errors, one.words, resamples=resamples, seed=seed)
    total = one.words.sum()
    return {
        "first": str(first),
        "second": str(second),
        "wer_first": 100.0 * float(one.errors.sum() / total),
        "wer_second": 100.0 * float(other.errors.sum() / total),
        "first_has_fewer_errors": int((one.errors < other.errors).sum()),
        "second_has_fewer_errors": int((one.errors > other.errors).sum()),
        "margin": margin,
        "verdict": verdict(difference, difference.p, margin),
        **asdict(difference),
    }


def render_comparison(comparison: dict[str, Any]) -> str:
    """A few lines for the terminal, the limits of the statement included."""
    low, high = comparison["interval95"]
    bound = "≤" if comparison["p_is_bound"] else "="
    return "\n".join(
        (
            f"first:   WER {comparison['wer_first']:.2f} %  {comparison['first']}",
            f"second:  WER {comparison['wer_second']:.2f} %  {comparison['second']}",
            f"ΔWER (first − second): {comparison['delta']:+.2f} points, "
            f"95 % interval [{low:+.2f}, {high:+.2f}], p {bound} {comparison['p']:.4f}, "
            f"{comparison['utterances']} utterances, {comparison['words']} words",
            f"fewer errors: first in {comparison['first_has_fewer_errors']} utterances, "
            f"second in {comparison['second_has_fewer_errors']}",
            f"the first model is: {comparison['verdict']}",
            f"This is about {comparison['about']}.",
        )
    )


def write_comparison(path: str | os.PathLike, comparison: dict[str, Any]) -> None:
    """Write it as JSON, atomically."""
    write_json(path, comparison, allow_nan=False)
