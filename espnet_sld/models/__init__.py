"""Plain torch modules: a causal language model over joint tokens, and what surrounds it. No ESPnet.

Names load on first use, since transformers takes seconds to import.
"""

from espnet_sld.lazy import loader

_EXPORTS = {
    "CtcRecogniser": "ctc",
    "DecoderOnlyLM": "decoder_only",
    "SoftLabelStore": "soft_label_store",
    "SoftLabelWriter": "soft_label_store",
    "build_backbone": "backbone",
    "build_decoder_only": "build",
    "extend_vocabulary": "vocabulary",
    "load_teacher": "teacher",
    "mask_generator": "masking",
    "mask_inputs": "masking",
    "train_teacher": "teacher_training",
}
__all__ = sorted(_EXPORTS)
__getattr__ = loader(__name__, _EXPORTS)
