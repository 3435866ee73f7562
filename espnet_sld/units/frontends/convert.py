"""Weights of HuBERT and WavLM under fairseq's and under transformers' names."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict

import torch

from espnet_sld.errors import InputError
from espnet_sld.units.frontends.ssl_config import SslConfig

SHOWN = 6
# Needed for pre-training, fine-tuning or masking only.
UNUSED = re.compile(
    r"(mask_emb|masked_spec_embed|label_embs_concat)$"
    r"|(final_proj|target_glu|quantizer|project_q|project_hid|adapter)\."
)


def name_pairs(config: SslConfig, num_layers: int) -> dict[str, str]:
    """Every weight of the encoder cut to `num_layers` blocks: fairseq's name → transformers' name.

    Fairseq's names are s3prl's and Microsoft's too. The final norm of pre-norm models is left out: layer k
    is the output of block k.
    """
    pairs: dict[str, str] = {}

    def both(fairseq: str, transformers: str, *kinds: str) -> None:
        pairs.update({f"{fairseq}.{kind}": f"{transformers}.{kind}" for kind in kinds or ("weight", "bias")})

    for index in range(len(config.conv_layers)):
        conv = f"feature_extractor.conv_layers.{index}"
        both(f"{conv}.0", f"{conv}.conv", "weight", *["bias"] * config.conv_bias)
        if config.conv_norm == "layer":
            both(f"{conv}.2.1", f"{conv}.layer_norm")
        elif index == 0:
            both(f"{conv}.2", f"{conv}.layer_norm")
    both("layer_norm", "feature_projection.layer_norm")
    if config.conv_layers[-1][0] != config.dimension:
        both("post_extract_proj", "feature_projection.projection")
    positions = "encoder.pos_conv_embed.conv"
    pairs["encoder.pos_conv.0.weight_g"] = f"{positions}.parametrizations.weight.original0"
    pairs["encoder.pos_conv.0.weight_v"] = f"{positions}.parametrizations.weight.original1"
    pairs["encoder.pos_conv.0.bias"] = f"{positions}.bias"
    if not config.norm_first:
        both("encoder.layer_norm", "encoder.layer_norm")
    for index in range(num_layers):
        block = f"encoder.layers.{index}"
        for projection in ("q_proj", "k_proj", "v_proj", "out_proj"):
            both(f"{block}.self_attn.{projection}", f"{block}.attention.{projection}")
        both(f"{block}.self_attn_layer_norm", f"{block}.layer_norm")
        both(f"{block}.fc1", f"{block}.feed_forward.intermediate_dense")
        both(f"{block}.fc2", f"{block}.feed_forward.output_dense")
        both(f"{block}.final_layer_norm", f"{block}.final_layer_norm")
        if config.relative_positions and index == 0:
            both(f"{block}.self_attn.relative_attention_bias", f"{block}.attention.rel_attn_embed", "weight")
        if config.gated:
            both(f"{block}.self_attn.grep_linear", f"{block}.attention.gru_rel_pos_linear")
            pairs[f"{block}.self_attn.grep_a"] = f"{block}.attention.gru_rel_pos_const"
    return pairs


def to_fairseq(config: SslConfig, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights of a Hugging Face directory under fairseq's names; what has none keeps its own.

    Of a model with a head (`hubert.encoder…`, `lm_head…`) only the encoder is kept; the old names of the
    normalised convolution (`weight_g`, `weight_v`) are understood.
    """
    prefix = f"{config.model_type}."
    if any(name.startswith(prefix) for name in weights):
        weights = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
    names = {theirs: ours for ours, theirs in name_pairs(config, config.num_layers).items()}
    names |= {
        f"encoder.pos_conv_embed.conv.weight_{part}": f"encoder.pos_conv.0.weight_{part}" for part in "gv"
    }
    return {names.get(name, name): value for name, value in weights.items()}


def select(
    config: SslConfig, weights: Mapping[str, torch.Tensor], num_layers: int, where: str
) -> dict[str, torch.Tensor]:
    """The float32 weights that the encoder cut to `num_layers` blocks needs, under fairseq's names.

    Raises:
        InputError: naming weights that are missing, or that this architecture does not have.
    """
    wanted = name_pairs(config, num_layers)
    whole = name_pairs(config, config.num_layers)
    missing = [name for name in wanted if name not in weights]
    unexpected = [
        name
        for name in weights
        if name not in whole and not UNUSED.match(name) and not name.startswith("encoder.layer_norm.")
    ]
    if missing or unexpected:
        raise InputError(
            f"{where}: its weights are not those of its configuration ({config.model_type}, "
            f"{config.num_layers} blocks, {config.conv_norm} norm)"
            + _listing("missing", missing)
            + _listing("not expected", unexpected)
            + "; get the checkpoint again, or correct its configuration"
        )
    strange = [name for name in wanted if not torch.is_tensor(weights[name])]
    if strange:
        raise InputError(f"{where}:{_listing('not tensors', strange).lstrip(';')}; get the checkpoint again")
    return {name: weights[name].detach().to(torch.float32).contiguous() for name in wanted}


def digest(config: SslConfig, weights: Mapping[str, torch.Tensor]) -> str:
    """Fingerprint of an encoder (architecture and selected weights), the same for every file format."""
    shape = asdict(config)
    for key in ("num_layers", "normalise", "sample_rate"):  # cut to the layer; described on their own
        del shape[key]
    result = hashlib.blake2b(json.dumps(shape, sort_keys=True).encode(), digest_size=16)
    update(result, weights)
    return result.hexdigest()


def update(result: "hashlib._Hash", weights: Mapping[str, torch.Tensor]) -> None:
    """Add names, shapes and values of tensors to a digest."""
    for name in sorted(weights):
        result.update(f"\n{name} {tuple(weights[name].shape)} ".encode())
        result.update(memoryview(weights[name].numpy()).cast("B"))


def load_strictly(model: torch.nn.Module, weights: Mapping[str, torch.Tensor], where: str) -> None:
    """Load weights into a module, all of them and nothing else, each of the right shape.

    Raises:
        InputError: naming the weights that do not fit.
    """
    own = model.state_dict()
    missing, unexpected = sorted(set(own) - set(weights)), sorted(set(weights) - set(own))
    shapes = [
        f"{name} {tuple(weights[name].shape)} instead of {tuple(own[name].shape)}"
        for name in own
        if name in weights and weights[name].shape != own[name].shape
    ]
    if missing or unexpected or shapes:
        raise InputError(
            f"{where}: its weights do not fit its configuration"
            + _listing("missing", missing)
            + _listing("not expected", unexpected)
            + _listing("of another shape", shapes)
            + "; get the checkpoint again, or try the other backend"
        )
    model.load_state_dict(dict(weights), strict=True, assign=True)


def _listing(what: str, names: list[str]) -> str:
    if not names:
        return ""
    return f"; {len(names)} {what}: {', '.join(names[:SHOWN])}{' …' * (len(names) > SHOWN)}"
