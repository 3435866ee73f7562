"""Dropout that costs half as much on a CPU."""

import torch
from torch import Tensor

LEVELS = 1 << 16


def fast_dropout(values: Tensor, probability: float) -> Tensor:
    """Training-time dropout; on a CPU the probability is rounded to 1/65536.

    torch draws a whole Bernoulli variate an element there (7 % of a small model's step); here one 64-bit
    draw serves four elements.
    """
    if values.device.type != "cpu":
        return torch.nn.functional.dropout(values, probability)
    number = values.numel()
    draws = torch.empty((number + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    levels = draws.view(torch.int16)[:number].view(values.shape)  # uniform in -32768 … 32767
    keep = levels >= round(probability * LEVELS) - LEVELS // 2
    return values * keep.to(values.dtype).mul_(1 / (1 - probability))
