"""Batched generation from a decoder-only model, and what decoding a test set needs. No ESPnet.

Names load on first use, since transformers takes seconds to import.
"""

import importlib
from typing import Any

_EXPORTS = {
    "Hypothesis": "hypothesis",
    "LengthBound": "length_bound",
    "TrainedModel": "checkpoint",
    "decode_batches": "batching",
    "decode_set": "decoding",
    "generate": "search",
    "load_checkpoint": "checkpoint",
}
__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_EXPORTS[name]}"), name)
