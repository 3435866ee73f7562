"""Which utterances go together: micro-batches by token budget, grouped into optimiser steps. numpy only.

Sequences are right-padded, so a micro-batch costs rows × longest. The sampler sorts by length with a
little noise, cuts the order into micro-batches within the budget, and shuffles those; every pass over
the corpus is a pure function of (seed, phase, pass), so that a position is three integers.
"""

import logging
import math
from collections.abc import Iterator, Sequence

import numpy as np

from espnet_sld.errors import InputError

logger = logging.getLogger(__name__)

# Relative noise on lengths before sorting: mixes neighbours anew in every pass for about 2 % padding.
LENGTH_NOISE = 0.02


def pack(order: np.ndarray, lengths: np.ndarray, batch_bins: int) -> list[np.ndarray]:
    """Cut `order` (utterance indices) into consecutive batches with rows × longest ≤ batch_bins.

    An utterance that is longer than the budget becomes a batch of its own.
    """
    batches: list[np.ndarray] = []
    start, longest = 0, 0
    for position, length in enumerate(lengths[order].tolist()):
        longest_now = max(longest, length)
        if position > start and longest_now * (position - start + 1) > batch_bins:
            batches.append(order[start:position])
            start, longest_now = position, length
        longest = longest_now
    if start < len(order):
        batches.append(order[start:])
    return batches


def padding_share(batches: Sequence[np.ndarray], lengths: np.ndarray) -> float:
    """Share of padded positions that hold no token, 0–1."""
    real = sum(int(lengths[batch].sum()) for batch in batches)
    padded = sum(int(lengths[batch].max()) * len(batch) for batch in batches)
    return 1.0 - real / max(padded, 1)


def largest_batch(lengths: np.ndarray, batch_bins: int) -> np.ndarray:
    """Utterances of the largest micro-batch that any pass can have: most rows × longest, then the longest.

    A batch holds neighbours in length, so the largest one that ends with a given utterance has as many of the
    next shorter ones as the budget and the corpus allow.
    """
    order = np.argsort(lengths, kind="stable")
    longest = lengths[order].astype(np.int64)
    rows = np.clip(batch_bins // np.maximum(longest, 1), 1, np.arange(1, len(order) + 1))
    end = int(np.lexsort((longest, rows * longest))[-1])
    return order[end + 1 - rows[end] : end + 1]


def fixed_batches(lengths: np.ndarray, batch_bins: int) -> list[np.ndarray]:
    """The same batches every time, by length, for validation."""
    return pack(np.argsort(lengths, kind="stable"), lengths, batch_bins)


class TokenBatchSampler:
    """An endless, deterministic, restorable stream of optimiser steps.

    Args:
        lengths: tokens per utterance, (N,).
        batch_bins: most padded tokens (rows × longest) of a micro-batch.
        group: micro-batches of an optimiser step (`accum_grad`; the processes share them out). The stream
            runs over the end of a pass, so no step is short and nothing is dropped.
        seed: of the shuffling.
        curriculum_portion: share of the utterances, the shortest, that training begins with.
        curriculum_steps: optimiser steps with those only; at this step a pass over everything begins.
        length_noise: relative noise on lengths before sorting.
    """

    def __init__(
        self,
        lengths: Sequence[int] | np.ndarray,
        batch_bins: int,
        *,
        group: int = 1,
        seed: int = 0,
        curriculum_portion: float = 1.0,
        curriculum_steps: int = 0,
        length_noise: float = LENGTH_NOISE,
    ):
        self.lengths = np.asarray(lengths, dtype=np.int64)
        if len(self.lengths) == 0:
            raise InputError("the training set has no utterance; check the data directory and its filters")
        if batch_bins < 1 or group < 1:
            raise InputError(f"batch_bins and accum_grad must be at least 1, got {batch_bins} and {group}")
        if not 0.0 < curriculum_portion <= 1.0:
            raise InputError(f"curriculum_portion must be in (0, 1], got {curriculum_portion}")
        self.batch_bins, self.group, self.seed = int(batch_bins), int(group), int(seed)
        self.length_noise = float(length_noise)
        self.curriculum_steps = int(curriculum_steps) if curriculum_portion < 1.0 else 0
        everything = np.arange(len(self.lengths))
        shortest = np.argsort(self.lengths, kind="stable")[
            : math.ceil(curriculum_portion * len(self.lengths))
        ]
        self._phases = (np.sort(shortest), everything)
        over = int((self.lengths > self.batch_bins).sum())
        if over:
            logger.warning(
                "%d utterances are longer than batch_bins=%d tokens (longest: %d); each is its own batch",
                over,
                self.batch_bins,
                int(self.lengths.max()),
            )
        self._cached: tuple[int, int] | None = None
        self._batches: list[np.ndarray] = []
        self._restart()

    def _restart(self) -> None:
        self.step, self._pass, self._offset = 0, 0, 0
        self._phase = 0 if self.curriculum_steps > 0 else 1

    def members(self, phase: int, number: int) -> np.ndarray:
        """Utterances of one pass, in any order; a subclass may repeat some and leave out others."""
        return self._phases[phase]

    # -- one pass ---------------------------------------------------------------------------------
    def pass_batches(self, phase: int, number: int) -> list[np.ndarray]:
        """Micro-batches of one pass (phase 0: curriculum, 1: everything), shuffled."""
        if self._cached != (phase, number):
            rng = np.random.default_rng([self.seed, phase, number])
            members = rng.permutation(self.members(phase, number))
            noise = 1.0 + self.length_noise * (2.0 * rng.random(len(members)) - 1.0)
            order = members[np.argsort(self.lengths[members] * noise, kind="stable")]
            batches = pack(order, self.lengths, self.batch_bins)
            self._batches = [batches[index] for index in rng.permutation(len(batches))]
            self._cached = (phase, number)
        return self._batches

    def steps_per_pass(self) -> int:
        """Optimiser steps that cover every utterance once (rounded up)."""
        return math.ceil(len(self.pass_batches(1, 0)) / self.group)

    # -- the stream -------------------------------------------------------------------------------
    def next_step(self) -> list[np.ndarray]:
        """The `group` micro-batches (arrays of utterance indices) of the next optimiser step."""
        self._enter_phase()
        result: list[np.ndarray] = []
        while len(result) < self.group:
            batches = self.pass_batches(self._phase, self._pass)
            taken = batches[self._offset : self._offset + self.group - len(result)]
            result += taken
            self._advance(len(taken), len(batches))
        self.step += 1
        return result

    def __iter__(self) -> Iterator[list[np.ndarray]]:
        while True:
            yield self.next_step()

    def seek(self, step: int) -> None:
        """Move to the position before optimiser step `step` (0-based)."""
        if step < self.step:
            self._restart()
        if self._phase == 0 and step >= self.curriculum_steps:
            self.step = self.curriculum_steps
            self._enter_phase()
        left = (step - self.step) * self.group
        while left > 0:
            size = len(self.pass_batches(self._phase, self._pass))
            taken = min(left, size - self._offset)
            self._advance(taken, size)
            left -= taken
        self.step = step

    def _enter_phase(self) -> None:
        if self._phase == 0 and self.step >= self.curriculum_steps:
            self._phase, self._pass, self._offset = 1, 0, 0

    def _advance(self, taken: int, size: int) -> None:
        self._offset += taken
        if self._offset == size:
            self._pass, self._offset = self._pass + 1, 0

    # -- save and restore -------------------------------------------------------------------------
    def _identity(self) -> dict[str, int | float]:
        return {
            "seed": self.seed,
            "utterances": len(self.lengths),
            "tokens": int(self.lengths.sum()),
            "batch_bins": self.batch_bins,
            "group": self.group,
            "curriculum_steps": self.curriculum_steps,
            "curriculum_utterances": len(self._phases[0]),
            "length_noise": self.length_noise,
        }

    def state_dict(self) -> dict[str, int | float]:
        """Position in the stream, and what the stream was made from."""
        position = {"step": self.step, "phase": self._phase, "pass": self._pass, "offset": self._offset}
        return {**position, **self._identity()}

    def check(self, state: dict[str, int | float], *, but: Sequence[str] = ()) -> None:
        """Refuse a position of another stream.

        Args:
            but: what may differ.

        Raises:
            InputError: the position belongs to other data or another batch size.
        """
        for key, value in self._identity().items():
            if key not in but and state[key] != value:
                raise InputError(
                    f"the saved batch position has {key}={state[key]}, this run {value}; resume with the "
                    "same data and batch options, or start again in a new output directory"
                )

    def load_state_dict(self, state: dict[str, int | float]) -> None:
        """Go to a saved position; InputError if it is of another stream."""
        self.check(state)
        self.step, self._phase = int(state["step"]), int(state["phase"])
        self._pass, self._offset = int(state["pass"]), int(state["offset"])
