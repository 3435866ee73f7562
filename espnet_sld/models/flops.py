"""How much a model computes: FLOPs of a batch, and the peak that makes them a utilisation (MFU)."""

import time
from collections.abc import Iterable

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from espnet_sld.models.decoder_only import DecoderOnlyLM


class FlopCounter:
    """FLOPs by formula, one multiply-add = 2.

    Forward: 2 · (weights of all linear layers in the blocks) per token · 2·D·V per target (the output
    projection is made for targets only) · 2·d_attention·L² per layer and sequence of L tokens (scores and
    values, causal half). Backward: twice that. Norms, activations and the softmax are left out, as usual.
    """

    def __init__(self, model: DecoderOnlyLM):
        output = model.output_matrix()
        self.linear = sum(
            m.weight.numel()
            for m in model.modules()
            if isinstance(m, nn.Linear | Conv1D) and m.weight is not output
        )
        config = model.backbone.config
        heads = config.num_attention_heads
        head_size = getattr(config, "head_dim", None) or config.hidden_size // heads
        self.attention = config.num_hidden_layers * heads * head_size
        self.output = output.numel()

    def forward(self, lengths: Iterable[int], targets: int) -> float:
        """FLOPs of one forward pass over sequences of `lengths` tokens with `targets` output projections."""
        lengths = [int(length) for length in lengths]
        squares = sum(length * length for length in lengths)
        return 2.0 * (self.linear * sum(lengths) + self.attention * squares + self.output * targets)

    def training(self, lengths: Iterable[int], targets: int) -> float:
        """FLOPs of a forward and a backward pass."""
        return 3.0 * self.forward(lengths, targets)


def measured_peak(
    device: torch.device | str, dtype: torch.dtype = torch.float32, seconds: float = 0.2
) -> float:
    """FLOP/s of this device at a large matrix product: the denominator of an estimated MFU."""
    device = torch.device(device)
    size = 8192 if device.type == "cuda" else 768
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    best, stop = 0.0, time.perf_counter() + seconds
    for trial in range(50):
        started = time.perf_counter()
        left @ right
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        taken = time.perf_counter() - started
        if trial:
            best = max(best, 2.0 * size**3 / taken)
        if trial > 1 and time.perf_counter() > stop:
            break
    return best
