"""Several data sets with their tasks as one training set, and how often each is seen."""

import copy
import logging
from argparse import Namespace
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from espnet_sld.criteria.base import Criterion
from espnet_sld.errors import InputError
from espnet_sld.files import read_json
from espnet_sld.tasks.batching import TokenBatchSampler
from espnet_sld.tasks.dataset import SequenceDataset
from espnet_sld.tasks.mixture_file import DataSet, read_mixture
from espnet_sld.tasks.preprocess import SequencePreprocessor
from espnet_sld.tasks.sampling import SampledDataset, UnitSampling

logger = logging.getLogger(__name__)


class MixtureDataset(SequenceDataset):
    """Data sets one after the other; an utterance is called `<set>/<utterance>`.

    Args:
        sets: opened data sets, all with the same vocabulary. entries: what they were opened from.
    """

    def __init__(self, sets: Sequence[SequenceDataset], entries: Sequence[DataSet]):
        self.sets, self.entries = list(sets), tuple(entries)
        self.preprocess = self.sets[0].preprocess
        self.utterances = [
            f"{entry.name}/{utterance}"
            for entry, data in zip(self.entries, self.sets, strict=True)
            for utterance in data.utterances
        ]
        self.lengths = np.concatenate([data.lengths for data in self.sets])
        self.starts = np.cumsum([0, *(len(data) for data in self.sets)])

    def _find(self, index: int) -> tuple[SequenceDataset, int]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        number = int(np.searchsorted(self.starts, index, side="right")) - 1
        return self.sets[number], index - int(self.starts[number])

    def at(self, step: int) -> "MixtureDataset":
        """As optimiser step `step` sees it."""
        views = [data.at(step) for data in self.sets]
        if all(view is data for view, data in zip(views, self.sets, strict=True)):
            return self
        changed = copy.copy(self)
        changed.sets = views
        return changed

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Tokens int32 (L,) and kinds uint8 (L,)."""
        data, local = self._find(index)
        return data[local]

    def counts(self, index: int, criterion: Criterion) -> np.ndarray:
        """See `SequenceDataset.counts`."""
        data, local = self._find(index)
        return data.counts(local, criterion)


class MixtureBatchSampler(TokenBatchSampler):
    """Batches over several data sets with weights; a pass has each utterance `weight` times on average.

    Each set is an endless stream of its own shuffled passes, of which a pass over the mixture takes the next
    weight × size utterances: none is seen twice before every one of the set was seen once, and the
    place in the streams is a function of (seed, pass), so a position is three integers as without weights.

    Args:
        data: the mixture; its entries have the weights.
        batch_bins, group, seed, length_noise: see `TokenBatchSampler`.
    """

    def __init__(
        self,
        data: MixtureDataset,
        batch_bins: int,
        *,
        group: int = 1,
        seed: int = 0,
        **options: float,
    ):
        self._starts = data.starts
        self._weights = [entry.weight for entry in data.entries]
        self._names = [entry.name for entry in data.entries]
        super().__init__(data.lengths, batch_bins, group=group, seed=seed, **options)

    def members(self, phase: int, number: int) -> np.ndarray:
        """Utterances of pass `number`, sorted; those of heavy sets several times."""
        taken = [
            start + self._stream(place, stop - start, number, weight)
            for place, (start, stop, weight) in enumerate(
                zip(self._starts[:-1], self._starts[1:], self._weights, strict=True)
            )
        ]
        return np.sort(np.concatenate(taken))

    def _stream(self, place: int, size: int, number: int, weight: float) -> np.ndarray:
        """What pass `number` takes of a set's stream, as indices within the set."""
        begin, end = round(number * weight * size), round((number + 1) * weight * size)
        parts = []
        while begin < end:
            own, offset = divmod(begin, size)
            order = np.random.default_rng([self.seed, 2, place, own]).permutation(size)
            parts.append(order[offset : offset + end - begin])
            begin += len(parts[-1])
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)

    def _identity(self) -> dict[str, int | float | str]:
        sizes = np.diff(self._starts)
        mixed = " ".join(
            f"{name}:{size}x{weight}"
            for name, size, weight in zip(self._names, sizes, self._weights, strict=True)
        )
        return {**super()._identity(), "mixture": mixed}


def open_mixture(args: Namespace, role: str, preprocess: SequencePreprocessor) -> MixtureDataset:
    """Open the data sets of `args.mixture`; says in the log how much of what there is.

    Args:
        args: the task's options; `mixture_stats` may name the output of `collect_mixture`.
        role: "train" or "valid".

    Raises:
        InputError: see `read_mixture` and `SequenceDataset`.
    """
    mixture = read_mixture(args.mixture)
    drawing = UnitSampling.from_args(args) if role == "train" else None
    opened = []
    for entry in mixture.sets(role):
        own = preprocess.with_template(entry.template)
        sampled = drawing is not None and "speech" in entry.template.fields.values()
        kind = partial(SampledDataset, sampling=drawing) if sampled else SequenceDataset
        shapes = None
        if args.mixture_stats:
            shapes = _shape_file(Path(args.mixture_stats) / role / entry.name, entry, args.mixture)
        paths = [(path, field) for field, path in entry.files.items()]
        try:
            data = kind(paths, own, shape_file=shapes, choose=None if shapes else entry.choose)
        except InputError as error:
            raise InputError(f"{args.mixture}, data set '{entry.name}': {error}") from None
        opened.append(data)
    data = MixtureDataset(opened, mixture.sets(role))
    report(data, role)
    return data


def _shape_file(directory: Path, entry: DataSet, mixture: str) -> str:
    """What `collect_mixture` wrote of an entry.

    Raises:
        InputError: nothing, or the lengths of another choice of utterances.
    """
    path, again = directory / "sequence_shape", f"run bin.collect_mixture on {mixture} again"
    if not path.exists():
        raise InputError(f"{path}: no such file; {again}")
    measured = read_json(directory / "length_stats.json")
    for key, now in entry.choice.items():
        if measured.get(key, now) != now:
            raise InputError(f"{path}: measured with {key} {measured[key]}, which is {now} now; {again}")
    return str(path)


def report(data: MixtureDataset, role: str) -> None:
    """Log the sizes, and the shares of a pass that each set has by sequences and by tokens."""
    tokens = [int(own.lengths.sum()) for own in data.sets]
    weights = [entry.weight if role == "train" else 1.0 for entry in data.entries]
    rows = sum(weight * len(own) for weight, own in zip(weights, data.sets, strict=True))
    places = sum(weight * count for weight, count in zip(weights, tokens, strict=True))
    for entry, own, count, weight in zip(data.entries, data.sets, tokens, weights, strict=True):
        logger.info(
            "%s: %s is %s: %d utterances, %.1f tokens on average; weight %g: %.1f %% of the sequences, "
            "%.1f %% of the tokens",
            role,
            entry.name,
            entry.template.name,
            len(own),
            count / len(own),
            weight,
            100 * weight * len(own) / rows,
            100 * weight * count / places,
        )
