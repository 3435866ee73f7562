"""The model's views: causal states, padding, and the cached API."""

import pytest
import torch

from espnet_sld.models.backbone import build_backbone
from espnet_sld.models.decoder_only import DecoderOnlyLM


@pytest.fixture
def model(name, scratch):
    torch.manual_seed(3)
    lm = DecoderOnlyLM(build_backbone(None, scratch(name), 31, dropout=0.1), 1).eval()
    for parameter in lm.parameters():  # larger than at initialisation, so that differences would show
        parameter.data.mul_(3) if parameter.dim() > 1 else None
    return lm


def test_padding_on_the_right_never_changes_real_positions(model):
    tokens = torch.randint(31, (3, 12))
    lengths = [12, 7, 4]
    padded = tokens.clone()
    for row, length in enumerate(lengths):
        padded[row, length:] = model.pad_id
    together = model.hidden(torch.nn.functional.pad(padded, (0, 5), value=model.pad_id))
    for row, length in enumerate(lengths):
        alone = model.hidden(tokens[row : row + 1, :length])
        torch.testing.assert_close(together[row, :length], alone[0], rtol=1e-4, atol=1e-5)


def test_training_attention_is_causal_by_flag_without_a_mask_tensor(model, monkeypatch):
    seen, original = [], torch.nn.functional.scaled_dot_product_attention

    def spy(*args, **kwargs):
        seen.append((kwargs.get("attn_mask", args[3] if len(args) > 3 else None), kwargs.get("is_causal")))
        return original(*args, **kwargs)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", spy)
    tokens = torch.randint(31, (3, 12))
    tokens[1, 5:] = model.pad_id
    model.train().hidden(tokens)
    assert len(seen) == 2
    assert all(mask is None and causal for mask, causal in seen)


def test_a_later_token_never_changes_an_earlier_state(model):
    tokens = torch.randint(31, (1, 9))
    changed = tokens.clone()
    changed[0, 6:] = (changed[0, 6:] + 1) % 31
    torch.testing.assert_close(model.hidden(tokens)[:, :6], model.hidden(changed)[:, :6])
    assert not torch.allclose(model.hidden(tokens)[:, 6:], model.hidden(changed)[:, 6:])


def test_prefill_and_steps_equal_the_whole_pass_for_ragged_prompts(model):
    tokens, lengths = torch.randint(31, (4, 14)), torch.tensor([9, 3, 6, 1])
    whole = model.hidden(tokens)
    rows = torch.arange(4)
    prompts = tokens[:, :9].clone()
    prompts[torch.arange(9) >= lengths[:, None]] = model.pad_id
    last, state = model.prefill(prompts, lengths)
    torch.testing.assert_close(last, whole[rows, lengths - 1], rtol=1e-4, atol=1e-5)
    for step in range(3):
        hidden = model.step(tokens[rows, lengths + step], state)
        torch.testing.assert_close(hidden, whole[rows, lengths + step], rtol=1e-4, atol=1e-5)
    kept = torch.tensor([3, 1, 1])
    state.select(kept)
    hidden = model.step(tokens[kept, lengths[kept] + 3], state)
    torch.testing.assert_close(hidden, whole[kept, lengths[kept] + 3], rtol=1e-4, atol=1e-5)


def test_parameters_load_with_and_without_the_tied_copy(model, name, scratch):
    fresh = DecoderOnlyLM(build_backbone(None, scratch(name), 31), 1).eval()
    state = model.state_dict()
    fresh.load_parameters(state)
    tokens = torch.randint(31, (1, 9))
    assert torch.equal(fresh(tokens), model(tokens))
    without = {key: value for key, value in state.items() if "lm_head" not in key}
    if name == "llama_untied":
        with pytest.raises(ValueError, match="lm_head"):
            fresh.load_parameters(without)
    else:
        fresh.load_parameters(without)
    with pytest.raises(ValueError, match="unexpected"):
        fresh.load_parameters({**state, "backbone.more": torch.zeros(1)})
