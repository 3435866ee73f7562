"""Greedy CTC (Graves et al. 2006): the best label of each frame, merged, without blanks; a batch at once."""

from typing import NamedTuple

import torch
from torch import Tensor

from espnet_sld.models.ctc import CtcRecogniser


class GreedyPaths(NamedTuple):
    """What greedy search finds, flat over the batch, on the device of the logits.

    Attributes:
        tokens: (N,) tokens of all utterances, one after the other. counts: (B,) how many each has.
        frames: (N,) the frame at which each token begins. probabilities: (N,) of each token at that frame.
        scores: (B,) Σ_t log p of the best labels: the log-probability of the one path that was chosen.
    """

    tokens: Tensor
    counts: Tensor
    frames: Tensor
    probabilities: Tensor
    scores: Tensor

    def lists(self) -> list[list[int]]:
        """Tokens of each utterance; one transfer from the device."""
        return _split(self.tokens, self.counts)

    def frame_lists(self) -> list[list[int]]:
        """Frames of each utterance's tokens."""
        return _split(self.frames, self.counts)

    def probability_lists(self) -> list[list[float]]:
        """Probabilities of each utterance's tokens."""
        return _split(self.probabilities, self.counts)


@torch.no_grad()
def greedy_ctc(logits: Tensor, lengths: Tensor, *, blank: int = 0) -> GreedyPaths:
    """Best label a frame, neighbours merged, blanks removed; no loop over frames or utterances.

    Args:
        logits: (B, T, V), normalised or not. lengths: (B,) real frames; what follows is ignored.
        blank: id of the blank.
    """
    steps, device = logits.size(1), logits.device
    highest, labels = logits.max(-1)  # (B, T)
    real = torch.arange(steps, device=device) < lengths.to(device)[:, None]
    before = torch.nn.functional.pad(labels[:, :-1], (1, 0), value=blank)
    keep = real & (labels != blank) & (labels != before)
    exact = logits.dtype if logits.dtype == torch.float64 else torch.float32
    log_p = highest.to(exact) - logits.to(exact).logsumexp(-1)
    scores = torch.where(real, log_p, 0.0).sum(1)
    owners, frames = keep.nonzero(as_tuple=True)
    probabilities = log_p[owners, frames].exp()  # a token is its frame's best label
    return GreedyPaths(labels[owners, frames], keep.sum(1), frames, probabilities, scores)


@torch.no_grad()
def recognise(
    model: CtcRecogniser, x: Tensor, lengths: Tensor, *, blank: int = 0
) -> tuple[list[list[int]], list[float]]:
    """Tokens and scores of a batch of encoder inputs x (B, T', …); `model` in evaluation mode."""
    if model.training:
        raise ValueError("call model.eval() first: dropout would change the result")
    paths = greedy_ctc(*model.logits(x, lengths), blank=blank)
    return paths.lists(), paths.scores.tolist()


def _split(values: Tensor, counts: Tensor) -> list[list]:
    flat, found, start = values.tolist(), [], 0
    for count in counts.tolist():
        found.append(flat[start : start + count])
        start += count
    return found
