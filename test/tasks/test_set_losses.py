"""Cross entropies of a set by modality: against a plain float64 sum, one sequence at a time."""

import pytest
import torch

from espnet_sld.models.backbone import build_backbone
from espnet_sld.models.decoder_only import DecoderOnlyLM
from espnet_sld.tasks.dataset import SequenceDataset
from espnet_sld.tasks.preprocess import SequencePreprocessor
from espnet_sld.tasks.set_losses import set_losses
from espnet_sld.tokens.dmlm_templates import vocabulary_specials
from espnet_sld.tokens.templates import get_template

LLAMA = {"model_type": "llama", "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1}
LLAMA |= {"num_attention_heads": 2}
CODES = {"text": 1, "speech": 2}


@pytest.mark.parametrize("batch_tokens", [40, 16384])
@pytest.mark.parametrize("task", ["tts", "asr"])
def test_a_sets_losses_are_the_plain_means_however_it_is_batched(
    token_dir, sequence_options, task, batch_tokens
):
    template = get_template(task)
    known = SequencePreprocessor.from_args(sequence_options())
    preprocess = SequencePreprocessor(
        known.tokenizers["text"],
        known.tokenizers["speech"],
        max_positions=64,
        max_text=8,
        specials=vocabulary_specials([template]),
    ).with_template(template)
    data = SequenceDataset([(str(token_dir / f"dev.{name}"), name) for name in CODES], preprocess)
    torch.manual_seed(0)
    size = preprocess.vocabulary.size
    backbone = build_backbone(None, LLAMA, size, max_positions=64, dropout=0.0)
    model = DecoderOnlyLM(backbone, preprocess.pad_id).eval()
    found = set_losses(model, data, batch_tokens=batch_tokens)

    model = model.double()
    sums, counts = dict.fromkeys(CODES, 0.0), dict.fromkeys(CODES, 0)
    for index in range(len(data)):
        tokens, kinds = (torch.from_numpy(part).long() for part in data[index])
        with torch.no_grad():
            log_probability = model(tokens[None])[0].log_softmax(-1)
        for place in range(1, len(tokens)):
            for name, code in CODES.items():
                if kinds[place] == code:
                    sums[name] -= float(log_probability[place - 1, tokens[place]])
                    counts[name] += 1
    assert set(found) == set(CODES)
    for name, (mean, count) in found.items():
        assert count == counts[name] > 0
        assert mean == pytest.approx(sums[name] / counts[name], rel=1e-5)
