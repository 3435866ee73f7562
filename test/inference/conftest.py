"""Tiny models of three types for generation."""

import pytest
import torch

from espnet_sld.models.backbone import build_backbone
from espnet_sld.models.decoder_only import DecoderOnlyLM

TYPES = {
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 2},
    "llama": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48,
              "num_key_value_heads": 2, "tie_word_embeddings": True},
    "opt": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "ffn_dim": 48,
            "word_embed_proj_dim": 32},
}  # fmt: skip


def tiny(name, size=40, positions=64, gain=4.0):
    """A random model whose distributions are far from flat."""
    torch.manual_seed(11)
    conf = {"model_type": name, **TYPES[name]}
    lm = DecoderOnlyLM(build_backbone(None, conf, size, max_positions=positions, dropout=0.0), 1).eval()
    for parameter in lm.parameters():
        if parameter.dim() > 1:
            parameter.data.mul_(gain)
    return lm


@pytest.fixture(params=list(TYPES))
def model(request):
    return tiny(request.param)


@pytest.fixture
def make_model():
    return tiny


@pytest.fixture(scope="session")
def counting_model():
    """Trained to count, after id 21, from the prompt's last id less 20 up to 9, then to end (id 20)."""
    torch.manual_seed(2)
    lm = tiny("llama", gain=1.0).train()
    optimizer = torch.optim.AdamW(lm.parameters(), 5e-3)
    for _ in range(400):
        last = 22 + int(torch.randint(8, ()))
        before = torch.randint(22, 30, (24, int(torch.randint(0, 6, ()))))
        rest = torch.tensor([last, 21, *range(last - 20, 10), 20]).expand(24, -1)
        tokens = torch.cat([before, rest], 1)
        start = before.size(1) + 1
        loss = torch.nn.functional.cross_entropy(
            lm(tokens)[:, start:-1].flatten(0, 1), tokens[:, start + 1 :].flatten()
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return lm.eval()
