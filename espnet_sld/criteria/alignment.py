"""Forced alignment by CTC (Graves et al. 2006, Sec. 4): the best path through a known token sequence."""

from typing import NamedTuple

import torch
from torch import Tensor

NONE = -1  # a frame without a token, or a token without a frame


class Alignment(NamedTuple):
    """The best path of each utterance.

    Attributes:
        scores: (B,) log-probability of the path; −inf where no path exists.
        frames: (B, T) int64, place (0…L−1) of the token that each frame emits; −1 at blanks, at padding and
            all over an utterance without a path.
    """

    scores: Tensor
    frames: Tensor


def required_frames(targets: Tensor, target_lengths: Tensor) -> Tensor:
    """Fewest frames that a CTC path needs, (B,): a frame a token, and a blank between equal neighbours.

    Args:
        targets: (B, L) token ids, anything at padding. target_lengths: (B,).
    """
    if targets.size(1) < 2:
        return target_lengths
    real = torch.arange(1, targets.size(1), device=targets.device) < target_lengths[:, None]
    return target_lengths + ((targets[:, 1:] == targets[:, :-1]) & real).sum(1)


@torch.no_grad()
def forced_alignment(
    log_probs: Tensor, lengths: Tensor, targets: Tensor, target_lengths: Tensor, *, blank: int = 0
) -> Alignment:
    """Viterbi over blank y₁ blank y₂ … y_L blank, exact, all utterances at once; no gradient.

    Among equal paths, the one that leaves a token or blank latest, read from the end.

    Args:
        log_probs: (B, T, V) log-probabilities (normalised or not). lengths: (B,) frames, at least 1.
        targets: (B, L) token ids without blanks, anything at padding. target_lengths: (B,), 0 allowed.
        blank: id of the blank.

    Returns:
        `Alignment`; an utterance with fewer frames than `required_frames`, or whose every path has
        probability 0, has score −inf and no frames.
    """
    batch, steps, _ = log_probs.shape
    device, rows = log_probs.device, torch.arange(batch, device=log_probs.device)
    lengths, target_lengths = lengths.to(device), target_lengths.to(device)
    exact = log_probs.dtype if log_probs.dtype == torch.float64 else torch.float32
    width = 2 * targets.size(1) + 1  # S: states, blanks at even places
    real = torch.arange(targets.size(1), device=device) < target_lengths[:, None]
    states = torch.full((batch, width), blank, device=device)
    states[:, 1::2] = torch.where(real, targets, blank)
    # a jump over a blank is allowed onto a token that differs from the one before
    skip = torch.zeros(batch, width, dtype=torch.bool, device=device)
    skip[:, 3::2] = states[:, 3::2] != states[:, 1:-2:2]

    impossible = float("-inf")
    best = torch.full((batch, width), impossible, dtype=exact, device=device)
    best[:, :2] = log_probs[:, 0].to(exact).gather(1, states[:, :2])
    moves = torch.zeros(steps, batch, width, dtype=torch.uint8, device=device)  # 0 stay, 1 next, 2 skip
    padded = best.new_full((batch, width + 2), impossible)
    for step in range(1, steps):
        padded[:, 2:] = best
        jump = padded[:, :-2].masked_fill(~skip, impossible)
        value, move = torch.stack([best, padded[:, 1:-1], jump]).max(0)  # (B, S)
        value = value + log_probs[:, step].to(exact).gather(1, states)
        inside = (step < lengths)[:, None]
        best = torch.where(inside, value, best)
        moves[step] = torch.where(inside, move, 0)

    last = 2 * target_lengths  # the last blank; one before it, the last token
    from_token = best[rows, (last - 1).clamp(min=0)].masked_fill(target_lengths == 0, impossible)
    from_blank = best[rows, last]
    scores = torch.maximum(from_token, from_blank)
    state = torch.where(from_token >= from_blank, last - 1, last).clamp(min=0)
    path = torch.empty(batch, steps, dtype=torch.int64, device=device)
    for step in range(steps - 1, -1, -1):
        path[:, step] = state
        state = (state - moves[step, rows, state]).clamp(min=0)
    emits = (path % 2 == 1) & (torch.arange(steps, device=device) < lengths[:, None])
    emits &= (scores != impossible)[:, None]
    return Alignment(scores, torch.where(emits, path // 2, NONE))


@torch.no_grad()
def peak_frames(log_probs: Tensor, targets: Tensor, frames: Tensor) -> Tensor:
    """The frame of each token at which, among the frames aligned to it, the token is most probable.

    Args:
        log_probs: (B, T, V). targets: (B, L) token ids, anything at padding.
        frames: (B, T), see `Alignment.frames`.

    Returns:
        (B, L) int64 frames, the first of equal ones; −1 where a token has none (padding, no path).
    """
    batch, steps = frames.shape
    if not targets.size(1):
        return targets.new_empty(batch, 0, dtype=torch.int64)
    aligned = frames != NONE
    place = frames.clamp(min=0)  # (B, T)
    token = targets.gather(1, place).clamp(min=0)
    value = log_probs.gather(2, token[..., None])[..., 0]
    value = value.float() if value.dtype in (torch.float16, torch.bfloat16) else value
    value = value.masked_fill(~aligned, float("-inf"))
    highest = value.new_full(targets.shape, float("-inf")).scatter_reduce(1, place, value, "amax")
    at_peak = aligned & (value == highest.gather(1, place))
    time = torch.where(at_peak, torch.arange(steps, device=frames.device), steps)
    peaks = torch.full(targets.shape, steps, dtype=torch.int64, device=frames.device)
    peaks = peaks.scatter_reduce(1, place, time, "amin")
    return torch.where(peaks < steps, peaks, NONE)
