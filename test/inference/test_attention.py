"""Attention for the report: the model's own weights, at the positions that predict the text."""

import json

import numpy as np
import pytest
import torch

from espnet_sld.bin.attention import choose
from espnet_sld.errors import InputError
from espnet_sld.inference.attention import attend, attention_maps
from espnet_sld.inference.checkpoint import TrainedModel
from espnet_sld.scoring.report.attention_data import packed
from espnet_sld.tokens.subword import UnitTokenizer
from espnet_sld.tokens.templates import get_template
from espnet_sld.tokens.vocabulary import Vocabulary
from espnet_sld.units.unit_text import ids_to_text

WORDS = ["zero", "one", "two", "three"]


class Words:
    """A text tokenizer of four words."""

    size = len(WORDS)

    def encode(self, text):
        return [WORDS.index(word) for word in text.split()]

    def decode(self, ids):
        return " ".join(WORDS[index] for index in ids)


@pytest.fixture
def trained(make_model):
    vocabulary = Vocabulary(text=4, speech=30)
    tokenizers = {"speech": UnitTokenizer(30), "text": Words()}
    config = {"max_positions": 64, "max_text": 10}
    return TrainedModel(make_model("gpt2"), vocabulary, tokenizers, get_template("asr_sld"), config)


def first_layer(model, tokens):
    """Attention (H, P, P) of GPT-2's first layer in float64, written out."""
    transformer = model.backbone.transformer
    block = transformer.h[0]
    position = torch.arange(len(tokens))
    hidden = (transformer.wte.weight[tokens] + transformer.wpe.weight[position]).double()
    mean, variance = hidden.mean(-1, keepdim=True), hidden.var(-1, keepdim=True, unbiased=False)
    normed = (hidden - mean) / (variance + block.ln_1.eps).sqrt()
    normed = normed * block.ln_1.weight.double() + block.ln_1.bias.double()
    joint = normed @ block.attn.c_attn.weight.double() + block.attn.c_attn.bias.double()
    heads = block.attn.num_heads
    query, key, _ = (part.view(len(tokens), heads, -1).transpose(0, 1) for part in joint.chunk(3, dim=-1))
    scores = query @ key.transpose(1, 2) / query.size(-1) ** 0.5
    later = torch.ones(len(tokens), len(tokens)).triu(1).bool()
    return scores.masked_fill(later, -torch.inf).softmax(-1)


def test_the_first_layer_is_softmax_of_queries_and_keys(make_model):
    model = make_model("gpt2")
    tokens = torch.tensor([5, 9, 30, 7, 22, 1, 3])
    queries, keys = [3, 5, 6], [0, 1, 2, 3]
    mean, largest = attention_maps(model, tokens.tolist(), queries, keys)
    with torch.no_grad():
        expected = first_layer(model, tokens)[:, queries][:, :, keys]
    assert mean.shape == largest.shape == (2, 3, 4)
    assert mean[0] == pytest.approx(expected.mean(0).numpy(), abs=1e-5)
    assert largest[0] == pytest.approx(expected.amax(0).numpy(), abs=1e-5)


def test_looking_changes_nothing(model):
    tokens = torch.tensor([[5, 9, 30, 7]])
    kernel = model.backbone.config._attn_implementation
    with torch.no_grad():
        before = model(tokens)
        attention_maps(model, tokens[0].tolist(), [3], [0, 1])
        assert torch.equal(model(tokens), before)
    assert model.backbone.config._attn_implementation == kernel == "sdpa"


def test_rows_are_what_predicts_a_token_and_columns_its_speech(trained):
    units = ids_to_text([3, 17, 3, 29])
    found = attend(trained, units, "two one")
    assert found.text == ["two", "one", "<text_end>"]
    assert found.speech == ["3", "17", "3", "29"]
    # speech · <speech_end> · two one · <text_end>: the first word is predicted at <speech_end>
    vocabulary = trained.vocabulary
    speech = vocabulary.to_joint("speech", [3, 17, 3, 29]).tolist()
    text = vocabulary.to_joint("text", [2, 1]).tolist()
    tokens = [*speech, vocabulary.id("<speech_end>"), *text, vocabulary.id("<text_end>")]
    mean, largest = attention_maps(trained.model, tokens, [4, 5, 6], [0, 1, 2, 3])
    assert np.array_equal(found.mean, mean) and np.array_equal(found.largest, largest)
    assert found.on_speech == pytest.approx(mean.sum(2))
    assert (found.on_speech < 1).all() and (found.largest >= found.mean).all()
    nothing = attend(trained, units, "")
    assert nothing.text == ["<text_end>"]
    assert json.loads(json.dumps(packed("u", found.text, found.speech, found.mean, found.largest,
                                        found.on_speech)))["layers"] == 2  # fmt: skip
    with pytest.raises(InputError, match="no speech tokens"):
        attend(trained, "", "one")


def test_half_of_the_chosen_have_most_errors_and_half_none():
    names = ["a", "b", "c", "d", "e", "f"]
    assert choose(names, [0, 3, 0, 5, 1, 0], 4) == ["d", "b", "a", "c"]
    assert choose(names, [0, 0, 0, 0, 0, 2], 4) == ["f", "a", "b", "c"]
    assert choose(names, [1, 1, 1, 1, 1, 1], 3) == ["a", "b"]
