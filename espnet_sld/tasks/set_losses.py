"""Cross entropies of one set under a trained model: what a text decides of speech, and the like."""

from collections.abc import Iterator

import torch

from espnet_sld.criteria.modality import CODES, ModalityCriterion
from espnet_sld.models.decoder_only import DecoderOnlyLM
from espnet_sld.tasks.dataset import SequenceDataset


@torch.inference_mode()
def set_losses(
    model: DecoderOnlyLM, data: SequenceDataset, *, batch_tokens: int = 16384
) -> dict[str, tuple[float, int]]:
    """Modality → (nats a target, targets) over a whole set, by the model's own distribution over all tokens.

    Targets are counted as in `ModalityCriterion`: conditions too, end tokens with what they end. However the
    model was trained, it is Σ −log p / n over all targets of the modality in the set.

    Args:
        model: in eval mode. data: sequences of one task. batch_tokens: most padded tokens at once.
    """
    vocabulary = data.preprocess.vocabulary
    criterion = ModalityCriterion(
        text_vocabulary=len(vocabulary.range("text")),
        speech_vocabulary=len(vocabulary.range("speech")),
        image_vocabulary=len(vocabulary.range("image")),
        log_unused=False,
    ).eval()
    device = model.output_matrix().device
    sums = dict.fromkeys(CODES, 0.0)
    counts = dict.fromkeys(CODES, 0)
    for indices in _batches(data, batch_tokens):
        _, batch = data.collate(indices)
        tokens, kinds = batch["tokens"].to(device), batch["kinds"].to(device)
        parts = criterion(model.hidden(tokens), model.output_matrix(), tokens, kinds)
        found = criterion.counts(batch["tokens"], batch["kinds"])
        for name in CODES:
            if f"ce_{name}" in parts:
                sums[name] += float(parts[f"ce_{name}"].sum)
                counts[name] += found[f"{name}_targets"]
    return {name: (sums[name] / counts[name], counts[name]) for name in CODES if counts[name]}


def _batches(data: SequenceDataset, batch_tokens: int) -> Iterator[list[int]]:
    """All utterances, by length."""
    batch: list[int] = []
    for index in sorted(range(len(data)), key=lambda index: int(data.lengths[index])):
        if batch and (len(batch) + 1) * int(data.lengths[index]) > batch_tokens:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
