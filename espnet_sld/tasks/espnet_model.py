"""The one AbsESPnetModel: joins a decoder-only model and a criterion, in ESPnet's (loss, stats, weight)."""

from collections.abc import Sequence

import torch
from espnet2.train.abs_espnet_model import AbsESPnetModel
from torch import Tensor

from espnet_sld.criteria.base import Criterion
from espnet_sld.models.decoder_only import DecoderOnlyLM
from espnet_sld.models.flops import FlopCounter
from espnet_sld.models.masking import mask_generator, mask_inputs


def _integers(value: Tensor | Sequence[int] | int) -> list[int]:
    if isinstance(value, Tensor):
        return value.tolist()
    return [value] if isinstance(value, int) else list(value)


class DecoderOnlyESPnetModel(AbsESPnetModel):
    """Model + criterion.

    Args:
        model: gives hidden states and the output matrix.
        criterion: gives parts (sums) and says which counts divide them.
        pad_id: joint id that masks inputs.
        time_mask_prob: probability that an input token is masked in training; targets are untouched
            (arXiv 2311.04534, Sec. 3).
        mask_dev: mask the inputs of the dev loss as well, as the released code does.
        seed: of the masks.
    """

    def __init__(
        self,
        model: DecoderOnlyLM,
        criterion: Criterion,
        *,
        pad_id: int,
        time_mask_prob: float = 0.0,
        mask_dev: bool = False,
        seed: int = 0,
    ):
        super().__init__()
        self.model, self.criterion = model, criterion
        self.pad_id, self.seed = pad_id, seed
        self.time_mask_prob, self.mask_dev = time_mask_prob, mask_dev

    def forward(
        self,
        tokens: Tensor,
        kinds: Tensor,
        lengths: Tensor,
        step_counts: Tensor,
        step: Tensor | Sequence[int] | int,
        micro: Tensor | Sequence[int],
        draws: Tensor | None = None,
        **kwargs,
    ) -> dict:
        """Loss of a micro-batch.

        Args:
            tokens: (B, L) int64, right-padded. kinds: (B, L) uint8, 0 at pads. lengths: (B,).
            step_counts: the whole optimiser step's counts, (P,) in the order of `criterion.count_names`.
            step: index of the optimiser step.
            micro: (place in the step of the micro-batch that these rows are from, the parts that all
                micro-batches of the step were cut into).
            draws: see `mask_inputs`; for rows that are only a part of their micro-batch.

        Returns:
            dict with `loss` (Σ weight·sum/count × parts of the step, so that ESPnet's trainer, which
            averages over accumulation and processes, gets the step's true loss), `stats`, `weight` (1), and
            `sums` (parts' sums, detached, in the order of `names`).
        """
        place, group = _integers(micro)
        inputs = tokens
        if self.time_mask_prob > 0 and (self.training or self.mask_dev):
            # The micro-batch's place, not the process: any number of processes draws the same masks.
            generator = mask_generator(self.seed, int(self.training), _integers(step)[0], place)
            inputs = mask_inputs(tokens, lengths, self.time_mask_prob, self.pad_id, generator, draws)
        hidden = self.model.hidden(inputs)  # (B, L, D)
        parts = self.criterion(hidden, self.model.output_matrix(), tokens, kinds)
        counts = dict(zip(self.criterion.count_names, step_counts, strict=True))
        loss = self.criterion.total(parts, counts) * group
        # A clone: ESPnet's trainer divides the loss in place under accumulation.
        stats = {"loss": loss.detach().clone()}
        for name, part in parts.items():
            stats[name] = part.sum.detach() / counts[part.count_name].clamp(min=1).to(part.sum) * group
        return {
            "loss": loss,
            "stats": stats,
            "weight": loss.new_ones(()),
            "names": list(parts),
            "count_of": [part.count_name for part in parts.values()],
            "sums": torch.stack([part.sum.detach() for part in parts.values()]),
        }

    def flop_counter(self) -> FlopCounter:
        """For the trainer's estimate of utilisation."""
        return FlopCounter(self.model)

    def collect_feats(self, tokens: Tensor, lengths: Tensor, **kwargs) -> dict[str, Tensor]:
        """Lengths are all there is to collect."""
        return {"tokens": tokens, "tokens_lengths": lengths}
