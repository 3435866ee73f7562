"""DMLM's length-normalised tri-modal loss (arXiv 2406.06582), its speech part by any of SLD's objectives."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from espnet_sld.criteria.base import Criterion, Part, as_tensor
from espnet_sld.criteria.speech_text import SpeechTextCriterion

CODES = {"text": 1, "speech": 2, "image": 3}  # modality codes of `kinds`
COUNTED = tuple(CODES)


class ModalityCriterion(Criterion):
    """L = Σ_m (λ_m / n_m) · Σ_{t: target ∈ m} −log softmax(z_t)[x_t], over the joint vocabulary; m: S, T, I.

    A target's modality is its kind: conditions count as well, end tokens with what they end, other special
    tokens never. A modality without a target adds nothing. Position 0 is never a target.

    Parts (sums): `ce_text`, `ce_speech`, `ce_smoothed`, `kl`, `acc_text`, `acc_speech` as in
    `SpeechTextCriterion`, and `ce_image`, `acc_image` where the vocabulary has images.

    Args:
        text_vocabulary, speech_vocabulary, image_vocabulary: V_t, V_s, V_i; ids: text · `<text_end>` ·
            `<speech_end>` · speech · image · other special tokens.
        lambda_speech, lambda_text, lambda_image: λ_S, λ_T, λ_I; 0 leaves the modality out of the loss.
        normalisation: what n_m counts, which the paper does not say. `batch`: the targets of m in the
            optimiser step, over all its micro-batches and processes. `sequence`: those in the same sequence;
            the loss is the mean over the step's sequences. `none`: no length normalisation: n_m is the number
            of targets of all modalities in the step, so λ alone balances them.
        speech_objective: what the speech part is: one of `SpeechTextCriterion.objectives`. With
            λ_S = λ_T = 1, `batch` and SLD's sequences the loss is that criterion's, bit for bit.
            Normalisation is of the cross entropies; the KL keeps SLD's, by `kl_reduction`: the sequences with
            speech, or its targets.
        alpha, epsilon, temperature, kl_reduction, speech_weight, smoothing_epsilon, smoothing_classes,
            log_unused, max_logits_bytes: see `SpeechTextCriterion`.
    """

    normalisations = ("batch", "sequence", "none")

    def __init__(
        self,
        *,
        text_vocabulary: int,
        speech_vocabulary: int,
        image_vocabulary: int = 0,
        lambda_speech: float = 0.25,
        lambda_text: float = 0.93,
        lambda_image: float = 0.25,
        normalisation: str = "batch",
        speech_objective: str = "ce",
        alpha: float = 0.008,
        epsilon: float = 0.1,
        temperature: float = 1.0,
        kl_reduction: str = "utterance",
        speech_weight: float = 1.0,
        smoothing_epsilon: float | None = None,
        smoothing_classes: str = "pieces",
        log_unused: bool = True,
        max_logits_bytes: int = 1 << 29,
    ):
        super().__init__()
        if normalisation not in self.normalisations:
            raise ValueError(
                f"normalisation is one of {', '.join(self.normalisations)}, not '{normalisation}'"
            )
        factors = {"text": lambda_text, "speech": lambda_speech, "image": lambda_image}
        if min(factors.values()) < 0 or not any(factors.values()):
            raise ValueError("the lambdas must not be negative, and one of them positive")
        self.normalisation, self.speech_objective = normalisation, speech_objective
        if speech_objective not in SpeechTextCriterion.objectives:
            known = ", ".join(SpeechTextCriterion.objectives)
            raise ValueError(f"speech_objective is one of {known}, not '{speech_objective}'")
        common = {
            "text_vocabulary": text_vocabulary,
            "speech_vocabulary": speech_vocabulary,
            "max_logits_bytes": max_logits_bytes,
        }
        self.speech_text = SpeechTextCriterion(
            **common,
            objective=speech_objective,
            alpha=alpha,
            epsilon=epsilon,
            temperature=temperature,
            kl_reduction=kl_reduction,
            speech_weight=speech_weight,
            smoothing_epsilon=smoothing_epsilon,
            smoothing_classes=smoothing_classes,
            log_unused=log_unused,
        )
        # Image targets are to this one what text is; logits of their rows only are made here.
        self.image = SpeechTextCriterion(**common, objective="none", log_unused=False)
        self.weights = {
            name: weight * (lambda_text if name == "ce_text" else lambda_speech)
            for name, weight in self.speech_text.weights.items()
        }
        if image_vocabulary:
            self.weights["ce_image"] = lambda_image
        self.with_image = image_vocabulary > 0
        self.count_names = (
            *(f"{name}_targets" for name in COUNTED),
            "targets",
            "kl_targets",
            *(f"{name}_sequences" for name in COUNTED),
            "sequences",
        )

    def extra_repr(self) -> str:
        return f"normalisation={self.normalisation}, speech={self.speech_objective}, weights={self.weights}"

    def counts(self, tokens: Any, kinds: Any) -> dict[str, int]:
        """Denominators of a batch, by `count_names`; see `Criterion.counts`."""
        tokens, kinds = as_tensor(tokens), as_tensor(kinds)
        found = {name: kinds[:, 1:] == code for name, code in CODES.items()}
        result = {f"{name}_targets": int(where.sum()) for name, where in found.items()}
        result["targets"] = sum(result.values())
        result["kl_targets"] = self.speech_text.counts(tokens, kinds)["kl_targets"]
        # As SLD's batch size: a sequence whose only piece comes first has speech, though no target of it.
        for name, code in CODES.items():
            result[f"{name}_sequences"] = int((kinds == code).any(1).sum())
        result["sequences"] = int((kinds != 0).any(1).sum())
        return result

    def forward(
        self, hidden: Tensor, output_matrix: Tensor, tokens: Tensor, kinds: Tensor
    ) -> dict[str, Part]:
        """Parts of a micro-batch; see `Criterion.forward`."""
        scale = self._scale(kinds, hidden.dtype) if self.normalisation == "sequence" else None
        parts = self.speech_text(hidden, output_matrix, tokens, kinds, scale)
        if self.with_image:
            as_text = torch.where(kinds == CODES["image"], CODES["text"], 0).to(kinds.dtype)
            image = self.image(hidden, output_matrix, tokens, as_text, scale)
            parts |= {"ce_image": image["ce_text"], "acc_image": image["acc_text"]}
        return {name: Part(part.sum, self._count(name)) for name, part in parts.items()}

    def _count(self, part: str) -> str:
        """Which count divides a part."""
        if part == "kl":
            by_target = self.speech_text.part_counts["kl"] == "kl_targets"
            return "kl_targets" if by_target else "speech_sequences"
        figure, modality = part.split("_")
        modality = modality if modality in CODES else "speech"  # ce_smoothed
        if self.normalisation == "sequence":
            return "sequences" if figure == "ce" else f"{modality}_sequences"
        if self.normalisation == "none" and figure == "ce":
            return "targets"
        return f"{modality}_targets"

    @staticmethod
    def _scale(kinds: Tensor, dtype: torch.dtype) -> Tensor:
        """1 / n_m of each position's target in its own sequence, (B, L); 0 where there is no target."""
        targets = pad(kinds[:, 1:], (0, 1), value=0)
        exact = torch.float64 if dtype == torch.float64 else torch.float32
        scale = torch.zeros(targets.shape, dtype=exact, device=kinds.device)
        for code in CODES.values():
            where = targets == code
            scale += where.to(exact) / where.sum(1, keepdim=True).clamp(min=1)
        return scale
