"""Device and arithmetic of a front-end that runs a model."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from espnet_sld.errors import InputError
from espnet_sld.units.devices import find_device

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}
PRECISIONS = ("fp32", "tf32", *AUTOCAST)


class Arithmetic:
    """Float32 in full unless another precision is asked for by name.

    On a GPU fp32 turns TF32 off, also for convolutions, where torch has it on by default; tf32 turns it on
    for both. bf16 and fp16 are autocast: about 0.5 % of units differ from fp32's.

    Args:
        device: torch device.
        precision: fp32 | tf32 | bf16 | fp16.

    Raises:
        InputError: no such device or precision, or tf32 where there is no GPU.
    """

    def __init__(self, device: str, precision: str):
        self.device = find_device(device)
        if precision not in PRECISIONS:
            raise InputError(f"precision '{precision}' must be one of {' '.join(PRECISIONS)}")
        if precision == "tf32" and self.device.type != "cuda":
            raise InputError("precision tf32 exists on GPUs only; give fp32, or device cuda")
        self.precision = precision

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """No gradients, this precision; torch's settings are as before afterwards."""
        backends = (torch.backends.cuda.matmul, torch.backends.cudnn.conv)
        before = [backend.fp32_precision for backend in backends]
        try:
            for backend in backends:
                backend.fp32_precision = "tf32" if self.precision == "tf32" else "ieee"
            kind = AUTOCAST.get(self.precision)
            with torch.inference_mode(), torch.autocast(self.device.type, kind, enabled=kind is not None):
                yield
        finally:
            for backend, value in zip(backends, before, strict=True):
                backend.fp32_precision = value
