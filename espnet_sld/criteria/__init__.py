"""Losses as pure torch modules: they return sums and counts, so that any accumulation is exact.

Names load on first use; nothing of tasks, corpora or Hugging Face is imported here.
"""

from espnet_sld.lazy import loader

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
__getattr__ = loader(__name__, _EXPORTS)
