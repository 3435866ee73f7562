"""The layers of a Llama or a GPT-2 as few functions of their tensors, for `quick_decoder`."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel
from transformers.activations import NewGELUActivation, SiLUActivation
from transformers.models.gpt2 import modeling_gpt2 as gpt2
from transformers.models.llama import modeling_llama as llama
from transformers.pytorch_utils import Conv1D

from espnet_sld.models.quick_layers import Unary, affine, layer_norm, linear

PARTS = {
    *(llama.LlamaModel, llama.LlamaDecoderLayer, llama.LlamaAttention, llama.LlamaMLP, llama.LlamaRMSNorm),
    *(gpt2.GPT2Model, gpt2.GPT2Block, gpt2.GPT2Attention, gpt2.GPT2MLP, nn.LayerNorm, Conv1D),
    *(llama.LlamaRotaryEmbedding, nn.Linear, nn.Embedding, nn.ModuleList),
}
ROTARY = {"default", "linear", "llama3", "yarn"}  # those whose angles depend on the position alone
ACTIVATIONS = {  # in one operation
    SiLUActivation: F.silu,
    NewGELUActivation: lambda x: F.gelu(x, approximate="tanh"),
}
# Hooks from there do nothing in eval mode, or nothing that is not asked for.
QUIET = {"espnet_sld.models.backbone", "transformers.utils.output_capturing"}

Into = Callable[[Tensor, Tensor], Tensor]  # (sum, x) → sum, with the product of x added in place
Rotation = tuple[Tensor, Tensor] | None  # cosine and signed sine (N, 1, d) of N positions


def is_covered(backbone: PreTrainedModel) -> bool:
    """Whether these functions compute what the backbone itself would now: a plain Llama or GPT-2.

    Not covered are other types and parts (quantised, adapted), rotary angles that depend on the length,
    attention other than eager and SDPA, cross-attention, mixed and half precision, several devices, hooks,
    and anything in training mode.
    """
    model, config = backbone.base_model, backbone.config
    if type(model) is llama.LlamaModel:
        known, layers = model.rotary_emb.rope_type in ROTARY, model.layers
    elif type(model) is gpt2.GPT2Model:
        known, layers = not (config.add_cross_attention or config.reorder_and_upcast_attn), model.h
    else:
        return False
    one = model.get_input_embeddings().weight
    return (
        known
        and config._attn_implementation in ("eager", "sdpa")
        and len(layers) == config.num_hidden_layers
        and one.dtype in (torch.float32, torch.float64)
        and not torch.is_autocast_enabled(one.device.type)
        and all(type(p) is nn.Parameter for p in model.parameters())
        and all((p.device, p.dtype) == (one.device, one.dtype) for p in model.parameters())
        and all(map(_plain, model.modules()))
    )


def _plain(module: nn.Module) -> bool:
    """Whether a part is known, or has no tensors (activation, dropout), and does only what its class does."""
    known = type(module) in PARTS or not (module._parameters or module._buffers or module._modules)
    hooks = [*module._forward_pre_hooks.values(), *module._forward_hooks.values()]
    return (
        known
        and not module.training
        and "forward" not in vars(module)
        and all(getattr(hook, "__module__", None) in QUIET for hook in hooks)
    )


class Block(NamedTuple):
    """One layer's parts; keys and values may have fewer heads than queries, each shared by neighbours."""

    norm: Unary
    queries: Unary
    keys: Unary
    values: Unary
    add_attention: Into
    feed_norm: Unary
    feed: Unary
    add_feed: Into
    key_heads: int
    size: int  # of a head
    scale: float

    def add(self, x: Tensor, found: Tensor) -> Tensor:
        """x (N, D), overwritten, with what attention found (N, H·d) and then the feed-forward part."""
        x = self.add_attention(x, found)
        return self.add_feed(x, self.feed(self.feed_norm(x)))

    def one(
        self,
        x: Tensor,
        normed: Tensor,
        rotation: Rotation,
        keys: Tensor,
        values: Tensor,
        mask: Tensor | None,
    ) -> Tensor:
        """The output for one token a row, x (B, D), overwritten, that sees the places (B, H, S, d).

        Args:
            normed: (B, D), `norm` of x. mask: (B, 1, 1, S), added to the scores.
        """
        queries = rotate(self.queries(normed), rotation, self.size)
        queries = queries.view(len(x), self.key_heads, -1, self.size)  # heads that share keys: as queries
        found = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask, scale=self.scale)
        return self.add(x, found.reshape(len(x), -1))


class Parts(NamedTuple):
    """A model: token embedding (V, D), that of positions or rotary factors, layers, final norm."""

    embedding: Tensor
    positions: Tensor | None
    rotary: nn.Module | None
    blocks: list[Block]
    norm: Unary


def parts_of(backbone: PreTrainedModel) -> Parts:
    """References to the tensors of a backbone that `is_covered`."""
    model = backbone.base_model
    if type(model) is llama.LlamaModel:
        blocks = [_llama_block(layer) for layer in model.layers]
        return Parts(model.embed_tokens.weight, None, model.rotary_emb, blocks, _rms_norm(model.norm))
    blocks = [_gpt2_block(layer) for layer in model.h]
    return Parts(model.wte.weight, model.wpe.weight, None, blocks, layer_norm(model.ln_f))


def rotate(x: Tensor, rotation: Rotation, size: int) -> Tensor:
    """x (N, H·d), overwritten, turned by its positions (Su et al. 2021, as Llama pairs the halves)."""
    if rotation is None:
        return x
    cos, sin = rotation
    heads = x.view(len(x), -1, size)
    swapped = heads.roll(size // 2, -1)
    heads.mul_(cos).addcmul_(swapped, sin)
    return x


def _into(weight: Tensor, bias: Tensor | None) -> Into:
    """By a weight (D, E): as Conv1D's, or a linear layer's transposed."""
    if bias is None:
        return lambda total, x: total.addmm_(x, weight)
    return lambda total, x: total.addmm_(x, weight).add_(bias)


def _rms_norm(module: llama.LlamaRMSNorm) -> Unary:
    weight, eps = module.weight, module.variance_epsilon
    if weight.is_cuda:
        return lambda x: F.rms_norm(x, weight.shape, weight, eps)
    # a CPU has no fused kernel for it: x / √(mean x² + ε) = √D · x / √(|x|² + Dε)
    root = len(weight) ** 0.5
    scaled, least = weight * root, weight.new_tensor(eps**0.5 * root)
    return lambda x: (x / torch.linalg.vector_norm(x, dim=-1, keepdim=True).hypot_(least)).mul_(scaled)


def _llama_block(layer: llama.LlamaDecoderLayer) -> Block:
    attention, mlp = layer.self_attn, layer.mlp
    gate, up = linear(mlp.gate_proj), linear(mlp.up_proj)
    activation = ACTIVATIONS.get(type(mlp.act_fn), mlp.act_fn)
    return Block(
        norm=_rms_norm(layer.input_layernorm),
        queries=linear(attention.q_proj),
        keys=linear(attention.k_proj),
        values=linear(attention.v_proj),
        add_attention=_into(attention.o_proj.weight.T, attention.o_proj.bias),
        feed_norm=_rms_norm(layer.post_attention_layernorm),
        feed=lambda x: activation(gate(x)).mul_(up(x)),
        add_feed=_into(mlp.down_proj.weight.T, mlp.down_proj.bias),
        key_heads=attention.k_proj.out_features // attention.head_dim,
        size=attention.head_dim,
        scale=attention.scaling,
    )


def _gpt2_block(layer: gpt2.GPT2Block) -> Block:
    attention, mlp = layer.attn, layer.mlp
    weights = attention.c_attn.weight.T.chunk(3)
    queries, keys, values = map(affine, weights, attention.c_attn.bias.chunk(3))
    first, activation = affine(mlp.c_fc.weight.T, mlp.c_fc.bias), ACTIVATIONS.get(type(mlp.act), mlp.act)
    return Block(
        norm=layer_norm(layer.ln_1),
        queries=queries,
        keys=keys,
        values=values,
        add_attention=_into(attention.c_proj.weight, attention.c_proj.bias),
        feed_norm=layer_norm(layer.ln_2),
        feed=lambda x: activation(first(x)),
        add_feed=_into(mlp.c_proj.weight, mlp.c_proj.bias),
        key_heads=attention.num_heads,
        size=attention.head_dim,
        scale=attention.scaling,
    )
