"""Losses as pure torch modules: they return sums and counts, so that any accumulation is exact.

Names load on first use; nothing of tasks, corpora or Hugging Face is imported here.
"""

from espnet_sld.lazy import loader

_EXPORTS = {
    "CRITERIA": "base",
    "Criterion": "base",
    "DistillationCriterion": "distillation",
    "ModalityCriterion": "modality",
    "Part": "base",
    "build_criterion": "base",
    "build_distillation": "distillation",
    "forced_alignment": "alignment",
    "SpeechTextCriterion": "speech_text",
    "matched_smoothing": "smoothing",
    "peak_frames": "alignment",
    "smoothed_label": "smoothing",
    "speech_text_losses": "plain",
}
__all__ = sorted(_EXPORTS)
__getattr__ = loader(__name__, _EXPORTS)
