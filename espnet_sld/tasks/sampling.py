"""Another segmentation of the units at every training step: BPE-dropout, subword regularisation.

What is drawn is a function of (seed, optimiser step, utterance) alone: not of processes, workers, order,
or of where training was resumed.
"""

import copy
import hashlib
import math
from argparse import Namespace
from collections.abc import Callable
from collections.abc import Sequence as Items
from dataclasses import dataclass

import numpy as np

from espnet_sld.criteria.base import Criterion
from espnet_sld.errors import InputError
from espnet_sld.tasks.dataset import SequenceDataset
from espnet_sld.tasks.preprocess import SequencePreprocessor
from espnet_sld.tokens.sequence import Sequence

MEASURED = 500  # draws that measure how much longer sequences become
QUANTILE = 0.99  # of them that fit their planned length


@dataclass(frozen=True)
class UnitSampling:
    """How unit text is segmented in training.

    Attributes:
        strength: see `UnitPieceTokenizer.sample`.
        seed: of the draws.
    """

    strength: float
    seed: int

    @classmethod
    def from_args(cls, args: Namespace) -> "UnitSampling | None":
        """From the task's options (see `options.add_sequence_arguments`); None = the best segmentation.

        Raises:
            InputError: a value out of range, or an option that the unit token type does not have.
        """
        dropout, alpha = args.speech_bpe_dropout, args.speech_sampling_alpha
        if not 0 <= dropout < 1:
            raise InputError(f"--speech_bpe_dropout {dropout}: must be at least 0 and below 1")
        if alpha is not None and not 0 < alpha < math.inf:
            raise InputError(f"--speech_sampling_alpha {alpha}: must be above 0, or left out")
        for option, given, needed in (
            ("speech_bpe_dropout", dropout > 0, "bpe"),
            ("speech_sampling_alpha", alpha is not None, "unigram"),
        ):
            if given and args.speech_token_type != needed:
                raise InputError(
                    f"--{option} is for --speech_token_type {needed}, not {args.speech_token_type}; "
                    "bpe has --speech_bpe_dropout, unigram has --speech_sampling_alpha"
                )
        strength = alpha if alpha is not None else dropout
        return cls(float(strength), int(args.seed)) if strength else None

    def number(self, step: int, utterance: str) -> int:
        """The draw's own seed, 0 … 2³²−2."""
        digest = hashlib.blake2b(f"{self.seed} {step} {utterance}".encode(), digest_size=8).digest()
        return int.from_bytes(digest) % (2**32 - 1)


class SampledDataset(SequenceDataset):
    """A training set whose units are segmented anew at every step.

    `lengths` are planned ones: those of the best segmentations times the growth that 500 draws show (99 %
    of them fit), at most `max_positions`. A draw that is longer than planned, or that would be cut, is
    replaced by the best segmentation, so that batches keep their token budget.

    Args:
        paths, preprocess, shape_file, choose: see `SequenceDataset`; lengths of the best segmentations.
        sampling: how to draw.
    """

    def __init__(
        self,
        paths: Items[tuple[str, str]],
        preprocess: SequencePreprocessor,
        sampling: UnitSampling,
        *,
        shape_file: str | None = None,
        choose: Callable[[Items[str]], Items[str]] | None = None,
    ):
        self.sampling = sampling
        self._step: int | None = None
        self._drawn: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        super().__init__(paths, preprocess, shape_file=shape_file, cache=False, choose=choose)
        self.growth = self._measure()
        planned = np.minimum(np.ceil(self.lengths * self.growth), preprocess.max_positions)
        self.lengths = np.maximum(self.lengths, planned.astype(np.int64))

    def _draw(self, index: int, step: int) -> Sequence:
        utterance = self.utterances[index]
        sample = {name: table[utterance] for name, table in self.tables.items()}
        number = self.sampling.number(step, utterance)
        return self.preprocess(utterance, sample, self.sampling.strength, number)

    def _measure(self) -> float:
        """How many times as long as the best segmentation a sequence becomes; 99th percentile.

        Raises:
            InputError: the shape file is of other data or another tokenizer.
        """
        chosen = np.unique(np.linspace(0, len(self) - 1, MEASURED).astype(np.int64))
        ratios = [1.0]
        for index in chosen.tolist():
            best, drawn = len(super()._encode(index)[0]), self._draw(index, -1)
            if best != self.lengths[index]:
                raise InputError(
                    f"{self.shape_file}: {self.utterances[index]} has {self.lengths[index]} tokens there, "
                    f"{best} now; data or tokenizer changed, make the shape file again (stage 6)"
                )
            ratios.append(len(drawn.tokens) / best)
        return float(np.quantile(ratios, QUANTILE))

    def at(self, step: int) -> "SampledDataset":
        """The set as optimiser step `step` sees it; draws are kept as long as the view is."""
        view = copy.copy(self)
        view._step, view._drawn = step, {}
        return view

    def _encode(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Tokens (L,) and kinds (L,) of an utterance, drawn for this view's step; else the best ones."""
        if self._step is None:
            return super()._encode(index)
        if index not in self._drawn:
            drawn = self._draw(index, self._step)
            fits = not drawn.cut and len(drawn.tokens) <= self.lengths[index]
            pair = (drawn.tokens.astype(np.int32), drawn.kinds) if fits else super()._encode(index)
            self._drawn[index] = pair
        return self._drawn[index]

    def counts(self, index: int, criterion: Criterion) -> np.ndarray:
        """As `SequenceDataset.counts`, of what this view has drawn."""
        tokens, kinds = self[index]
        counts = criterion.counts(tokens[None], kinds[None])
        return np.array([counts[name] for name in criterion.count_names], dtype=np.float64)
