"""Iterator factories for ESPnet's `iterator_type: task`: each optimiser step is seen whole.

A step is `accum_grad` micro-batches of `batch_bins`, whatever the number of processes: as in ESPnet the same
command has the same global batch on one process and on eight. Its loss divides sums by counts over *all* of
them, so every process looks at the whole step (it is text only), computes the counts and puts them into its
own micro-batches.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch
from espnet2.iterators.abs_iter_factory import AbsIterFactory
from torch.utils.data import DataLoader, Dataset

from espnet_sld.criteria.base import Criterion
from espnet_sld.errors import InputError
from espnet_sld.tasks.batching import TokenBatchSampler, fixed_batches, largest_batch
from espnet_sld.tasks.dataset import SequenceDataset
from espnet_sld.tasks.interruption import leave_to_parent

MicroBatch = tuple[list[str], dict[str, torch.Tensor]]


class _Steps(Dataset):
    """Planned steps → this process's micro-batches; picklable work for DataLoader workers.

    A plan is the same for any number of processes, which share a step out: whole micro-batches where their
    number is a multiple of the processes', else every micro-batch is cut into as few parts (every k-th row)
    as make it one. A part without a row is a row without a target: it adds nothing, and its process keeps
    step.
    """

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
        step = self.first + number * self.stride
        return self.build(self.plan[number], step)

    def build(self, micro_batches: list[np.ndarray], step: int) -> list[MicroBatch]:
        """This process's parts of optimiser step `step`."""
        data = self.data.at(step)
        counts = sum(data.counts(int(i), self.criterion) for indices in micro_batches for i in indices)
        parts = parts_of(len(micro_batches), self.world)
        total = parts * len(micro_batches)
        result = []
        for number in range(self.rank, total, self.world):  # ESPnet's batch[rank::world]
            place, part = divmod(number, parts)
            names, batch = data.part(micro_batches[place], part, parts)
            batch["step_counts"] = torch.from_numpy(np.array(counts, dtype=np.float64))
            batch["step"] = torch.tensor([step])
            batch["micro"] = torch.tensor([place, total])
            result.append((names, batch))
        return result


def parts_of(micro_batches: int, world: int) -> int:
    """Into how many parts each of a step's micro-batches is cut: `world` processes get equally many."""
    return world // math.gcd(micro_batches, world)


class EpochIterator:
    """Iterates over the micro-batches of an epoch, or of its rest; `len` is their number in the whole epoch.

    Args:
        steps: what is still to come.
        per_step: micro-batches of a step on this process.
        done: steps of the epoch that are over.
        rounds: the largest `len` of any process.
    """

    def __init__(
        self,
        steps: _Steps,
        per_step: int,
        num_workers: int,
        pin_memory: bool,
        *,
        done: int = 0,
        rounds: int | None = None,
    ):
        self.steps, self.per_step, self.done = steps, per_step, done
        self.num_workers, self.pin_memory = num_workers, pin_memory
        self.rounds = len(self) if rounds is None else rounds

    def __len__(self) -> int:
        return (self.done + len(self.steps)) * self.per_step

    def __iter__(self) -> Iterator[MicroBatch]:
        if self.num_workers == 0 or len(self.steps) == 0:
            source = (self.steps[number] for number in range(len(self.steps)))
        else:
            source = DataLoader(
                self.steps,
                batch_size=None,
                num_workers=self.num_workers,
                pin_memory=self.pin_memory,
                worker_init_fn=leave_to_parent,
                generator=torch.Generator(),  # else it draws from the one that dropout uses
            )
        for micro_batches in source:
            yield from micro_batches


class StepIterFactory(AbsIterFactory):
    """Training batches.

    Args:
        data, criterion: what to batch, and who says what counts.
        sampler: its `group` is accum_grad, the micro-batches of a step on all processes together.
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
        self.data, self.criterion, self.sampler = data, criterion, sampler
        self.steps_per_epoch, self.rank, self.world = steps_per_epoch, rank, world
        self.num_workers, self.pin_memory = num_workers, pin_memory
        self.per_step = parts_of(sampler.group, world) * sampler.group // world
        self._began = sampler.state_dict()

    def build_iter(self, epoch: int, shuffle: bool | None = None, done: int = 0) -> EpochIterator:
        """Micro-batches of epoch `epoch` (1-based) after its first `done` steps; `shuffle` has no effect."""
        first = (epoch - 1) * self.steps_per_epoch + done
        self.sampler.seek(first)
        self._began = self.sampler.state_dict()
        plan = [self.sampler.next_step() for _ in range(self.steps_per_epoch - done)]
        steps = _Steps(plan, self.data, self.criterion, rank=self.rank, world=self.world, first=first)
        return EpochIterator(steps, self.per_step, self.num_workers, self.pin_memory, done=done)

    def state_dict(self) -> dict[str, int | float]:
        """The sampler's state where the last iterator began."""
        return self._began

    def load_state_dict(self, state: dict[str, int | float]) -> None:
        """Spare `build_iter` the way from the first pass; the curriculum may have grown with `max_epoch`.

        Raises:
            InputError: other data or another batch size.
        """
        self.sampler.check(state, but=("curriculum_steps",))
        if state["curriculum_steps"] == self.sampler.curriculum_steps:
            self.sampler.load_state_dict(state)

    def largest(self) -> MicroBatch:
        """The largest micro-batch that this process can meet."""
        indices = largest_batch(self.data.lengths, self.sampler.batch_bins)
        # One part of it, as its first process gets it in a step that consists of it and of single utterances.
        plan = [indices, *([indices[:1]] * (self.sampler.group - 1))]
        return _Steps([plan], self.data, self.criterion, world=self.world)[0][0]


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
        rounds = math.ceil(len(self.batches) / self.world)
        return EpochIterator(steps, 1, self.num_workers, self.pin_memory, rounds=rounds)


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
