"""The AbsESPnetModel of CTC training: recogniser and distillation losses, as our trainer takes them."""

from collections.abc import Mapping, Sequence
from typing import Any

import editdistance
import torch
from espnet2.train.abs_espnet_model import AbsESPnetModel
from torch import Tensor, nn

from espnet_sld.criteria.base import Part
from espnet_sld.criteria.distillation import UTTERANCES, build_distillation
from espnet_sld.models.ctc import CtcOutputs, CtcRecogniser

TOKENS = "tokens"


class CtcObjective(nn.Module):
    """The training loss, and what is measured on dev: the same with hard labels, and greedy token errors.

    Args:
        conf: `criterion_conf`, see `DistillationCriterion`. vocabulary_size: V.
    """

    count_names = (UTTERANCES, TOKENS)

    def __init__(self, conf: Mapping[str, Any] | None, vocabulary_size: int):
        super().__init__()
        self.taught = build_distillation(conf, vocabulary_size)
        # Dev sets need no teacher, and their losses can be compared between rows with one and without.
        self.plain = build_distillation({**(conf or {}), "soft_label_weight": 0.0}, vocabulary_size)
        self.weights = self.taught.weights

    def counts(self, targets: Sequence[int]) -> dict[str, int]:
        """Denominators that one utterance's targets (L,) add."""
        return {UTTERANCES: 1, TOKENS: len(targets)}

    def total(self, parts: Mapping[str, Part], counts: Mapping[str, Any]) -> Tensor:
        """The loss; see `Criterion.total`."""
        return self.taught.total(parts, counts)

    def forward(
        self,
        outputs: CtcOutputs,
        targets: Tensor,
        target_lengths: Tensor,
        soft_ids: Tensor | None = None,
        soft_probs: Tensor | None = None,
    ) -> dict[str, Part]:
        """Parts of a micro-batch: see `DistillationCriterion`; in eval mode also `ter`, in percent."""
        common = {"targets": targets, "target_lengths": target_lengths}
        if self.training:
            return self.taught(**outputs._asdict(), **common, soft_ids=soft_ids, soft_probs=soft_probs)
        parts = self.plain(**outputs._asdict(), **common)
        errors = token_errors(outputs.ctc, outputs.lengths, targets, target_lengths)
        parts["ter"] = Part(outputs.ctc.new_tensor(100.0 * errors), TOKENS)
        return parts


def token_errors(log_probs: Tensor, lengths: Tensor, targets: Tensor, target_lengths: Tensor) -> int:
    """Insertions, deletions and substitutions of the greedy path's tokens, over a batch."""
    labels = log_probs.argmax(-1).cpu()  # (B, T)
    total = 0
    for row, frames, target, size in zip(
        labels, lengths.tolist(), targets.tolist(), target_lengths.tolist(), strict=True
    ):
        found = row[:frames].unique_consecutive()
        total += editdistance.eval(found[found != 0].tolist(), target[:size])
    return total


class CtcESPnetModel(AbsESPnetModel):
    """Recogniser + objective.

    Args:
        model: with decoders where the objective wants them. criterion: gives parts, says what divides them.
    """

    def __init__(self, model: CtcRecogniser, criterion: CtcObjective):
        super().__init__()
        self.model, self.criterion = model, criterion

    def forward(
        self,
        speech: Tensor,
        speech_lengths: Tensor,
        text: Tensor,
        text_lengths: Tensor,
        step_counts: Tensor,
        micro: Tensor | Sequence[int],
        real: Tensor,
        soft_ids: Tensor | None = None,
        soft_probs: Tensor | None = None,
        **kwargs,
    ) -> dict:
        """Loss of a micro-batch.

        Args:
            speech: unit tokens (B, T) or samples (B, S), see `SpeechEncoder`. speech_lengths: (B,).
            text: (B, L) target ids. text_lengths: (B,). soft_ids, soft_probs: (B, L, k).
            step_counts: the whole optimiser step's counts, (P,) in the order of `criterion.count_names`.
            micro: (place of the micro-batch in the step, parts that the step was cut into).
            real: (1,), 0 where the rows are there for company's sake and add nothing.

        Returns:
            as `DecoderOnlyESPnetModel`: the trainer's averages over accumulation and processes give the
            step's true loss.
        """
        inter = self.criterion.taught.needs_intermediate_ctc
        outputs = self.model(speech, speech_lengths, text, text_lengths, intermediate=inter)
        parts = self.criterion(outputs, text, text_lengths, soft_ids, soft_probs)
        parts = {name: Part(part.sum * real.to(part.sum)[0], part.count_name) for name, part in parts.items()}
        group = int(micro[1])
        counts = dict(zip(self.criterion.count_names, step_counts, strict=True))
        loss = self.criterion.total(parts, counts) * group
        return {
            "loss": loss,
            "stats": {"loss": loss.detach().clone()},
            "weight": loss.new_ones(()),
            "names": list(parts),
            "count_of": [part.count_name for part in parts.values()],
            "sums": torch.stack([part.sum.detach() for part in parts.values()]),
        }

    def flop_counter(self) -> None:
        """No estimate: encoders differ too much for one formula."""
        return None

    def collect_feats(self, speech: Tensor, speech_lengths: Tensor, **kwargs) -> dict[str, Tensor]:
        """Not collected: lengths come from the data."""
        return {"speech": speech, "speech_lengths": speech_lengths}
