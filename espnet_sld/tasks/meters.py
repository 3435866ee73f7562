"""What training logs: exact loss parts, speed, padding, estimated utilisation; read off the device rarely."""

import functools
import re
from collections.abc import Mapping, Sequence

import torch
import torch.distributed
from torch import Tensor

from espnet_sld.models.flops import FlopCounter, measured_peak

# Dense peak FLOP/s by device name: (half precision, float32 without TF32), from the vendors' data sheets.
PEAK_FLOPS = {
    "H200": (989e12, 67e12),
    "H100": (989e12, 67e12),
    "H800": (989e12, 67e12),
    "B200": (2250e12, 75e12),
    "A100": (312e12, 19.5e12),
    "A800": (312e12, 19.5e12),
    "L40S": (362e12, 91.6e12),
    "A40": (150e12, 37.4e12),
    "V100": (125e12, 15.7e12),
    "T4": (65e12, 8.1e12),
}


@functools.lru_cache
def peak_flops(device: torch.device, half: bool) -> float:
    """Peak FLOP/s of a device: from the table, else measured with one matrix product (about 0.2 s)."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        for key, (half_peak, full_peak) in PEAK_FLOPS.items():
            if re.search(rf"(?<![A-Z0-9])G?{key}(?![A-Z0-9])", name):  # GH200 too, but no RTX A4000
                return half_peak if half else full_peak
    with torch.random.fork_rng():  # training's random numbers must not depend on whether this was measured
        return measured_peak(device, torch.bfloat16 if half and device.type == "cuda" else torch.float32)


SIZES = ("tokens", "padded", "flops")
MAXIMA = ("longest_row", "bad_loss", "bad_step")
NO_SIZE = dict.fromkeys(SIZES, 0.0)


def batch_sizes(batch: Mapping[str, Tensor], counter: FlopCounter | None = None) -> dict[str, float]:
    """Real tokens, padded positions and training FLOPs (all tokens but the first are targets) of a batch."""
    lengths = batch["lengths"].tolist()
    rows, tokens = len(lengths), sum(lengths)
    flops = 0.0 if counter is None else counter.training(lengths, tokens - rows)
    return {"tokens": tokens, "padded": rows * max(lengths), "flops": flops}


class LossMeter:
    """Adds up parts' sums on the device and counts in Python; one transfer per `read`.

    Args:
        count_names: order of the counts.
        weights: part → coefficient in the loss.
        device: where the sums are.
        distributed: add up over processes in `read` (all must call it together).
    """

    def __init__(
        self,
        count_names: Sequence[str],
        weights: Mapping[str, float],
        device: torch.device,
        distributed: bool,
    ):
        self.count_names, self.weights = tuple(count_names), dict(weights)
        self.device, self.distributed = device, distributed
        self.names: list[str] = []
        self.count_of: list[str] = []
        self._sums: Tensor | None = None
        self._extra = dict.fromkeys(SIZES, 0.0)
        self._steps = 0
        self._counts = [0.0] * len(self.count_names)
        self._norm = torch.zeros((), device=device)
        self._skipped = torch.zeros((), device=device)
        self._row = torch.zeros((), device=device)
        self._longest_row = torch.zeros((), device=device)
        self._bad_loss = torch.zeros((), device=device, dtype=torch.float64)
        self._bad_step = torch.zeros((), device=device, dtype=torch.float64)
        # Of the whole epoch, in Python:
        self.total: dict[str, float] = {}

    def add(self, out: Mapping, counts: Sequence[float], sizes: Mapping[str, float], number: int = 1) -> None:
        """A micro-batch: the model's output, its share of the counts, its `batch_sizes` and number."""
        if self._sums is None:
            self.names, self.count_of = out["names"], out["count_of"]
            self._sums = torch.zeros(len(self.names), dtype=torch.float64, device=self.device)
        self._sums += out["sums"]
        self._bad_loss = torch.where(torch.isfinite(out["loss"].detach()), self._bad_loss, float(number))
        for place, count in enumerate(counts):
            self._counts[place] += count
        for name, size in sizes.items():
            self._extra[name] += size

    def add_step(self, norm: Tensor, bad: Tensor, number: int = 1) -> None:
        """An optimiser step: gradient norm, whether it was skipped (1.0) or not (0.0), its number (1, …)."""
        self._steps += 1
        self._bad_step = torch.where(bad > 0, float(number), self._bad_step)
        self._norm += torch.nan_to_num(norm.detach(), nan=0.0, posinf=0.0, neginf=0.0)
        self._skipped += bad
        self._row = (self._row + bad) * bad
        self._longest_row = torch.maximum(self._longest_row, self._row)

    @torch.no_grad()
    def read(self) -> dict[str, float]:
        """Figures since the last `read`, summed over processes; they are added to the epoch's.

        `bad_loss` and `bad_step` are the numbers of the last micro-batch whose loss, and of the last step
        whose gradient, was not finite on this process (0: none).
        """
        assert self._sums is not None, "read before the first batch"
        mine = [*self._counts, *self._extra.values()]
        vector = torch.cat([self._sums, torch.tensor(mine, dtype=torch.float64, device=self.device)])
        if self.distributed:
            torch.distributed.all_reduce(vector)
        local = [self._norm, self._skipped, self._longest_row, self._bad_loss, self._bad_step]
        local = torch.stack([value.double() for value in local])
        values = torch.cat([vector, local]).tolist()
        keys = [f"sum.{name}" for name in self.names] + [f"count.{name}" for name in self.count_names]
        keys += [*SIZES, "norm", "skipped", *MAXIMA]
        result = dict(zip(keys, values, strict=True)) | {"steps": float(self._steps)}
        for key, value in result.items():
            self.total[key] = (
                max(self.total.get(key, 0.0), value) if key in MAXIMA else self.total.get(key, 0.0) + value
            )
        self._sums.zero_()
        self._norm.zero_()
        self._skipped.zero_()
        self._bad_loss.zero_()
        self._bad_step.zero_()
        self._counts = [0.0] * len(self.count_names)
        self._extra, self._steps = dict.fromkeys(SIZES, 0.0), 0
        return result

    def state_dict(self) -> tuple[dict, Tensor]:
        """What all processes have in common, and what this one has added up since the last `read`.

        Returns:
            names and totals; a float64 vector of the same length everywhere, on the CPU.
        """
        assert self._sums is not None, "saved before the first batch"
        common = {"names": self.names, "count_of": self.count_of, "total": dict(self.total)}
        mine = [*self._counts, *self._extra.values()]
        rest = [self._norm, self._skipped, self._row, self._longest_row]
        sums = [*self._sums.tolist(), *mine, self._steps, *(value.item() for value in rest)]
        return common, torch.tensor(sums, dtype=torch.float64)

    def load_state_dict(self, common: Mapping, vectors: Sequence[Tensor], rank: int) -> None:
        """Go on from all processes' `state_dict`s; from another number of them the first takes all sums."""
        self.names, self.count_of = list(common["names"]), list(common["count_of"])
        self.total = dict(common["total"])
        added = len(self.names) + len(self.count_names) + len(SIZES)
        if len(vectors) == self._world():
            vector = vectors[rank].tolist()
        else:
            share = torch.stack(list(vectors))[:, :added].sum(0) * (rank == 0)
            vector = [*share.tolist(), *vectors[0][added:].tolist()]
        sums, rest = vector[: len(self.names)], vector[len(self.names) :]
        self._sums = torch.tensor(sums, dtype=torch.float64, device=self.device)
        self._counts, rest = rest[: len(self.count_names)], rest[len(self.count_names) :]
        self._extra, rest = dict(zip(SIZES, rest, strict=False)), rest[len(SIZES) :]
        self._steps = int(rest[0])
        for scalar, value in zip(
            (self._norm, self._skipped, self._row, self._longest_row), rest[1:], strict=True
        ):
            scalar.fill_(value)

    def _world(self) -> int:
        return torch.distributed.get_world_size() if self.distributed else 1

    def figures(self, values: Mapping[str, float]) -> dict[str, float]:
        """Loss and its parts (Σ sums / Σ counts), gradient norm, padding in percent."""
        parts = {
            name: values[f"sum.{name}"] / max(values[f"count.{count}"], 1.0)
            for name, count in zip(self.names, self.count_of, strict=True)
        }
        loss = sum(weight * parts[name] for name, weight in self.weights.items())
        figures = {"loss": loss, **parts}
        figures["padding"] = 100.0 * (1.0 - values["tokens"] / max(values["padded"], 1.0))
        if values["steps"]:
            figures["grad_norm"] = values["norm"] / max(values["steps"] - values["skipped"], 1.0)
            figures["skipped_steps"] = values["skipped"]
        return figures


def format_figures(figures: Mapping[str, float]) -> str:
    """`loss 2.31, ce_text 0.91, …, 18.3k tokens/s, padding 3.1 %`, in a fixed order of units."""
    words = []
    for name, value in figures.items():
        if name == "tokens_per_second":
            words.append(f"{value / 1000:.1f}k tokens/s" if value >= 1000 else f"{value:.0f} tokens/s")
        elif name == "padding":
            words.append(f"padding {value:.1f} %")
        elif name == "mfu":
            words.append(f"MFU about {value:.0f} %")
        elif name == "skipped_steps":
            words.extend([f"{value:.0f} steps skipped"] if value else [])
        elif name == "lr":
            words.append(f"lr {value:.2e}")
        else:
            words.append(f"{name} {value:.4g}")
    return ", ".join(words)
