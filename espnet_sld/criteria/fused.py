"""All speech-text sums from one logits pass, with a hand-written backward; no one-hot anywhere.

The sums are closed forms of the logits z = h·Wᵀ (s = z over the speech pieces, y the target):
  CE          Σ logsumexp(z) − z_y
  smoothed CE Σ logsumexp(z) − (1−ε)·z_y − (ε/V_c)·Σ_c z_c                   over the V_c smoothing classes
  KL          T²·Σ [Σq'·log q' + logsumexp(s/T) − (a·s_y + b·Σ_v s_v)/T]      (a, b: `smoothed_label`)
with Σ_v s_v = h·Σ_v W_v. The gradient with respect to z is a sum of softmaxes and constants, so the backward
needs z alone. Chunks of z are kept while they fit `max_logits_bytes`; the backward makes the others again.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from espnet_sld.criteria.smoothing import SmoothedLabel, smoothed_label

# Places in the vector of sums.
CE_TEXT, CE_SPEECH, CE_SMOOTHED, KL, ACC_TEXT, ACC_SPEECH = range(6)
NUM_SUMS = 6

CPU_CHUNK_BYTES = 1 << 25  # logits at once; the scratch memory of both passes is a few times this
GPU_CHUNK_BYTES = 1 << 28  # smaller ones would leave a GPU waiting for its next kernel


@dataclass(frozen=True)
class Settings:
    """Constants of the loss; `wanted` names the sums (places) that will be differentiated."""

    first_piece: int
    speech_vocabulary: int
    epsilon: float
    temperature: float
    smoothing_epsilon: float
    smooth_all_classes: bool
    max_logits_bytes: int
    wanted: frozenset[int]

    @property
    def label(self) -> SmoothedLabel:
        return smoothed_label(self.speech_vocabulary, self.epsilon, self.temperature)

    @property
    def pieces(self) -> slice:
        return slice(self.first_piece, self.first_piece + self.speech_vocabulary)


class Rows(NamedTuple):
    """What the N gathered positions predict. The first `num_kl` rows are the KL's.

    Attributes:
        target: (N,) joint id of the target; any valid id where there is none.
        text, speech: (N,) 1.0 where the row counts for CE_text / CE_speech.
        smooth: (N,) 1.0 where the target is a speech piece of CE_speech.
        piece: (num_kl,) target piece in 0…V_s−1; −1 = uniform target.
        num_kl: rows with a KL, at the front.
    """

    target: Tensor
    text: Tensor
    speech: Tensor
    smooth: Tensor
    piece: Tensor
    num_kl: int

    def part(self, start: int, stop: int) -> "Rows":
        piece = self.piece[start:stop]
        return Rows(
            self.target[start:stop],
            self.text[start:stop],
            self.speech[start:stop],
            self.smooth[start:stop],
            piece,
            piece.numel(),
        )


def fused_sums(hidden: Tensor, matrix: Tensor, rows: Rows, settings: Settings) -> Tensor:
    """Vector of the six sums over N rows.

    Args:
        hidden: (N, D) states of the rows. matrix: (V, D) output embedding.

    Returns:
        (6,) in float32 (float64 for float64 input), differentiable in the places of `settings.wanted`.
    """
    device = hidden.device.type
    if torch.is_autocast_enabled(device):
        multiply = torch.get_autocast_dtype(device)
    else:
        multiply = torch.promote_types(hidden.dtype, matrix.dtype)
    return _FusedSums.apply(hidden, matrix, rows, settings, multiply)


class _FusedSums(torch.autograd.Function):
    @staticmethod
    def forward(ctx, hidden: Tensor, matrix: Tensor, rows: Rows, settings: Settings, multiply: torch.dtype):
        with torch.autocast(hidden.device.type, enabled=False):
            exact = torch.float64 if multiply == torch.float64 else torch.float32
            number, size = hidden.size(0), matrix.size(0)
            differentiated = any(ctx.needs_input_grad[:2])
            row_bytes = size * exact.itemsize
            at_once = CPU_CHUNK_BYTES if hidden.device.type == "cpu" else GPU_CHUNK_BYTES
            chunk = max(1, min(at_once, settings.max_logits_bytes) // row_bytes)
            cast_hidden, cast_matrix = hidden.to(multiply), matrix.to(multiply)
            classes = matrix if settings.smooth_all_classes else matrix[settings.pieces]
            piece_sum = hidden.to(exact) @ matrix[settings.pieces].sum(0, dtype=exact)  # (N,) Σ_v s_v
            class_sum = (
                hidden.to(exact) @ classes.sum(0, dtype=exact) if settings.smooth_all_classes else piece_sum
            )

            sums = hidden.new_zeros(NUM_SUMS, dtype=exact)
            normalisers, piece_normalisers, kept = [], [], []
            for start in range(0, number, chunk):
                stop = min(start + chunk, number)
                logits = _logits(cast_hidden[start:stop], cast_matrix, exact)
                lse, piece_lse = _add_sums(
                    sums,
                    logits,
                    piece_sum[start:stop],
                    class_sum[start:stop],
                    rows.part(start, stop),
                    settings,
                )
                normalisers.append(lse)
                piece_normalisers.append(piece_lse)
                if differentiated and stop * row_bytes <= settings.max_logits_bytes:
                    kept.append(logits)
                del logits  # two chunks are never alive at once, but for those that are kept
        if differentiated and number:
            ctx.save_for_backward(
                cast_hidden,
                cast_matrix,
                torch.cat(normalisers),
                torch.cat(piece_normalisers),
                *rows[:-1],
                *kept,
            )
            ctx.chunk, ctx.settings, ctx.exact = chunk, settings, exact
        ctx.number, ctx.like = number, (hidden.dtype, matrix.dtype)
        ctx.shapes = hidden.shape, matrix.shape
        return sums

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient: Tensor):
        hidden_dtype, matrix_dtype = ctx.like
        if not ctx.number:
            return (
                tuple(gradient.new_zeros(s, dtype=d) for s, d in zip(ctx.shapes, ctx.like, strict=True))
                + (None,) * 3
            )
        hidden, matrix, normaliser, piece_normaliser, target, text, speech, smooth, piece, *kept = (
            ctx.saved_tensors
        )
        rows = Rows(target, text, speech, smooth, piece, piece.numel())
        grad_hidden = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        grad_matrix = None
        for number, start in enumerate(range(0, ctx.number, ctx.chunk)):
            stop = min(start + ctx.chunk, ctx.number)
            known = number < len(kept)
            grad_logits = _logits_gradient(
                gradient,
                kept[number] if known else _logits(hidden[start:stop], matrix, ctx.exact),
                normaliser[start:stop],
                piece_normaliser[start:stop],
                rows.part(start, stop),
                ctx.settings,
            ).to(hidden.dtype)
            if grad_hidden is not None:
                torch.mm(grad_logits, matrix, out=grad_hidden[start:stop])
            if ctx.needs_input_grad[1]:
                # over chunks the sum is kept in full precision
                product = (grad_logits.T @ hidden[start:stop]).to(ctx.exact)
                grad_matrix = product if grad_matrix is None else grad_matrix.add_(product)
        return (
            None if grad_hidden is None else grad_hidden.to(hidden_dtype),
            None if grad_matrix is None else grad_matrix.to(matrix_dtype),
            None,
            None,
            None,
        )


def _logits(hidden: Tensor, matrix: Tensor, exact: torch.dtype) -> Tensor:
    return (hidden @ matrix.T).to(exact)  # (n, V)


def _add_sums(
    sums: Tensor, logits: Tensor, piece_sum: Tensor, class_sum: Tensor, rows: Rows, settings: Settings
) -> tuple[Tensor, Tensor]:
    """Add a chunk to `sums`; return its log-normalisers (n,) and over the pieces (num_kl,)."""
    highest = logits.amax(-1)
    # a scratch tensor of the chunk's size, gone on return
    normaliser = (logits - highest[:, None]).exp_().sum(-1).log_().add_(highest)
    at_target = logits.gather(1, rows.target[:, None])[:, 0]
    negative = normaliser - at_target
    correct = (at_target >= highest).to(negative)
    sums[CE_TEXT] += negative @ rows.text
    sums[CE_SPEECH] += negative @ rows.speech
    sums[ACC_TEXT] += correct @ rows.text
    sums[ACC_SPEECH] += correct @ rows.speech
    classes = logits.size(1) if settings.smooth_all_classes else settings.speech_vocabulary
    smoothing = settings.smoothing_epsilon * (at_target - class_sum / classes)
    sums[CE_SMOOTHED] += negative @ rows.speech + smoothing @ rows.smooth

    pieces = logits[: rows.num_kl, settings.pieces]  # (num_kl, V_s), a view
    temperature, label = settings.temperature, settings.label
    piece_normaliser = torch.logsumexp(pieces if temperature == 1 else pieces / temperature, -1)
    piece_sum = piece_sum[: rows.num_kl]
    at_piece = pieces.gather(1, rows.piece.clamp(min=0)[:, None])[:, 0] if rows.num_kl else piece_sum
    cross = label.negative_entropy - (label.excess * at_piece + label.floor * piece_sum) / temperature
    size = settings.speech_vocabulary
    uniform = -torch.log(cross.new_tensor(float(size))) - piece_sum / (size * temperature)
    divergence = piece_normaliser + torch.where(rows.piece >= 0, cross, uniform)
    sums[KL] += temperature**2 * divergence.sum()
    return normaliser, piece_normaliser


def _logits_gradient(
    gradient: Tensor,
    logits: Tensor,
    normaliser: Tensor,
    piece_normaliser: Tensor,
    rows: Rows,
    settings: Settings,
) -> Tensor:
    """d(gradient · sums)/d logits, (n, V)."""
    wanted, zero = settings.wanted, gradient.new_zeros(())
    text, speech, smoothed, kl = (gradient[i] if i in wanted else zero for i in range(4))
    hard = text * rows.text + (speech + smoothed) * rows.speech  # (n,) weight of the full softmax
    if wanted - {KL}:
        result = torch.sub(logits, normaliser[:, None]).exp_().mul_(hard[:, None])
    else:
        result = torch.zeros_like(logits)
    at_target = -hard
    if CE_SMOOTHED in wanted:
        share = smoothed * settings.smoothing_epsilon * rows.smooth  # mass moved off the target
        at_target = at_target + share
        spread = result if settings.smooth_all_classes else result[:, settings.pieces]
        spread -= (share / spread.size(1))[:, None]
    result.scatter_add_(1, rows.target[:, None], at_target[:, None])
    if KL in wanted and rows.num_kl:
        scale, label = kl * settings.temperature, settings.label
        pieces = logits[: rows.num_kl, settings.pieces]
        pieces = (
            pieces - piece_normaliser[:, None]
            if settings.temperature == 1
            else (pieces / settings.temperature).sub_(piece_normaliser[:, None])
        )
        known = (rows.piece >= 0).to(pieces)  # (num_kl,) 0 where the target is uniform
        uniform = 1.0 / settings.speech_vocabulary
        pieces.exp_().sub_((uniform + known * (label.floor - uniform))[:, None])
        pieces.scatter_add_(1, rows.piece.clamp(min=0)[:, None], (known * -label.excess)[:, None])
        result[: rows.num_kl, settings.pieces].add_(pieces.mul_(scale))
    return result
