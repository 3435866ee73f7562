"""Torch devices by name. Whatever needs the CPU alone loads no torch."""

from typing import TYPE_CHECKING

from espnet_sld.errors import InputError

if TYPE_CHECKING:
    import torch


def find_device(name: str) -> "torch.device":
    """The torch device of that name. Raises InputError if there is none."""
    import torch

    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f"no device '{name}'; give cpu, cuda or cuda:N") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device {name}: torch sees no GPU; give cpu, or --ngpu 0 to a recipe")
    return device


def check_device(name: str) -> None:
    """Raise InputError if there is no such device: now, not after a pass over the data."""
    if name != "cpu":
        find_device(name)
