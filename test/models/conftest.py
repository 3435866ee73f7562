"""Tiny random Hugging Face directories, written by save_pretrained."""

import pytest
import torch
from transformers import AutoModelForCausalLM

from espnet_sld.models.backbone import scratch_config

CONFIGS = {
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64, "pad_token_id": 3},
    "llama": {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 24,
              "num_key_value_heads": 2, "max_position_embeddings": 64, "tie_word_embeddings": True},
    "llama_untied": {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4,
                     "intermediate_size": 24, "max_position_embeddings": 64, "tie_word_embeddings": False},
    "opt": {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "ffn_dim": 24,
            "word_embed_proj_dim": 8, "max_position_embeddings": 64, "pad_token_id": 1},
}  # fmt: skip


def config_of(name):
    return {"model_type": name.removesuffix("_untied"), **CONFIGS[name]}


@pytest.fixture(scope="session")
def directories(tmp_path_factory):
    """name → directory of a model with 20 tokens."""
    found = {}
    for name in CONFIGS:
        torch.manual_seed(1)
        settings = scratch_config({**config_of(name), "vocab_size": 20})
        path = tmp_path_factory.mktemp(name)
        AutoModelForCausalLM.from_config(settings).save_pretrained(path)
        found[name] = path
    return found


@pytest.fixture(params=list(CONFIGS))
def name(request):
    return request.param


@pytest.fixture
def scratch():
    """name → config dictionary for `build_backbone(None, …)`."""
    return config_of
