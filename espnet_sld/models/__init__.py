"""Plain torch modules: a causal language model over joint tokens, and what surrounds it. No ESPnet.

Names load on first use, since transformers takes seconds to import.
"""

import importlib
from typing import Any

_EXPORTS = {
    "DecoderOnlyLM": "decoder_only",
    "build_backbone": "backbone",
    "build_decoder_only": "build",
    "extend_vocabulary": "vocabulary",
    "mask_generator": "masking",
    "mask_inputs": "masking",
}
__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_EXPORTS[name]}"), name)
