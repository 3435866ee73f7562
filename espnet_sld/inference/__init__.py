"""Batched generation from a decoder-only model, and what decoding a test set needs. No ESPnet.

Names load on first use, since transformers takes seconds to import.
"""

from espnet_sld.lazy import loader

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
__getattr__ = loader(__name__, _EXPORTS)
