"""Layers as functions of their tensors, for forwards without autograd.

A module's call and look-ups cost as much as a small product; these hold references to the parameters.
"""

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

Unary = Callable[[Tensor], Tensor]


def affine(weight: Tensor, bias: Tensor | None) -> Unary:
    """x (…, D) ↦ x·Wᵀ + b by a weight (E, D), as a linear layer has it, and a bias (E,)."""
    return lambda x: F.linear(x, weight, bias)


def linear(module: nn.Linear) -> Unary:
    """`affine` by a layer's tensors."""
    return affine(module.weight, module.bias)


def layer_norm(module: nn.LayerNorm) -> Unary:
    """Over the module's last dimensions."""
    shape, weight, bias, eps = module.normalized_shape, module.weight, module.bias, module.eps
    return lambda x: F.layer_norm(x, shape, weight, bias, eps)
