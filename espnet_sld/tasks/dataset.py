"""Token files in memory: utterance → sequence (cached), its counts, and right-padded batches."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from espnet_sld.criteria.base import Criterion
from espnet_sld.errors import InputError
from espnet_sld.files import read_table
from espnet_sld.progress import track
from espnet_sld.tasks.preprocess import SequencePreprocessor

logger = logging.getLogger(__name__)


def read_shapes(path: str | Path) -> dict[str, int]:
    """ESPnet's shape file: `utterance length[,dimension]` → length."""
    shapes = {}
    for utterance, value in read_table(path).items():
        try:
            shapes[utterance] = int(value.split(",")[0])
        except ValueError:
            raise InputError(
                f"{path}: '{utterance} {value}' is no length; make the file again (stage 6)"
            ) from None
    return shapes


class SequenceDataset:
    """Utterances of one set.

    Args:
        paths: (file, name) pairs, e.g. `("dump/raw/train/text.ts.en", "text")`; all must have the same
            utterances (in a shape file's presence: at least its utterances).
        preprocess: see `SequencePreprocessor`.
        shape_file: lengths of the assembled sequences; without one everything is encoded at the start.
        cache: keep encoded sequences in memory (not for sampled encodings).
        choose: utterances → those that are used; None = all.
    """

    def __init__(
        self,
        paths: Sequence[tuple[str, str]],
        preprocess: SequencePreprocessor,
        *,
        shape_file: str | None = None,
        cache: bool = True,
        choose: Callable[[Sequence[str]], Sequence[str]] | None = None,
    ):
        self.preprocess, self.cache = preprocess, cache
        self.tables = {name: read_table(path) for path, name in paths}
        self.paths = {name: path for path, name in paths}
        first = next(iter(self.tables))
        self.shape_file = shape_file
        shapes = read_shapes(shape_file) if shape_file else None
        self.utterances = sorted(shapes if shapes is not None else self.tables[first])
        for name, table in self.tables.items():
            absent = [utterance for utterance in self.utterances if utterance not in table]
            if absent:
                raise InputError(
                    f"{self.paths[name]}: utterance {absent[0]} of "
                    f"{shape_file or self.paths[first]} is missing ({len(absent)} in all); "
                    "both files must have the same utterances"
                )
            if shapes is None and len(table) != len(self.utterances):
                extra = next(utterance for utterance in table if utterance not in self.tables[first])
                raise InputError(
                    f"{self.paths[name]}: utterance {extra} is not in {self.paths[first]}; "
                    "both files must have the same utterances"
                )
        if choose is not None:
            self.utterances = sorted(choose(self.utterances))
        if not self.utterances:
            raise InputError(f"{shape_file or self.paths[first]}: no utterance; run the stages before again")
        self.num_cut = self.num_cut_text = 0
        self._cached: list[tuple[np.ndarray, np.ndarray] | None] = [None] * len(self.utterances)
        self._counts: np.ndarray | None = None
        if shapes is not None:
            self.lengths = np.array([shapes[utterance] for utterance in self.utterances], dtype=np.int64)
        else:
            self.lengths = np.zeros(len(self.utterances), dtype=np.int64)
            for index in track(range(len(self)), len(self), f"encoding {self.paths[first]}"):
                self.lengths[index] = len(self._encode(index)[0])
            self.report_cut()

    def __len__(self) -> int:
        return len(self.utterances)

    def at(self, step: int) -> "SequenceDataset":
        """The set as optimiser step `step` sees it: the same at all steps, unless units are sampled."""
        return self

    def report_cut(self) -> None:
        """Log how many utterances did not fit (of those encoded so far)."""
        if self.num_cut or self.num_cut_text:
            logger.warning(
                "%s: %d utterances were cut to max_positions=%d, the targets of %d to %d tokens",
                next(iter(self.paths.values())),
                self.num_cut,
                self.preprocess.max_positions,
                self.num_cut_text,
                self.preprocess.max_target,
            )

    def _encode(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Tokens (L,) and kinds (L,) of an utterance."""
        cached = self._cached[index]
        if cached is not None:
            return cached
        utterance = self.utterances[index]
        sequence = self.preprocess(utterance, {name: table[utterance] for name, table in self.tables.items()})
        self.num_cut += sequence.cut > 0
        self.num_cut_text += sequence.cut_target > 0
        pair = (sequence.tokens.astype(np.int32), sequence.kinds)
        if self.cache:
            self._cached[index] = pair
        return pair

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Tokens int32 (L,) and kinds uint8 (L,).

        Raises:
            InputError: bad utterance, or its length differs from the shape file's.
        """
        pair = self._encode(index)
        if self.cache and len(pair[0]) != self.lengths[index]:
            raise InputError(
                f"{self.shape_file}: {self.utterances[index]} has {self.lengths[index]} tokens there, "
                f"{len(pair[0])} now; data or tokenizer changed, make the shape file again (stage 6)"
            )
        return pair

    def counts(self, index: int, criterion: Criterion) -> np.ndarray:
        """The criterion's denominators for one utterance, (P,) float64 in the order of `count_names`."""
        if self._counts is None:
            self._counts = np.full((len(self), len(criterion.count_names)), np.nan)
        if not self.cache or np.isnan(self._counts[index, 0]):
            tokens, kinds = self[index]
            counts = criterion.counts(tokens[None], kinds[None])
            self._counts[index] = [counts[name] for name in criterion.count_names]
        return self._counts[index]

    def collate(self, indices: Sequence[int] | np.ndarray) -> tuple[list[str], dict[str, torch.Tensor]]:
        """Right-padded batch: ids, and tokens (B, L) int64, kinds (B, L) uint8 (0 at pads), lengths (B,)."""
        pairs = [self[int(index)] for index in indices]
        lengths = np.array([len(tokens) for tokens, _ in pairs], dtype=np.int64)
        tokens = np.full((len(pairs), int(lengths.max())), self.preprocess.pad_id, dtype=np.int64)
        kinds = np.zeros(tokens.shape, dtype=np.uint8)
        for row, (ids, codes) in enumerate(pairs):
            tokens[row, : len(ids)] = ids
            kinds[row, : len(codes)] = codes
        batch = {
            "tokens": torch.from_numpy(tokens),
            "kinds": torch.from_numpy(kinds),
            "lengths": torch.from_numpy(lengths),
        }
        return [self.utterances[int(index)] for index in indices], batch

    def part(self, indices: np.ndarray, part: int, parts: int) -> tuple[list[str], dict[str, torch.Tensor]]:
        """Every `parts`-th row of a micro-batch, from row `part` on, and where its masks are in the whole's.

        Where there is none: no name, and a row without a target.
        """
        if parts == 1:
            return self.collate(indices)
        own = np.arange(part, len(indices), parts)
        if len(own) == 0:
            _, batch = self.collate(indices[:1])
            nothing = torch.zeros_like(batch["kinds"][:, :2])
            blank = {"tokens": batch["tokens"][:, :2], "kinds": nothing, "lengths": torch.tensor([2])}
            return [], {**blank, "draws": torch.tensor([0, 2])}
        names, batch = self.collate(indices[own])
        starts = np.cumsum([0, *(len(self[int(index)][0]) for index in indices)])
        batch["draws"] = torch.from_numpy(np.append(starts[own], starts[-1]))
        return names, batch
