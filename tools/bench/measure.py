"""What every row shares: paired timing, the record that is written, the machine, and the limit.

Times are CPU seconds of this process. The rows run on one thread, so on an idle machine these are the
wall seconds, and on a busy one they are not disturbed by what else runs. On a GPU they are wall seconds
until it has finished.
"""

import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import Any, NamedTuple

import numpy as np


@dataclass(frozen=True)
class Row:
    """One line of the table and one object of `results.json`.

    Attributes:
        step: row id. peer: what a user would run otherwise, or the allowance where there is no peer.
        ours, peer_value: medians, in `unit`.
        ratio, bar: measured and wanted; larger is better (for a cost: peer or allowed cost ÷ ours).
        ratio_range: lowest and highest ratio of the pairs.
        limit_share: share of the measured peak that the counted work reaches, 0–1; None = not computed.
        peak_bytes: of ours; None = not measured.
        description: sizes, what was checked to be equal, what is scaled down.
    """

    step: str
    peer: str
    ours: float
    peer_value: float
    unit: str
    ratio: float
    ratio_range: tuple[float, float]
    bar: float
    limit_share: float | None
    peak_bytes: int | None
    machine: str
    description: str


class Pairs(NamedTuple):
    """Measured values of repeats, pair by pair."""

    ours: list[float]
    peer: list[float]


def now(device: str = "cpu") -> float:
    """Seconds: of this process's CPU, or on a GPU of the wall once all its work is done."""
    if device == "cpu":
        return time.process_time()
    import torch

    torch.cuda.synchronize()
    return time.perf_counter()


def time_pairs(ours: Callable[[], Any], peer: Callable[[], Any], repeats: int, device: str = "cpu") -> Pairs:
    """Seconds of both (see `now`), alternately, each going first in turn; warm them up before."""
    pairs = Pairs([], [])
    for repeat in range(repeats):
        order = [(ours, pairs.ours), (peer, pairs.peer)]
        for function, seconds in order if repeat % 2 == 0 else reversed(order):
            start = now(device)
            function()
            seconds.append(now(device) - start)
    return pairs


def cost_row(step: str, peer: str, pairs: Pairs, *, unit: str, scale: float = 1.0, **rest: Any) -> Row:
    """Row of a cost in seconds, shown times `scale`: ratio = peer ÷ ours."""
    own, theirs = (scale * statistics.median(seconds) for seconds in pairs)
    return _row(step, peer, (own, theirs), unit, theirs / own, _ratios(pairs), rest)


def rate_row(step: str, peer: str, pairs: Pairs, *, items: int, unit: str, **rest: Any) -> Row:
    """Row of a rate, `items` ÷ seconds: ratio = ours ÷ peer."""
    own, theirs = (items / statistics.median(seconds) for seconds in pairs)
    return _row(step, peer, (own, theirs), unit, own / theirs, _ratios(pairs), rest)


def allowance_row(
    step: str, peer: str, ours: list[float], peer_value: float, allowed: float, *, unit: str, **rest: Any
) -> Row:
    """Row of a cost that may be `allowed` at most: ratio = allowed ÷ ours, bar 1."""
    own = statistics.median(ours)
    ratios = [allowed / value for value in ours]
    return _row(step, peer, (own, peer_value), unit, allowed / own, ratios, {"bar": 1.0, **rest})


def _ratios(pairs: Pairs) -> list[float]:
    return [theirs / own for own, theirs in zip(*pairs, strict=True)]


def _row(
    step: str,
    peer: str,
    values: tuple[float, float],
    unit: str,
    ratio: float,
    ratios: list[float],
    rest: dict[str, Any],
) -> Row:
    rest = dict(rest)
    defaults = {"limit_share": None, "peak_bytes": None, "machine": machine(rest.pop("device", "cpu"))}
    span = (min(ratios), max(ratios))
    return Row(step, peer, *map(float, values), unit, ratio, span, **{**defaults, **rest})


def require(condition: bool, message: str) -> None:
    """Ours and the peer must give the same result, else no figure.

    Raises:
        AssertionError: they do not.
    """
    if not condition:
        raise AssertionError(message)


@cache
def machine(device: str = "cpu") -> str:
    """Processor or GPU, threads and the versions that matter."""
    if device != "cpu":
        import torch

        versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "numpy"))
        return f"{torch.cuda.get_device_name()}; CUDA {torch.version.cuda}; {versions}"
    packages = ("torch", "transformers", "numpy", "scikit-learn", "jiwer")
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    number = os.environ.get("OMP_NUM_THREADS", "all")
    threads = f"{number} thread{'' if number == '1' else 's'}"
    return f"{_processor()}; {threads}; Python {platform.python_version()}, {versions}"


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as stream:
            names = [line.split(":", 1)[1].strip() for line in stream if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


@cache
def peak_flops(device: str = "cpu", half: bool = False) -> float:
    """Highest rate of a large product, in FLOP/s: float32 on one CPU thread, or measured on the GPU.

    On a CPU: a product of 1024, the best of five by NumPy and by torch.
    """
    import torch

    if device != "cpu":
        from espnet_sld.models.flops import measured_peak

        return measured_peak(device, torch.bfloat16 if half else torch.float32)
    left = np.ones((1024, 1024), dtype=np.float32)
    best = float("inf")
    for matrix in (left, torch.from_numpy(left)) * 5:
        start = time.process_time()
        matrix @ matrix
        best = min(best, time.process_time() - start)
    return 2 * 1024**3 / best


def limit_share(flops: float, seconds: float, device: str = "cpu", dtype: Any = None) -> float:
    """Share of `peak_flops` that `flops` counted operations in `seconds` reach."""
    return flops / (peak_flops(device, dtype is not None and dtype.itemsize == 2) * seconds)
