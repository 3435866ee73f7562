"""Attention as JSON: what `bin.attention` leaves in an experiment directory, and the page reads."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from espnet_sld.errors import InputError
from espnet_sld.files import read_json

NAME = "attention.json"
KEYS = {"utterance", "text", "speech", "layers", "mean", "max", "scale", "on_speech"}


def packed(
    utterance: str,
    text: Sequence[str],
    speech: Sequence[str],
    mean: np.ndarray,
    largest: np.ndarray,
    on_speech: np.ndarray,
) -> dict[str, Any]:
    """JSON values of one utterance: each layer's (T, S) weights as 256 steps up to its largest, base64.

    Args:
        text, speech: names of the T text and S speech tokens.
        mean, largest: (L, T, S) over heads. on_speech: (L, T).
    """
    layers = {"mean": mean, "max": largest}
    scale = {kind: weights.max(axis=(1, 2)) for kind, weights in layers.items()}
    steps = {
        kind: np.rint(255 * weights / np.maximum(scale[kind], 1e-9)[:, None, None]).astype(np.uint8)
        for kind, weights in layers.items()
    }
    return {
        "utterance": utterance,
        "text": list(text),
        "speech": list(speech),
        "layers": len(mean),
        **{kind: [base64.b64encode(layer.tobytes()).decode() for layer in steps[kind]] for kind in layers},
        "scale": {kind: [round(float(value), 6) for value in scale[kind]] for kind in layers},
        "on_speech": [[round(float(value), 4) for value in layer] for layer in on_speech],
    }


def read_attention(directory: Path, max_bytes: int) -> list[dict[str, Any]]:
    """Utterances with their matrices, as many as `max_bytes` hold; empty without the file.

    Raises:
        InputError: the file is of another layout.
    """
    path = directory / NAME
    if not path.is_file():
        return []
    values = read_json(path).get("utterances")
    if not isinstance(values, list) or not all(set(item) >= KEYS for item in values):
        raise InputError(f"{path}: not written by espnet_sld.bin.attention; run that again, or delete it")
    kept, room = [], max_bytes
    for item in values:
        room -= sum(len(matrix) for kind in ("mean", "max") for matrix in item[kind])
        if room < 0:
            break
        kept.append(item)
    return kept
