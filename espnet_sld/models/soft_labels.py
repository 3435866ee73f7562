"""Soft labels of a masked LM for distillation (arXiv 2401.11700).

As Futami et al. 2020: every token is masked in turn; the k highest logits, specials removed, go through a
softmax at temperature T.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from espnet_sld.errors import InputError
from espnet_sld.models.teacher import MaskedTeacher, masked_logits


class SoftLabels(NamedTuple):
    """Of a transcript of L tokens: ids (L, k) int32 and their probabilities (L, k) float16, highest first."""

    ids: np.ndarray
    probs: np.ndarray


@dataclass
class TeacherTotals:
    """Sums over transcript tokens; `report` divides them.

    Attributes:
        tokens: masked positions.
        negative_log_likelihood: Σ −log p(reference), over the teacher's whole vocabulary at temperature 1.
        entropy: Σ of the soft labels' entropies, in nats.
        in_top_k: references among the k.
    """

    tokens: int = 0
    negative_log_likelihood: float = 0.0
    entropy: float = 0.0
    in_top_k: int = 0

    def add(self, other: "TeacherTotals") -> None:
        """Add another's sums."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    def report(self) -> dict[str, float]:
        """Pseudo-perplexity (Salazar et al. 2020), mean entropy (nats), share of references in the top k."""
        tokens = max(self.tokens, 1)
        return {
            "tokens": self.tokens,
            "pseudo_perplexity": math.exp(self.negative_log_likelihood / tokens),
            "entropy": self.entropy / tokens,
            "references_in_top_k": self.in_top_k / tokens,
        }


@torch.no_grad()
def soft_labels(
    teacher: MaskedTeacher,
    transcripts: Sequence[Sequence[int]],
    *,
    k: int = 8,
    temperature: float = 3.0,
    max_tokens: int = 8192,
) -> tuple[list[SoftLabels], TeacherTotals]:
    """Soft labels of transcripts (student ids), each position masked in turn.

    Args:
        k: labels a token; fewer where the student has fewer tokens.
        temperature: T of the softmax over the k logits.
        max_tokens: budget of one forward pass: masked positions × longest transcript among them.
    """
    if k < 1 or temperature <= 0:
        raise InputError(
            f"soft labels need k of at least 1 and a positive temperature, not {k}, {temperature}"
        )
    k, device = min(k, len(teacher.candidates)), teacher.device
    translated = [teacher.translate(tokens) for tokens in transcripts]
    ids = [np.zeros((len(tokens), k), np.int32) for tokens in translated]
    probs = [np.zeros((len(tokens), k), np.float16) for tokens in translated]
    totals = TeacherTotals()
    for pieces in _batches([len(tokens) for tokens in translated], teacher, max_tokens):
        blocks = [teacher.rows(translated[place], first, last) for place, first, last in pieces]
        width = max(inputs.shape[1] for inputs, _ in blocks)
        columns = np.concatenate([masked for _, masked in blocks])
        inputs = np.full((len(columns), width), teacher.pad_id)
        attention = np.zeros((len(columns), width), np.int64)
        start = 0
        for block, _ in blocks:
            inputs[start : start + len(block), : block.shape[1]] = block
            attention[start : start + len(block), : block.shape[1]] = 1
            start += len(block)
        arrays = (inputs, attention, np.arange(len(columns)), columns)
        logits = masked_logits(
            teacher.model, *(torch.as_tensor(array, device=device) for array in arrays)
        ).float()
        references = np.concatenate([translated[place][first:last] for place, first, last in pieces])
        reference = torch.as_tensor(references, device=device)[:, None]
        highest, chosen = logits[:, teacher.columns].topk(k, -1)
        log_b = (highest / temperature).log_softmax(-1)
        totals.add(
            TeacherTotals(
                len(references),
                -logits.log_softmax(-1).gather(1, reference).double().sum().item(),
                -(log_b.exp() * log_b).double().sum().item(),
                int((teacher.columns[chosen] == reference).any(-1).sum()),
            )
        )
        found_ids = teacher.candidates[chosen.cpu().numpy()].astype(np.int32)
        found_probs = log_b.exp().cpu().numpy().astype(np.float16)
        start = 0
        for place, first, last in pieces:
            ids[place][first:last] = found_ids[start : start + last - first]
            probs[place][first:last] = found_probs[start : start + last - first]
            start += last - first
    return [SoftLabels(*pair) for pair in zip(ids, probs, strict=True)], totals


def _batches(
    lengths: Sequence[int], teacher: MaskedTeacher, budget: int
) -> Iterator[list[tuple[int, int, int]]]:
    """Pieces (transcript, first, last) of forward passes within the budget, short transcripts first."""
    pieces: list[tuple[int, int, int]] = []
    rows, extra = 0, len(teacher.before) + len(teacher.after)
    for place in sorted(range(len(lengths)), key=lambda one: lengths[one]):
        most = max(budget // (min(lengths[place], teacher.window) + extra), 1) if lengths[place] else 1
        first = 0
        while first < lengths[place]:
            if rows >= most:
                yield pieces
                pieces, rows = [], 0
            last = min(lengths[place], first + most - rows)
            pieces.append((place, first, last))
            rows, first = rows + last - first, last
    if pieces:
        yield pieces
