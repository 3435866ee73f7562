"""Iterator factories for ESPnet's `iterator_type: task`: each optimiser step is seen whole.

A step's loss divides sums by counts over *all* its micro-batches on all processes, so every process
looks at the whole step (it is text only), computes the counts and puts them into its own micro-batches.
"""

from collections.abc import Iterator

import numpy as np
import torch
from espnet2.iterators.abs_iter_factory import AbsIterFactory
from torch.utils.data import DataLoader, Dataset

from espnet_sld.criteria.base import Criterion
from espnet_sld.errors import InputError
from espnet_sld.tasks.batching import TokenBatchSampler, fixed_batches
from espnet_sld.tasks.dataset import SequenceDataset

MicroBatch = tuple[list[str], dict[str, torch.Tensor]]


class _Steps(Dataset):
    """Planned steps → this process's micro-batches; picklable work for DataLoader workers."""

    def __init__(
        self,
        plan: list[list[np.ndarray]],
        data: SequenceDataset,
        criterion: Criterion,
        *,
        rank: int = 0,
        world: int = 1,
        first: int = 0,
        stride: int = 1,
    ):
        self.plan, self.data, self.criterion = plan, data, criterion
        self.rank, self.world, self.first, self.stride = rank, world, first, stride

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, number: int) -> list[MicroBatch]:
        micro_batches = self.plan[number]
        counts = sum(self.data.counts(int(i), self.criterion) for indices in micro_batches for i in indices)
        result = []
        for place in range(self.rank, len(micro_batches), self.world):  # ESPnet's batch[rank::world]
            names, batch = self.data.collate(micro_batches[place])
            batch["step_counts"] = torch.from_numpy(np.array(counts, dtype=np.float64))
            batch["step"] = torch.tensor([self.first + number * self.stride])
            batch["micro"] = torch.tensor([place, len(micro_batches)])
            result.append((names, batch))
        return result


class EpochIterator:
    """Iterates over the micro-batches of an epoch; `len` is their number on this process."""

    def __init__(self, steps: _Steps, per_step: int, num_workers: int, pin_memory: bool):
        self.steps, self.per_step = steps, per_step
        self.num_workers, self.pin_memory = num_workers, pin_memory

    def __len__(self) -> int:
        return len(self.steps) * self.per_step

    def __iter__(self) -> Iterator[MicroBatch]:
        if self.num_workers == 0:
            source = (self.steps[number] for number in range(len(self.steps)))
        else:
            source = DataLoader(
                self.steps,
                batch_size=None,
                num_workers=self.num_workers,
                pin_memory=self.pin_memory,
                generator=torch.Generator(),  # else it draws from the one that dropout uses
            )
        for micro_batches in source:
            yield from micro_batches


class StepIterFactory(AbsIterFactory):
    """Training batches.

    Args:
        data, criterion: what to batch, and who says what counts.
        sampler: its `group` must be accum_grad × world.
        steps_per_epoch: optimiser steps of an ESPnet epoch; epoch e begins at step (e−1) × steps_per_epoch.
        rank, world: of the data-parallel group.
    """

    def __init__(
        self,
        data: SequenceDataset,
        criterion: Criterion,
        sampler: TokenBatchSampler,
        *,
        steps_per_epoch: int,
        rank: int = 0,
        world: int = 1,
        num_workers: int = 0,
        pin_memory: bool = False,
    ):
        if sampler.group % world:
            raise ValueError(f"group {sampler.group} is no multiple of {world} processes")
        self.data, self.criterion, self.sampler = data, criterion, sampler
        self.steps_per_epoch, self.rank, self.world = steps_per_epoch, rank, world
        self.num_workers, self.pin_memory = num_workers, pin_memory

    def build_iter(self, epoch: int, shuffle: bool | None = None) -> EpochIterator:
        """Micro-batches of epoch `epoch` (1-based); `shuffle` is ESPnet's and has no effect."""
        first = (epoch - 1) * self.steps_per_epoch
        self.sampler.seek(first)
        plan = [self.sampler.next_step() for _ in range(self.steps_per_epoch)]
        steps = _Steps(plan, self.data, self.criterion, rank=self.rank, world=self.world, first=first)
        return EpochIterator(steps, self.sampler.group // self.world, self.num_workers, self.pin_memory)


class FixedIterFactory(AbsIterFactory):
    """Validation batches: fixed, by length; each is a step of its own with its own counts."""

    def __init__(
        self,
        data: SequenceDataset,
        criterion: Criterion,
        batch_bins: int,
        *,
        rank: int = 0,
        world: int = 1,
        num_workers: int = 0,
        pin_memory: bool = False,
    ):
        self.data, self.criterion, self.rank, self.world = data, criterion, rank, world
        self.batches = fixed_batches(data.lengths, batch_bins)
        if len(self.batches) < world:  # every process needs one
            if len(data) < world:
                raise InputError(f"{len(data)} dev utterances are fewer than {world} processes; use fewer")
            self.batches = np.array_split(np.argsort(data.lengths, kind="stable"), world)
        self.num_workers, self.pin_memory = num_workers, pin_memory

    def build_iter(self, epoch: int, shuffle: bool | None = None) -> EpochIterator:
        """The same batches in every epoch."""
        plan = [[batch] for batch in self.batches[self.rank :: self.world]]
        steps = _Steps(plan, self.data, self.criterion, first=self.rank, stride=self.world)
        return EpochIterator(steps, 1, self.num_workers, self.pin_memory)


def steps_per_epoch(sampler: TokenBatchSampler, num_iters_per_epoch: int | None, accum_grad: int) -> int:
    """Optimiser steps of an epoch: `num_iters_per_epoch` micro-iterations as in ESPnet, or one pass."""
    if num_iters_per_epoch is None:
        return sampler.steps_per_pass()
    if num_iters_per_epoch < 1 or num_iters_per_epoch % accum_grad:
        raise InputError(
            f"num_iters_per_epoch ({num_iters_per_epoch}) must be a positive multiple of "
            f"accum_grad ({accum_grad})"
        )
    return num_iters_per_epoch // accum_grad
