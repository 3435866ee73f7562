"""Peak memory of a call, beyond what was held before it."""

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak_bytes(function: Callable[[], Any], device: str = "cpu") -> int:
    """Bytes that `function` held at most at a time: of the allocator on a GPU, of the process on Linux.

    Raises:
        OSError: the process's peak cannot be reset here (not Linux, or a container that forbids it).
    """
    if device != "cpu":
        import torch

        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        function()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    ctypes.CDLL(None).malloc_trim(0)  # what was freed before must not hide what is used now
    RESET.write_text("5")
    before = _kilobytes("VmRSS")
    function()
    return max(0, _kilobytes("VmHWM") - before) * 1024


def _kilobytes(name: str) -> int:
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(name + ":"))
    return int(line.split()[1])
