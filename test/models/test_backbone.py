"""Backbones of several types, from scratch and from directories."""

import pytest
import torch

from espnet_sld.errors import InputError
from espnet_sld.models.backbone import build_backbone, dropout_keys, resolved_config
from espnet_sld.models.decoder_only import DecoderOnlyLM

INITS = ["normal", "mean", "mean_noise", "average_norm", "statistics"]


@pytest.mark.parametrize("method", INITS)
def test_extension_keeps_old_rows_bit_identical_and_ties_as_they_were(directories, name, method):
    from transformers import AutoModelForCausalLM

    old = AutoModelForCausalLM.from_pretrained(directories[name])
    torch.manual_seed(0)
    new = build_backbone(str(directories[name]), None, 33, init_new_rows=method)
    for get in ("get_input_embeddings", "get_output_embeddings"):
        before, after = getattr(old, get)().weight, getattr(new, get)().weight
        assert after.size(0) == 33
        assert torch.equal(after[:20], before)
        assert after[20:].isfinite().all()
        if method == "mean":
            torch.testing.assert_close(after[20:], before.mean(0).expand(13, -1))
        else:
            assert after[20:].std(0).min() > 0
        if method == "average_norm":
            torch.testing.assert_close(after[20:].norm(dim=1), before.norm(dim=1).mean().expand(13))
    tied = new.get_input_embeddings().weight is new.get_output_embeddings().weight
    assert tied == (name != "llama_untied")
    others = dict(old.named_parameters())
    for key, value in new.named_parameters():
        assert value.shape != others[key].shape or torch.equal(value, others[key])
    tokens = torch.randint(20, (2, 7))
    old.eval()
    torch.testing.assert_close(DecoderOnlyLM(new, 0).eval()(tokens)[..., :20], old(tokens).logits)


def test_spare_rows_of_the_backbone_are_initialised_anew(directories):
    kept = build_backbone(str(directories["gpt2"]), None, 33, text_vocabulary=20)
    anew = build_backbone(str(directories["gpt2"]), None, 33, text_vocabulary=17, init_new_rows="mean")
    before, after = kept.get_input_embeddings().weight, anew.get_input_embeddings().weight
    assert torch.equal(before[:17], after[:17])
    torch.testing.assert_close(after[17:], after[:17].mean(0).expand(16, -1))


def test_from_scratch_has_the_asked_size_and_no_dead_padding_row(name, scratch):
    options = {**scratch(name), "pad_token_id": None}
    model = build_backbone(None, options, 31, max_positions=40, dropout=0.0)
    lm = DecoderOnlyLM(model, 1)
    assert lm.output_matrix().size(0) == 31
    lm(torch.arange(31)[None]).sum().backward()
    assert model.get_input_embeddings().weight.grad.abs().sum(1).min() > 0


def test_resolved_config_rebuilds_the_architecture_without_the_source(directories, name):
    model = build_backbone(str(directories[name]), None, 33, dropout=0.3)
    resolved = resolved_config(model)
    again = build_backbone(None, resolved, 33, dropout=0.3)
    again.load_state_dict(model.state_dict())
    tokens = torch.randint(33, (2, 7))
    torch.testing.assert_close(
        DecoderOnlyLM(again, 0).eval()(tokens), DecoderOnlyLM(model, 0).eval()(tokens), rtol=0, atol=0
    )


def test_dropout_reaches_every_type_and_is_off_in_evaluation(name, scratch):
    torch.manual_seed(0)
    lm = DecoderOnlyLM(build_backbone(None, scratch(name), 31, dropout=0.5), 1)
    assert {getattr(lm.backbone.config, key) for key in dropout_keys(lm.backbone.config)} == {0.5}
    tokens = torch.randint(31, (2, 9))
    embedded = lm.backbone.get_input_embeddings()(tokens)
    assert (embedded == 0).any() == name.startswith("llama")  # the others have their own, further on
    assert not torch.equal(lm(tokens), lm(tokens))
    lm.eval()
    assert torch.equal(lm(tokens), lm(tokens))


def test_attention_and_residual_dropout_have_their_own_options(scratch):
    options = {"dropout": 0.0, "attention_dropout": 0.0, "residual_dropout": 0.5}
    lm = DecoderOnlyLM(build_backbone(None, scratch("llama"), 31, **options), 1)
    tokens = torch.randint(31, (2, 9))
    assert not torch.equal(lm(tokens), lm(tokens))
    quiet = DecoderOnlyLM(
        build_backbone(None, scratch("llama"), 31, **options | {"residual_dropout": 0.0}), 1
    )
    assert torch.equal(quiet(tokens), quiet(tokens))
    mixed = build_backbone(None, scratch("gpt2"), 31, dropout=0.2, attention_dropout=0.0)
    assert (mixed.config.attn_pdrop, mixed.config.resid_pdrop) == (0.0, 0.2)
    explicit = build_backbone(None, {**scratch("llama"), "attention_dropout": 0.0}, 31, dropout=0.2)
    assert explicit.config.attention_dropout == 0.0


@pytest.mark.parametrize(
    ("source", "config", "options", "message"),
    [
        (None, {}, {}, "model_type 'None'"),
        (None, {"model_type": "nonsense"}, {}, "nonsense"),
        (None, {"model_type": "llama", "hiden_size": 3}, {}, "hiden_size; known: .*hidden_size"),
        ("/no/such/directory", None, {}, "no such directory"),
        ("DIR", None, {"max_positions": 65}, "65 exceeds the backbone's 64"),
        ("DIR", {"n_hed": 3}, {}, "n_hed"),
        ("DIR", None, {"init_new_rows": "zero"}, "zero.*normal"),
        ("DIR", None, {"vocabulary": 10}, "10 cannot hold"),
        (None, {"model_type": "mistral", "hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 1,
                "num_key_value_heads": 2, "intermediate_size": 8, "sliding_window": 8}, {"max_positions": 64},
         "last 8 tokens only"),
        (None, {"model_type": "cohere", "hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 1,
                "intermediate_size": 8}, {}, "logit_scale"),
    ],
)  # fmt: skip
def test_refusals_name_the_cause(directories, source, config, options, message):
    source = str(directories["gpt2"]) if source == "DIR" else source
    size = options.pop("vocabulary", 33)
    with pytest.raises(InputError, match=message):
        build_backbone(source, config, size, **options)


def test_a_directory_without_weights_is_refused(directories, tmp_path):
    (tmp_path / "config.json").write_bytes((directories["gpt2"] / "config.json").read_bytes())
    with pytest.raises(InputError, match=str(tmp_path)):
        build_backbone(str(tmp_path), None, 33)


def test_pickled_weights_are_read_with_weights_only(directories, tmp_path):
    import os

    from transformers import AutoModelForCausalLM

    (tmp_path / "config.json").write_bytes((directories["gpt2"] / "config.json").read_bytes())
    state = AutoModelForCausalLM.from_pretrained(directories["gpt2"]).state_dict()
    torch.save(state, tmp_path / "pytorch_model.bin")
    model = build_backbone(str(tmp_path), None, 33)
    key = "transformer.h.0.attn.c_attn.weight"
    assert torch.equal(model.state_dict()[key], state[key])

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "pwned"),)

    torch.save({**state, "evil": Evil()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(Exception, match=r"(?i)weights.only|unsupported|unpickl"):
        build_backbone(str(tmp_path), None, 33)
    assert not (tmp_path / "pwned").exists()
