"""The five objectives of SLD (arXiv 2311.04534, Table 1) and two matched controls, in one logits pass."""

from typing import Any

import torch
from torch import Tensor

from espnet_sld.criteria import fused
from espnet_sld.criteria.base import Criterion, Part, as_tensor
from espnet_sld.criteria.fused import Rows, Settings, fused_sums

TEXT, SPEECH = 1, 2  # modality codes of `kinds`

PLACES = {
    "ce_text": fused.CE_TEXT,
    "ce_speech": fused.CE_SPEECH,
    "ce_smoothed": fused.CE_SMOOTHED,
    "kl": fused.KL,
    "acc_text": fused.ACC_TEXT,
    "acc_speech": fused.ACC_SPEECH,
}


class SpeechTextCriterion(Criterion):
    """Losses over `speech pieces · <speech_end> · text · <text_end>` sequences.

    Ids: text 0…V_t−1 · `<text_end>` V_t · `<speech_end>` V_t+1 · speech V_t+2+piece. *Text targets* are
    tokens of kind TEXT, *speech targets* of kind SPEECH (with `<speech_end>`); position 0 is never a target.

    Parts (sums): `ce_text` and `ce_speech`, −log softmax over the joint vocabulary (Eqs. 1–2); `ce_smoothed`,
    the same on speech targets with pieces' labels smoothed; `kl`, T²·KL(q' ‖ softmax(s/T)) (Eqs. 4–5);
    `acc_text` and `acc_speech`, targets that have the highest logit. Parts without a weight are only logged
    and cost no backward.

    Args:
        text_vocabulary: V_t, text tokens without end tokens. speech_vocabulary: V_s, speech pieces.
        objective: `none` (loss masking, row i): CE_text · `ce` (ii): + CE_speech · `label_smoothing` (iii): +
            smoothed CE on speech · `kl` (iv): CE_text + α·KL · `sld` (v, Eq. 6): CE_text + CE_speech + α·KL ·
            `matched`: CE_text + speech_weight · smoothed CE (see `matched_smoothing`) · `ce_weighted`:
            CE_text + speech_weight · CE_speech.
        alpha, epsilon, temperature: α, ε, T of Eqs. 5–6.
        kl_scope: `speech`: targets that are pieces. `released`: the released code's arithmetic: every real
            position; text and end targets count as piece 0; the last token's position has a uniform target.
            (There the pads that follow a sequence decide; here every sequence shorter than `max_positions` is
            treated as followed by one, so padding never changes the loss.)
        kl_reduction: `utterance`: the KL is divided by the batch size; `token`: by the number of its targets.
        speech_weight: weight of the speech part in `matched` and `ce_weighted`.
        smoothing_epsilon: ε of the label-smoothed CE; None = `epsilon`.
        smoothing_classes: `pieces`: a piece's label is smoothed over the V_s pieces; `joint`: over the whole
            vocabulary. Text and end targets stay hard in both.
        log_unused: also compute the parts that the objective does not use (forward only).
        max_logits_bytes: logits kept for the backward, which makes those of more rows again, in chunks.
        max_positions: the block of `kl_scope: released`; None = every sequence counts as shorter.
    """

    count_names = ("text_targets", "speech_targets", "kl_targets", "utterances")
    objectives = ("none", "ce", "label_smoothing", "kl", "sld", "matched", "ce_weighted")

    def __init__(
        self,
        *,
        text_vocabulary: int,
        speech_vocabulary: int,
        objective: str = "sld",
        alpha: float = 0.008,
        epsilon: float = 0.1,
        temperature: float = 1.0,
        kl_scope: str = "speech",
        kl_reduction: str = "utterance",
        speech_weight: float = 1.0,
        smoothing_epsilon: float | None = None,
        smoothing_classes: str = "pieces",
        log_unused: bool = True,
        max_logits_bytes: int = 1 << 29,
        max_positions: int | None = None,
    ):
        super().__init__()
        _one_of("objective", objective, self.objectives)
        _one_of("kl_scope", kl_scope, ("speech", "released"))
        _one_of("kl_reduction", kl_reduction, ("utterance", "token"))
        _one_of("smoothing_classes", smoothing_classes, ("pieces", "joint"))
        smoothing_epsilon = epsilon if smoothing_epsilon is None else smoothing_epsilon
        for name, value in (("epsilon", epsilon), ("smoothing_epsilon", smoothing_epsilon)):
            if not 0 <= value < 1:
                raise ValueError(f"{name} is at least 0 and below 1, not {value}")
        if temperature <= 0:
            raise ValueError(f"temperature is positive, not {temperature}")
        if text_vocabulary < 1 or speech_vocabulary < 2:
            raise ValueError("text_vocabulary is at least 1 and speech_vocabulary at least 2")
        self.objective, self.kl_scope = objective, kl_scope
        self.text_vocabulary, self.speech_vocabulary = text_vocabulary, speech_vocabulary
        self.first_piece, self.max_positions = text_vocabulary + 2, max_positions
        self.log_unused = log_unused
        self.weights = {"ce_text": 1.0} | {
            "none": {},
            "ce": {"ce_speech": 1.0},
            "label_smoothing": {"ce_smoothed": 1.0},
            "kl": {"kl": alpha},
            "sld": {"ce_speech": 1.0, "kl": alpha},
            "matched": {"ce_smoothed": speech_weight},
            "ce_weighted": {"ce_speech": speech_weight},
        }[objective]
        self.part_counts = {
            "ce_text": "text_targets",
            "ce_speech": "speech_targets",
            "ce_smoothed": "speech_targets",
            "kl": "utterances" if kl_reduction == "utterance" else "kl_targets",
            "acc_text": "text_targets",
            "acc_speech": "speech_targets",
        }
        self.settings = Settings(
            first_piece=self.first_piece,
            speech_vocabulary=speech_vocabulary,
            epsilon=epsilon,
            temperature=temperature,
            smoothing_epsilon=smoothing_epsilon,
            smooth_all_classes=smoothing_classes == "joint",
            max_logits_bytes=max_logits_bytes,
            wanted=frozenset(PLACES[name] for name in self.weights),
        )

    def extra_repr(self) -> str:
        return f"objective={self.objective}, kl_scope={self.kl_scope}, weights={self.weights}"

    def counts(self, tokens: Any, kinds: Any) -> dict[str, int]:
        """Denominators of a batch, by `count_names`; see `Criterion.counts`."""
        tokens, kinds = as_tensor(tokens), as_tensor(kinds)
        targets, in_kl, _ = self._targets(tokens, kinds)
        return {
            "text_targets": int((targets == TEXT).sum()),
            "speech_targets": int((targets == SPEECH).sum()),
            "kl_targets": int(in_kl.sum()),
            "utterances": int((kinds != 0).any(1).sum()),
        }

    def forward(
        self,
        hidden: Tensor,
        output_matrix: Tensor,
        tokens: Tensor,
        kinds: Tensor,
        scale: Tensor | None = None,
    ) -> dict[str, Part]:
        """Parts of a micro-batch; see `Criterion.forward`. Sums are float32 also under autocast.

        Args:
            scale: (B, L) factor of the cross entropy and accuracy of what each position *predicts*; None = 1.
        """
        size = self.first_piece + self.speech_vocabulary
        if output_matrix.size(0) < size:
            raise ValueError(f"the model has {output_matrix.size(0)} output rows, the vocabulary {size}")
        targets, in_kl, following = self._targets(tokens, kinds)
        is_text, is_speech = targets == TEXT, targets == SPEECH
        is_ce = is_text | is_speech
        active = torch.zeros_like(is_ce)
        if "ce_text" in self.weights:
            active |= is_text
        if "kl" in self.weights:
            active |= in_kl
        if "ce_speech" in self.weights or "ce_smoothed" in self.weights:
            active |= is_speech
        flat = hidden.reshape(-1, hidden.size(-1))
        if scale is not None:  # only from here on are the masks factors of sums
            is_text, is_speech = is_text * scale, is_speech * scale
        masks = (is_text, is_speech, in_kl, following)
        sums = self._sums(flat, output_matrix, active, *masks)
        if self.log_unused and bool((passive := (is_ce | in_kl) & ~active).any()):
            with torch.no_grad():
                logged = self._sums(flat.detach(), output_matrix.detach(), passive, *masks)
            sums = sums + logged
        fixed = sums.detach()
        return {
            name: Part((sums if name in self.weights else fixed)[place], self.part_counts[name])
            for name, place in PLACES.items()
            if self.log_unused or name in self.weights or name.startswith("acc_text")
        }

    def _targets(self, tokens: Tensor, kinds: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of each position (B, L): its target's kind (0 = none), has it a KL, its target's id (−1 = none)."""
        following = torch.nn.functional.pad(tokens[:, 1:].long(), (0, 1), value=-1)
        targets = torch.nn.functional.pad(kinds[:, 1:], (0, 1), value=0)
        if self.kl_scope == "speech":
            last_piece = self.first_piece + self.speech_vocabulary - 1
            is_piece = (following >= self.first_piece) & (following <= last_piece)
            return targets, (targets == SPEECH) & is_piece, following
        # released: every real position; the last one's target is a pad, unless the sequence fills the block
        places = torch.arange(1, tokens.size(1) + 1, device=tokens.device)
        lengths = ((kinds != 0) * places).amax(1, keepdim=True)  # (B, 1), up to the last token with a kind
        last = places == lengths
        following = torch.where(last, -1, following)
        in_kl = places <= lengths
        if self.max_positions is not None:
            in_kl &= ~(last & (lengths >= self.max_positions))
        return targets, in_kl, following

    def _sums(self, flat, matrix, chosen, is_text, is_speech, in_kl, following) -> Tensor:
        """Sums (6,) over the `chosen` positions (B, L); the KL's rows are gathered first."""
        with_kl = (chosen & in_kl).flatten().nonzero()[:, 0]
        without = (chosen & ~in_kl).flatten().nonzero()[:, 0]
        index = torch.cat([with_kl, without])
        exact = (
            torch.float64 if torch.promote_types(flat.dtype, matrix.dtype) == torch.float64 else torch.float32
        )
        following = following.flatten()[index]
        speech = is_speech.flatten()[index]
        pieces = following - self.first_piece
        label = torch.where(following < 0, -1, pieces.clamp(min=0))  # released: text and ends → piece 0
        rows = Rows(
            target=following.clamp(min=0),
            text=is_text.flatten()[index].to(exact),
            speech=speech.to(exact),
            smooth=(speech * (pieces >= 0)).to(exact),
            piece=label[: with_kl.numel()],
            num_kl=with_kl.numel(),
        )
        return fused_sums(flat.index_select(0, index), matrix, rows, self.settings)


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} is one of {', '.join(allowed)}, not '{value}'")
