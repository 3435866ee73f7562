"""The forward for generation is Hugging Face's own, to rounding, wherever it is taken."""

import copy

import pytest
import torch
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from espnet_sld.inference.attention import attention_maps
from espnet_sld.inference.search import generate
from espnet_sld.models import quick_decoder
from espnet_sld.models.backbone import build_backbone
from espnet_sld.models.decoder_only import DecoderOnlyLM
from espnet_sld.models.quick_blocks import is_covered

LLAMA = {"model_type": "llama", "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 4,
         "intermediate_size": 24}  # fmt: skip
GPT2 = {"model_type": "gpt2", "n_embd": 16, "n_layer": 3, "n_head": 2}
YARN = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 16}
LLAMA3 = {"rope_type": "llama3", "rope_theta": 1e4, "factor": 8.0, "low_freq_factor": 1.0,
          "high_freq_factor": 4.0, "original_max_position_embeddings": 16}  # fmt: skip
COVERED = {
    "llama": LLAMA,
    "shared heads": {**LLAMA, "num_key_value_heads": 2},
    "one shared head, wide": {**LLAMA, "num_key_value_heads": 1, "head_dim": 6},
    "biases": {**LLAMA, "attention_bias": True, "mlp_bias": True, "hidden_act": "gelu"},
    "one layer, tied": {**LLAMA, "num_hidden_layers": 1, "tie_word_embeddings": True},
    "linear": {**LLAMA, "rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 3.0}},
    "llama3": {**LLAMA, "rope_parameters": LLAMA3},
    "yarn": {**LLAMA, "rope_parameters": YARN},
    "gpt2": GPT2,
    "gpt2 scaled by layer": {**GPT2, "scale_attn_by_inverse_layer_idx": True, "activation_function": "relu"},
    "gpt2 unscaled": {**GPT2, "scale_attn_weights": False, "n_inner": 20},
}


def make(conf: dict, gain: float = 4.0, dropout: float = 0.0) -> DecoderOnlyLM:
    """A random model in float64, its biases and norms far from their start."""
    torch.manual_seed(5)
    model = (
        DecoderOnlyLM(build_backbone(None, conf, 30, max_positions=64, dropout=dropout), 0).eval().double()
    )
    for parameter in model.parameters():
        parameter.data.mul_(gain) if parameter.dim() > 1 else parameter.data.add_(torch.randn_like(parameter))
    return model


@pytest.fixture
def double(monkeypatch):
    """Hugging Face's RMS norm rounds to float32 on its way; here it does not."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)

    monkeypatch.setattr(LlamaRMSNorm, "forward", forward)


@pytest.fixture
def poisoned(monkeypatch):
    """Memory that is not set holds NaN."""
    plain = torch.Tensor.new_empty
    monkeypatch.setattr(
        torch.Tensor, "new_empty", lambda self, *a, **k: plain(self, *a, **k).fill_(torch.nan)
    )


@pytest.mark.parametrize(("chunk", "queries"), [(1024, 64), (12, 4), (1, 1)])
@pytest.mark.parametrize("name", COVERED)
def test_prompts_and_steps_are_the_states_of_each_row_alone(
    name, chunk, queries, double, poisoned, monkeypatch
):
    monkeypatch.setattr(quick_decoder, "CHUNK", chunk)
    monkeypatch.setattr(quick_decoder, "QUERIES", queries)
    model, lengths = make(COVERED[name]), torch.tensor([9, 9, 6, 1, 4])
    tokens = torch.randint(1, 30, (5, 20))
    prompts = tokens[:, :9] * (torch.arange(9) < lengths[:, None])
    rows = torch.arange(5)
    with torch.inference_mode():
        hidden, state = model.prefill(prompts, lengths, steps=2)
        assert state.quick is not None
        for step in range(8):  # more than there is room for
            for row, length in zip(rows.tolist(), state.lengths.tolist(), strict=True):
                expected = model.hidden(tokens[row : row + 1, :length])[0, -1]
                place = rows.tolist().index(row)
                torch.testing.assert_close(hidden[place], expected, rtol=1e-10, atol=1e-10)
            if step in (1, 3, 5):  # rows leave; move; come twice
                kept = torch.tensor([[0, 4, 2, 3], [3, 0, 2, 1], [2, 2, 0, 1, 2, 0]][step // 2])
                state.select(kept)
                rows = rows[kept]
            hidden = model.step(tokens[rows, state.lengths], state)


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_many_prompts_of_one_length_need_no_mask(name, double):
    model, tokens = make(COVERED[name]), torch.randint(1, 30, (12, 3))
    with torch.inference_mode():
        hidden, state = model.prefill(tokens, torch.full((12,), 3))
        torch.testing.assert_close(hidden, model.hidden(tokens)[:, -1], rtol=1e-10, atol=1e-10)
        longer = torch.cat([tokens, tokens[:, :1]], 1)
        torch.testing.assert_close(
            model.step(tokens[:, 0], state), model.hidden(longer)[:, -1], rtol=1e-10, atol=1e-10
        )


@pytest.mark.parametrize("beam", [1, 3])
@pytest.mark.parametrize("name", ["shared heads", "gpt2"])
def test_hypotheses_and_scores_are_those_of_the_long_way(name, beam, monkeypatch):
    model = make(COVERED[name]).float()
    prompts = [torch.randint(1, 30, (n,)).numpy() for n in (3, 17, 40, 8, 25)]
    options = {"allowed": range(2, 20), "end_id": 1, "max_new": [9, 20, 24, 4, 12], "beam_size": beam}
    quick = generate(model, prompts, **options)
    monkeypatch.setattr(DecoderOnlyLM, "_quick_decoder", lambda self, places: None)
    for one, other in zip(quick, generate(model, prompts, **options), strict=True):
        assert (one.ids, one.stopped) == (other.ids, other.stopped)
        assert one.score == pytest.approx(other.score, rel=1e-4)


def test_it_follows_parameters_that_change(double):
    model, other, tokens = make(LLAMA), make(LLAMA, gain=3.0), torch.randint(1, 30, (2, 7))
    lengths = torch.tensor([7, 7])
    with torch.inference_mode():
        before, _ = model.prefill(tokens, lengths)
    model.load_state_dict(other.state_dict())
    for changed in (model, copy.deepcopy(model)):
        with torch.inference_mode():
            after, _ = changed.prefill(tokens, lengths)
            torch.testing.assert_close(after, other.hidden(tokens)[:, -1], rtol=1e-10, atol=1e-10)
    assert not torch.allclose(before, after)


@pytest.mark.parametrize("conf", [LLAMA, GPT2], ids=["llama", "gpt2"])
def test_hooks_for_dropout_and_attention_maps_do_not_stop_it(conf):
    model = make(conf, dropout=0.3)
    assert is_covered(model.backbone)
    attention_maps(model, [1, 2, 3], [2], [0])
    assert is_covered(model.backbone)
    assert not is_covered(model.train().backbone)


@pytest.mark.parametrize(
    "conf",
    [
        {"model_type": "opt", "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
         "ffn_dim": 24},
        {"model_type": "mistral", "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4,
         "num_key_value_heads": 2, "intermediate_size": 24, "sliding_window": None},
        {**LLAMA, "rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}},
        {**GPT2, "reorder_and_upcast_attn": True},
        {**GPT2, "add_cross_attention": True},
    ],
    ids=["opt", "mistral", "dynamic", "upcast", "cross-attention"],
)  # fmt: skip
def test_other_models_are_not_covered(conf):
    assert not is_covered(make(conf).backbone)


@pytest.mark.parametrize("conf", [LLAMA, GPT2], ids=["llama", "gpt2"])
def test_changed_models_are_not_covered(conf):
    model = make(conf).float()
    assert is_covered(model.backbone)
    with torch.autocast("cpu"):
        assert not is_covered(model.backbone)
    assert not is_covered(copy.deepcopy(model).bfloat16().backbone)
    linear = next(m for m in model.backbone.base_model.modules() if getattr(m, "weight", None) is not None)
    handle = linear.register_forward_hook(lambda *_: None)
    assert not is_covered(model.backbone)
    handle.remove()
    linear.forward = linear.forward
    assert not is_covered(model.backbone)
    del linear.forward
    linear.train()
    assert not is_covered(model.backbone)
    linear.eval()
    assert is_covered(model.backbone)
    model.backbone.config._attn_implementation = "flex_attention"
    assert not is_covered(model.backbone)


def test_with_autograd_the_backbone_itself_reads():
    model, tokens = make(LLAMA), torch.randint(1, 30, (2, 5))
    hidden, state = model.prefill(tokens, torch.tensor([5, 5]))
    assert state.quick is None and hidden.requires_grad


def test_in_parts_a_model_that_is_not_covered_sees_no_memory_that_is_not_set(poisoned, monkeypatch):
    monkeypatch.setattr("espnet_sld.models.decoder_only.CHUNK", 9)
    model = make(LLAMA).float()
    lengths = torch.tensor([9, 2, 6])
    tokens = torch.randint(1, 30, (3, 9)) * (torch.arange(9) < lengths[:, None])
    hidden, state = model.prefill(tokens, lengths, steps=2)
    for _ in range(3):
        hidden = model.step(torch.tensor([3, 4, 5]), state)
    assert hidden.isfinite().all()
