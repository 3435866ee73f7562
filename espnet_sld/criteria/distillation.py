"""CTC and attention losses at several encoder layers, taught by a masked LM (arXiv 2401.11700).

The protocol of `Criterion` is that of one joint token sequence (hidden states, output matrix, kinds). Here
there are frames and tokens, two lengths and several layers, so `forward` and `counts` take other arguments
and this is a sibling: the same parts, counts and total, not an entry of the same registry.
"""

import inspect
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from espnet_sld.criteria.alignment import forced_alignment, peak_frames, required_frames
from espnet_sld.criteria.base import Criterion, Part
from espnet_sld.errors import InputError

UTTERANCES = "utterances"


class Row(NamedTuple):
    """An ablation row: λ, w, μ, β and γ; None where the row leaves no use for it."""

    ctc_weight: float
    interctc_weight: float
    interaed_weight: float | None
    soft_label_weight: float | None
    ctc_kd_weight: float = 0.0


# β of CTC-KD is not stated anywhere; it is that of the other two rows with a teacher.
ROWS = {
    "ctc": Row(1.0, 0.0, None, None),
    "interctc": Row(1.0, 0.5, None, None),
    "aed": Row(0.5, 0.5, 0.0, 0.0),
    "aed_kd": Row(0.5, 0.5, 0.0, 0.5),
    "interaed": Row(0.5, 0.5, 0.5, 0.0),
    "interaed_kd": Row(0.5, 0.5, 0.5, 0.5),
    "ctc_kd": Row(1.0, 0.5, None, 0.5, 0.5),
}


class DistillationCriterion(nn.Module):
    """λ·[(1−w)·CTC_N + (w/|K|)·Σ_k CTC_k] + (1−λ)·[(1−μ)·AED^N + (μ/|K|)·Σ_k AED^k].

    AED^l = −Σ_i Σ_v q_i(v) log p_dec^l(v | y_<i, h_l), with q_i = (1−β)·onehot(y_i) + β·b_i for tokens and
    the hard label for `<eos>`. With γ, the first bracket becomes
    (1−γ)·[…] − γ·Σ_i Σ_v q_i(v) log p_CTC(v | t_i), where t_i is the frame of token i's highest posterior on
    its forced alignment at the last layer. Sums are per utterance, means over the batch.

    Parts, each a sum over utterances: `ctc`, `ctc_inter` (mean over K), `aed`, `aed_inter` (mean over K),
    `ctc_kd`; and `infeasible`, logged: utterances with fewer frames than a CTC path needs. Those add nothing
    to the CTC parts. A part of weight 0 is not computed, and what it is made of need not be given.

    Args:
        vocabulary_size: V; ids as ESPnet's: blank 0, `<sos/eos>` V−1.
        row: an ablation row of `ROWS`, which gives the five weights that are not given:
        ctc_weight: λ. interctc_weight: w. interaed_weight: μ. soft_label_weight: β. ctc_kd_weight: γ.
    """

    count_names = (UTTERANCES,)
    total = Criterion.total

    def __init__(
        self,
        *,
        vocabulary_size: int,
        row: str = "interaed_kd",
        ctc_weight: float | None = None,
        interctc_weight: float | None = None,
        interaed_weight: float | None = None,
        soft_label_weight: float | None = None,
        ctc_kd_weight: float | None = None,
    ):
        super().__init__()
        if row not in ROWS:
            raise ValueError(f"row is one of {', '.join(ROWS)}, not '{row}'")
        given = {
            "ctc_weight": ctc_weight,
            "interctc_weight": interctc_weight,
            "interaed_weight": interaed_weight,
            "soft_label_weight": soft_label_weight,
            "ctc_kd_weight": ctc_kd_weight,
        }
        self.row = ROWS[row]._replace(**{key: value for key, value in given.items() if value is not None})
        lambda_, w, mu, beta, gamma = values = [value or 0.0 for value in self.row]
        for name, value in zip(Row._fields, values, strict=True):
            if not 0 <= value <= 1:
                raise ValueError(f"{name} is from 0 to 1, not {value}")
        if vocabulary_size < 3:
            raise ValueError("vocabulary_size is at least 3: blank, a token, <sos/eos>")
        self.eos, self.beta = vocabulary_size - 1, beta
        self.weights = {
            name: weight
            for name, weight in {
                "ctc": lambda_ * (1 - gamma) * (1 - w),
                "ctc_inter": lambda_ * (1 - gamma) * w,
                "ctc_kd": lambda_ * gamma,
                "aed": (1 - lambda_) * (1 - mu),
                "aed_inter": (1 - lambda_) * mu,
            }.items()
            if weight > 0
        }

    def extra_repr(self) -> str:
        return f"weights={self.weights}, beta={self.beta}"

    @property
    def needs_soft_labels(self) -> bool:
        """A teacher's labels take part in the loss."""
        return self.beta > 0 and bool({"aed", "aed_inter", "ctc_kd"} & set(self.weights))

    @property
    def needs_intermediate_ctc(self) -> bool:
        """The CTC of intermediate layers takes part in the loss."""
        return "ctc_inter" in self.weights

    def decoder_layers(self, intermediate: Iterable[int]) -> tuple[int | str, ...]:
        """Where decoders take part in the loss: of the intermediate layers K and "last"; () for none."""
        inner = tuple(intermediate) if "aed_inter" in self.weights else ()
        return (*inner, "last") if "aed" in self.weights else inner

    def counts(self, targets: Any) -> dict[str, int]:
        """Denominators that a batch adds: its utterances."""
        return {UTTERANCES: len(targets)}

    def forward(
        self,
        *,
        lengths: Tensor,
        targets: Tensor,
        target_lengths: Tensor,
        ctc: Tensor | None = None,
        ctc_inter: Mapping[int, Tensor] | None = None,
        aed: Tensor | None = None,
        aed_inter: Mapping[int, Tensor] | None = None,
        soft_ids: Tensor | None = None,
        soft_probs: Tensor | None = None,
    ) -> dict[str, Part]:
        """Parts of a micro-batch, float32 also under autocast.

        Args:
            lengths: (B,) frames. targets: (B, L) token ids, anything at padding. target_lengths: (B,).
            ctc: (B, T, V) log-probabilities of the last layer's CTC. ctc_inter: layer → the same.
            aed: (B, L+1, V) logits of the last layer's decoder; place i predicts token i, place
                `target_lengths` predicts `<eos>`. aed_inter: layer → the same.
            soft_ids: (B, L, k) ids of the teacher's most probable tokens. soft_probs: (B, L, k) their
                probabilities b_i, brought to the sum 1 again (they are stored in half precision).

        Raises:
            ValueError: a part with a weight lacks what it is made of.
        """
        parts: dict[str, Part] = {}
        feasible = required_frames(targets, target_lengths) <= lengths  # (B,)
        for name, given in (("ctc", ctc), ("ctc_inter", ctc_inter)):
            if name in self.weights:
                sums = [
                    _ctc(value, lengths, targets, target_lengths, feasible) for value in _layers(name, given)
                ]
                parts[name] = Part(torch.stack(sums).mean(0), UTTERANCES)
        soft = self._soft_labels(soft_ids, soft_probs) if self.needs_soft_labels else None
        if "ctc_kd" in self.weights:
            (value,) = _layers("ctc", ctc)
            kd = self._ctc_kd(value, lengths, targets, target_lengths, soft)
            parts["ctc_kd"] = Part(kd, UTTERANCES)
        for name, logits in (("aed", aed), ("aed_inter", aed_inter)):
            if name in self.weights:
                sums = [self._aed(value, targets, target_lengths, soft) for value in _layers(name, logits)]
                parts[name] = Part(torch.stack(sums).mean(0), UTTERANCES)
        parts["infeasible"] = Part((~feasible).sum().float(), UTTERANCES)
        return parts

    def _soft_labels(self, ids: Tensor | None, probs: Tensor | None) -> tuple[Tensor, Tensor]:
        """Ids (B, L, k) int64 and probabilities b (B, L, k), float32, of sum 1; 0 at padding."""
        if ids is None or probs is None:
            raise ValueError("this row needs the teacher's soft labels (soft_ids, soft_probs)")
        probs = probs.double() if probs.dtype == torch.float64 else probs.float()
        total = probs.sum(-1, keepdim=True)
        return ids.long(), probs / total.masked_fill(total == 0, 1.0)

    def _ctc_kd(self, log_probs: Tensor, lengths, targets, target_lengths, soft) -> Tensor:
        """−Σ_i Σ_v q_i(v) log p_CTC(v | t_i) over tokens with a frame."""
        frames = forced_alignment(log_probs.detach(), lengths, targets, target_lengths).frames
        peaks = peak_frames(log_probs.detach(), targets, frames)  # (B, L)
        rows = torch.arange(len(peaks), device=peaks.device)[:, None]
        at_peaks = _exact(log_probs[rows, peaks.clamp(min=0)])  # (B, L, V)
        loss = -self._expected(at_peaks, targets, soft)
        return torch.where(peaks >= 0, loss, 0.0).sum()

    def _aed(self, logits: Tensor, targets: Tensor, target_lengths: Tensor, soft) -> Tensor:
        """Cross-entropy with q_i over tokens, hard at `<eos>`."""
        logits, length = _exact(logits), targets.size(1)
        if logits.size(1) != length + 1:
            raise ValueError(f"decoder logits have {logits.size(1)} places, {length} tokens need one more")
        normaliser = logits.logsumexp(-1)  # (B, L+1)
        place = torch.arange(length, device=targets.device)
        tokens = normaliser[:, :-1] - self._expected(logits[:, :-1], targets, soft)  # Σ_v q_i(v) = 1
        loss = torch.where(place < target_lengths[:, None], tokens, 0.0).sum()
        rows = torch.arange(len(targets), device=targets.device)
        ends = normaliser[rows, target_lengths] - logits[rows, target_lengths, self.eos]
        return loss + ends.sum()

    def _expected(self, values: Tensor, targets: Tensor, soft: tuple[Tensor, Tensor] | None) -> Tensor:
        """Σ_v q_i(v)·values_i(v) (B, L) of values (B, L, V), from the k + 1 places where q is not 0."""
        hard = values.gather(-1, targets.clamp(min=0).long()[..., None])[..., 0]
        if soft is None:
            return hard
        ids, probs = soft
        taught = (probs.to(values) * values.gather(-1, ids)).sum(-1)
        return (1 - self.beta) * hard + self.beta * taught


def build_distillation(conf: Mapping[str, Any] | None, vocabulary_size: int) -> DistillationCriterion:
    """Build the criterion from the config's `criterion_conf`.

    Raises:
        InputError: an unknown option, or a value that the criterion refuses.
    """
    conf = dict(conf or {})
    known = set(inspect.signature(DistillationCriterion).parameters) - {"vocabulary_size"}
    if unknown := sorted(set(conf) - known):
        raise InputError(
            f"criterion_conf: unknown option {', '.join(unknown)}; known: {', '.join(sorted(known))}"
        )
    try:
        return DistillationCriterion(vocabulary_size=vocabulary_size, **conf)
    except (TypeError, ValueError) as error:
        raise InputError(f"criterion_conf: {error}") from error


def _layers(name: str, given: Tensor | Mapping[int, Tensor] | None) -> list[Tensor]:
    values = list(given.values()) if isinstance(given, Mapping) else [given]
    if not values or any(value is None for value in values):
        raise ValueError(f"the loss has a weight on '{name}', but the model gives none")
    return values


def _ctc(log_probs, lengths, targets, target_lengths, feasible) -> Tensor:
    """Σ over utterances of −log p(y | x); an utterance without a path adds 0, and no gradient."""
    losses = nn.functional.ctc_loss(
        _exact(log_probs).transpose(0, 1),
        targets.clamp(min=0).long(),
        lengths,
        target_lengths,
        reduction="none",
        zero_infinity=True,
    )
    return torch.where(feasible.to(losses.device), losses, 0.0).sum()


def _exact(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()
