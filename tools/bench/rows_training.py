"""Rows of training: the objective's time and memory, and padding in batches."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from lengths import MAX_POSITIONS, librispeech_like, sequences
from measure import Pairs, Row, allowance_row, cost_row, limit_share, require, time_pairs
from memory import peak_bytes
from torch import Tensor
from torch.nn import functional as F

from espnet_sld.criteria import SpeechTextCriterion
from espnet_sld.tasks.batching import TokenBatchSampler, padding_share

ALPHA, EPSILON, IGNORED = 0.008, 0.1, -100


def released_loss(
    hidden: Tensor, matrix: Tensor, labels: Tensor, text_vocabulary: int, speech_vocabulary: int
) -> Tensor:
    """SLD as the published code computes it, restated: everything at every one of the padded positions.

    Three cross entropies over the joint vocabulary (the language model's own, which is then not used; text;
    speech) and a KL to the softmax of a smoothed one-hot label, which is made from int64. The KL takes every
    real position, text targets as piece 0; logits and labels of pads are multiplied by 0.

    Args:
        hidden: (B, 1024, D). matrix: (V, D). labels: (B, 1024) joint ids, −100 at pads.
    """
    logits = hidden @ matrix.T  # (B, 1024, V)
    targets = labels[:, 1:]
    real = (labels != IGNORED).long()
    shifted = logits[:, :-1].contiguous()
    flat = shifted.view(-1, shifted.size(-1))
    F.cross_entropy(flat, targets.flatten())

    spoken = logits[:, :-1, -speech_vocabulary:].contiguous() * real[:, :-1, None]
    pieces = ((targets - text_vocabulary - 2) * real[:, 1:]).clamp(min=0)
    label = F.one_hot(pieces, speech_vocabulary) * (1 - EPSILON) + EPSILON / speech_vocabulary
    label = (label * real[:, 1:, None]).softmax(-1)
    kl = F.kl_div(spoken.log_softmax(-1), label, reduction="batchmean")

    is_text = targets <= text_vocabulary  # pads too, which are ignored anyway
    ce_text = F.cross_entropy(flat, torch.where(is_text, targets, IGNORED).flatten())
    ce_speech = F.cross_entropy(flat, torch.where(is_text, IGNORED, targets).flatten())
    return ce_text + ce_speech + ALPHA * kl


def released_criterion(text_vocabulary: int, speech_vocabulary: int) -> SpeechTextCriterion:
    """Ours with the released code's scope of the KL, so that it is the same loss as `released_loss`."""
    return SpeechTextCriterion(
        text_vocabulary=text_vocabulary,
        speech_vocabulary=speech_vocabulary,
        objective="sld",
        alpha=ALPHA,
        epsilon=EPSILON,
        kl_scope="released",
        max_positions=MAX_POSITIONS,
    )


def padded(
    samples: Sequence[tuple[np.ndarray, np.ndarray]], device: str, positions: int | None = None
) -> tuple[Tensor, Tensor]:
    """Tokens and kinds (0 = pad), each (B, `positions`); None: as many as the longest has."""
    positions = positions or max(len(ids) for ids, _ in samples)
    tokens = torch.zeros(len(samples), positions, dtype=torch.long)
    kinds = torch.zeros(len(samples), positions, dtype=torch.uint8)
    for row, (ids, kind) in enumerate(samples):
        tokens[row, : len(ids)], kinds[row, : len(ids)] = torch.from_numpy(ids), torch.from_numpy(kind)
    return tokens.to(device), kinds.to(device)


def released_labels(
    samples: Sequence[tuple[np.ndarray, np.ndarray]], device: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens, kinds and labels (−100 at pads), padded to 1024 as the released code has them."""
    tokens, kinds = padded(samples, device, MAX_POSITIONS)
    return tokens, kinds, torch.where(kinds == 0, IGNORED, tokens)


class Objective(NamedTuple):
    """Ours and the released loss from the same hidden states; each gives (loss, gradients)."""

    ours: Callable[[], tuple[Tensor, ...]]
    peer: Callable[[], tuple[Tensor, ...]]
    flops: int  # of the projection's three products on real tokens
    sizes: str
    device: str
    dtype: torch.dtype


def objective(
    *,
    utterances: int = 4,
    width: int = 128,
    text_vocabulary: int = 50_257,
    speech_vocabulary: int = 6000,
    device: str = "cpu",
    dtype: str = "float32",
) -> Objective:
    """SLD and its output projection, forward and backward; the sizes of every row `objective_…`.

    Raises:
        AssertionError: the two differ.
    """
    precision = getattr(torch, dtype)
    samples = sequences(utterances, text_vocabulary, speech_vocabulary)
    tokens, kinds = padded(samples, device)
    _, _, labels = released_labels(samples, device)
    longest = tokens.size(1)
    generator = torch.Generator().manual_seed(0)
    size = text_vocabulary + 2 + speech_vocabulary
    states = torch.randn(utterances, MAX_POSITIONS, width, generator=generator).to(device, precision)
    states.requires_grad_()
    hidden = states.detach()[:, :longest].clone().requires_grad_()
    matrix = torch.randn(size, width, generator=generator) / width**0.5
    matrix = matrix.to(device, precision).requires_grad_()
    criterion = released_criterion(text_vocabulary, speech_vocabulary)

    def ours() -> tuple[Tensor, ...]:
        counts = criterion.counts(tokens, kinds)
        loss = criterion.total(criterion(hidden, matrix, tokens, kinds), counts)
        return loss.detach(), *torch.autograd.grad(loss, (hidden, matrix))

    def peer() -> tuple[Tensor, ...]:
        loss = released_loss(states, matrix, labels, text_vocabulary, speech_vocabulary)
        return loss.detach(), *torch.autograd.grad(loss, (states, matrix))

    exact = precision == torch.float32
    (loss, to_hidden, to_matrix), (released, to_states, to_matrix_too) = ours(), peer()
    near = torch.isclose(loss.float(), released.float(), rtol=1e-5 if exact else 2e-2)
    require(bool(near), f"SLD loss {loss} but released {released}")
    real = kinds != 0
    for name, own, theirs in (
        ("hidden states", to_hidden[real], to_states[:, :longest][real]),
        ("output matrix", to_matrix, to_matrix_too),
    ):
        error = float((own - theirs).float().norm() / theirs.float().norm())
        require(
            error < (1e-4 if exact else 5e-2),
            f"SLD gradients to the {name} differ by {error:.1e} of their norm",
        )
    positions = int(real.sum())
    return Objective(
        ours,
        peer,
        6 * positions * width * size,
        f"D = {width}, V = {size}, {utterances} utterances, {positions} tokens; loss and gradients equal",
        device,
        precision,
    )


def objective_time(repeats: int, *, bar: float = 5.0, name: str = "objective_time", **sizes: Any) -> Row:
    """Forward and backward of SLD, output projection included; `sizes` are those of `objective`."""
    case = objective(**sizes)
    pairs = time_pairs(case.ours, case.peer, repeats, case.device)
    return cost_row(
        name,
        "released loss, padded to 1024",
        pairs,
        unit="ms",
        scale=1e3,
        bar=bar,
        device=case.device,
        limit_share=limit_share(case.flops, float(np.median(pairs.ours)), case.device, case.dtype),
        description=f"SLD forward and backward with the output projection, {case.sizes}. "
        "Limit: the projection's three products on real tokens",
    )


def objective_time_1024(repeats: int, *, utterances: int = 2, width: int = 1024, **sizes: Any) -> Row:
    """The same at the paper's width; the projection itself is most of it (ceiling about 4.4 on a CPU)."""
    return objective_time(
        repeats, utterances=utterances, width=width, bar=3.0, name="objective_time_1024", **sizes
    )


def objective_memory(repeats: int, **sizes: Any) -> Row:
    """Peak memory of the same, beyond its inputs: gradients are in it, for both."""
    case = objective(**sizes)
    own = [float(peak_bytes(case.ours, case.device)) for _ in range(repeats)]
    theirs = [float(peak_bytes(case.peer, case.device)) for _ in range(repeats)]
    return cost_row(
        "objective_memory",
        "released loss, padded to 1024",
        Pairs(own, theirs),
        unit="MB",
        scale=1e-6,
        bar=8.0,
        device=case.device,
        peak_bytes=int(np.median(own)),
        description=f"peak memory beyond the inputs, gradients included, {case.sizes}",
    )


def padding(repeats: int, *, utterances: int = 20_000, batch_bins: int = 24_000) -> Row:
    """Padding of the training batches; the repeats are different passes over the corpus."""
    speech, text = librispeech_like(utterances)
    lengths = speech + text + 2
    sampler = TokenBatchSampler(lengths, batch_bins)
    shares = []
    for number in range(repeats):
        batches = sampler.pass_batches(1, number)
        members = np.sort(np.concatenate(batches))
        require(np.array_equal(members, np.arange(utterances)), "a pass is not every utterance once")
        shares.append(100 * padding_share(batches, lengths))
    return allowance_row(
        "padding",
        "pad to 1024",
        shares,
        100 * (1 - float(lengths.mean()) / MAX_POSITIONS),
        allowed=5.0,
        unit="% of positions",
        description=f"positions without a token, {utterances} utterances of LibriSpeech-like lengths in "
        f"batches of {batch_bins} positions; every utterance once a pass. Ratio: allowed 5 % ÷ ours",
    )
