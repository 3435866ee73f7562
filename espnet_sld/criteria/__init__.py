"""Losses as pure torch modules: they return sums and counts, so that any accumulation is exact.

Names load on first use; nothing of tasks, corpora or Hugging Face is imported here.
"""

import importlib
from typing import Any

_EXPORTS = {
    "CRITERIA": "base",
    "Criterion": "base",
    "Part": "base",
    "build_criterion": "base",
    "SpeechTextCriterion": "speech_text",
    "matched_smoothing": "smoothing",
    "smoothed_label": "smoothing",
    "speech_text_losses": "plain",
}
__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_EXPORTS[name]}"), name)
