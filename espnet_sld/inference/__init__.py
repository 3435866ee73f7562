"""Batched generation from a decoder-only model, decoding of test sets, packed models, raw audio. No ESPnet.

Names load on first use, since transformers takes seconds to import.
"""

from espnet_sld.lazy import loader

_EXPORTS = {
    "Hypothesis": "hypothesis",
    "LengthBound": "length_bound",
    "Pack": "unpack",
    "Speech2Text": "speech2text",
    "TrainedModel": "checkpoint",
    "decode_batches": "batching",
    "decode_set": "decoding",
    "export_lm": "export_hf",
    "generate": "search",
    "greedy_ctc": "ctc_greedy",
    "load_checkpoint": "checkpoint",
    "pack_model": "pack",
    "pack_tokenizer": "pack",
}
__all__ = sorted(_EXPORTS)
__getattr__ = loader(__name__, _EXPORTS)
