"""What a HuBERT or WavLM encoder looks like, read from fairseq's or transformers' configuration."""

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from espnet_sld.errors import InputError

MODEL_TYPES = ("hubert", "wavlm")
ACTIVATIONS = ("gelu", "relu")
DEFAULT_CONV = "[(512,10,5)] + [(512,3,2)] * 4 + [(512,2,2)] * 2"
MOST_CONV_LAYERS = 64


@dataclass(frozen=True)
class SslConfig:
    """Architecture, the same whatever library wrote the checkpoint.

    Attributes:
        model_type: hubert | wavlm.
        sample_rate: Hz.
        normalise: each utterance to zero mean and unit variance; None where the checkpoint does not say.
        conv_layers: (channels, kernel, stride) of each convolution over the samples.
        conv_bias: whether these have biases.
        conv_norm: group (after the first convolution, over time) | layer (after each, per frame).
        num_layers: Transformer blocks L.
        dimension, feed_forward, heads: of a block.
        activation: gelu | relu, of the blocks.
        norm_first: pre-norm blocks; their final norm is never applied here.
        norm_eps: of the layer norms.
        position_kernel, position_groups: of the convolution that gives positions.
        relative_positions: WavLM's bias, computed in the first block; gated: scaled by each block's gate.
        num_buckets, max_distance: of that bias.
    """

    model_type: str
    sample_rate: int
    normalise: bool | None
    conv_layers: tuple[tuple[int, int, int], ...]
    conv_bias: bool
    conv_norm: str
    num_layers: int
    dimension: int
    feed_forward: int
    heads: int
    activation: str
    norm_first: bool
    norm_eps: float
    position_kernel: int
    position_groups: int
    relative_positions: bool = False
    gated: bool = False
    num_buckets: int = 0
    max_distance: int = 0

    def num_frames(self, num_samples: int, conv_layers: int | None = None) -> int:
        """Frames after the convolutions (all, or the first few): (n − k) // s + 1 of each; 0 if too short.

        For the published models, kernels 10 3 3 3 3 2 2 and strides 5 2 2 2 2 2 2, that is
        (n − 400) // 320 + 1.
        """
        frames = num_samples
        for _, kernel, stride in self.conv_layers[:conv_layers]:
            frames = (frames - kernel) // stride + 1
            if frames < 1:
                return 0
        return frames

    @property
    def hop(self) -> int:
        """Samples between frames."""
        product = 1
        for _, _, stride in self.conv_layers:
            product *= stride
        return product


def from_fairseq(model: Mapping[str, Any], task: Mapping[str, Any] | None, where: str) -> SslConfig:
    """Fairseq's `model` and `task` configurations, or Microsoft's flat one (then `task` is None).

    A configuration without relative positions is HuBERT's architecture, whoever wrote it.

    Raises:
        InputError: naming `where`, a value of another type, or an architecture that is not supported.
    """
    read = _Reader(model, where)
    task = model if task is None else task
    if "sample_rate" in task and not isinstance(task["sample_rate"], int):
        raise InputError(f"{where}: sample_rate {task['sample_rate']} must be a whole number")
    if read("layer_type", str, "transformer") != "transformer":
        raise InputError(f"{where}: layer_type {model['layer_type']} is not supported, only transformer")
    conv_norm = {"default": "group", "layer_norm": "layer"}.get(read("extractor_mode", str, "default"))
    if conv_norm is None:
        raise InputError(f"{where}: extractor_mode {model['extractor_mode']} must be default or layer_norm")
    relative = read("relative_position_embedding", bool, False)
    normalise = task.get("normalize")
    if normalise is not None and not isinstance(normalise, bool):
        raise InputError(f"{where}: normalize {normalise} must be true or false")
    config = SslConfig(
        model_type="wavlm" if relative else "hubert",
        sample_rate=task.get("sample_rate", 16000),
        normalise=normalise,
        conv_layers=parse_conv_layers(read("conv_feature_layers", str, DEFAULT_CONV), where),
        conv_bias=read("conv_bias", bool, False),
        conv_norm=conv_norm,
        num_layers=read("encoder_layers", int, 12),
        dimension=read("encoder_embed_dim", int, 768),
        feed_forward=read("encoder_ffn_embed_dim", int, 3072),
        heads=read("encoder_attention_heads", int, 12),
        activation=read("activation_fn", str, "gelu"),
        norm_first=read("layer_norm_first", bool, False),
        norm_eps=1e-5,
        position_kernel=read("conv_pos", int, 128),
        position_groups=read("conv_pos_groups", int, 16),
        relative_positions=relative,
        gated=relative and read("gru_rel_pos", bool, False),
        num_buckets=read("num_buckets", int, 320) if relative else 0,
        max_distance=read("max_distance", int, 1280) if relative else 0,
    )
    return _checked(config, where)


def from_transformers(
    config: Mapping[str, Any], preprocessor: Mapping[str, Any] | None, where: str
) -> SslConfig:
    """A Hugging Face directory's config.json and, where there is one, preprocessor_config.json.

    `do_normalize` decides the normalisation; without a preprocessor, `feat_extract_norm: layer` means it.

    Raises:
        InputError: naming `where`, a value of another type, or an architecture that is not supported.
    """
    model_type = config.get("model_type")
    if model_type not in MODEL_TYPES:
        raise InputError(f"{where}: model_type {model_type} is not one of {' '.join(MODEL_TYPES)} whisper")
    read = _Reader(config, where)
    for key, supported in (
        ("conv_pos_batch_norm", False),
        ("feat_proj_layer_norm", True),
        ("adapter_attn_dim", None),
        ("feat_extract_activation", "gelu"),
    ):
        if config.get(key, supported) != supported:
            raise InputError(f"{where}: {key} {config[key]} is not supported, only {supported}")
    conv_norm = read("feat_extract_norm", str, "group")
    if conv_norm not in {"group", "layer"}:
        raise InputError(f"{where}: feat_extract_norm {conv_norm} must be group or layer")
    strides, kernels = (5, 2, 2, 2, 2, 2, 2), (10, 3, 3, 3, 3, 2, 2)
    conv = [
        tuple(config.get(key, default))
        for key, default in (("conv_dim", (512,) * 7), ("conv_kernel", kernels), ("conv_stride", strides))
    ]
    if len({len(part) for part in conv}) != 1:
        raise InputError(f"{where}: conv_dim, conv_kernel and conv_stride must have one length")
    relative = model_type == "wavlm"
    said = (preprocessor or {}).get("do_normalize")
    result = SslConfig(
        model_type=model_type,
        sample_rate=(preprocessor or {}).get("sampling_rate", 16000),
        normalise=conv_norm == "layer" if said is None else bool(said),
        conv_layers=tuple(zip(*conv, strict=True)),
        conv_bias=read("conv_bias", bool, False),
        conv_norm=conv_norm,
        num_layers=read("num_hidden_layers", int, 12),
        dimension=read("hidden_size", int, 768),
        feed_forward=read("intermediate_size", int, 3072),
        heads=read("num_attention_heads", int, 12),
        activation=read("hidden_act", str, "gelu"),
        norm_first=read("do_stable_layer_norm", bool, False),
        norm_eps=read("layer_norm_eps", float, 1e-5),
        position_kernel=read("num_conv_pos_embeddings", int, 128),
        position_groups=read("num_conv_pos_embedding_groups", int, 16),
        relative_positions=relative,
        gated=relative,
        num_buckets=read("num_buckets", int, 320) if relative else 0,
        max_distance=read("max_bucket_distance", int, 800) if relative else 0,
    )
    return _checked(result, where)


def parse_conv_layers(text: str, where: str) -> tuple[tuple[int, int, int], ...]:
    """`[(512,10,5)] + [(512,3,2)] * 4` → its tuples; lists, tuples, whole numbers, + and * only.

    Fairseq's and s3prl's code evaluate this string of the checkpoint as Python; here nothing is executed.
    """

    def value(node: ast.AST) -> Any:
        if isinstance(node, ast.Constant) and type(node.value) is int:
            return node.value
        if isinstance(node, ast.Tuple):
            return tuple(value(item) for item in node.elts)
        if isinstance(node, ast.List):
            return [value(item) for item in node.elts]
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mult):
            left, right = value(node.left), value(node.right)
            if isinstance(node.op, ast.Add) and isinstance(left, list) and isinstance(right, list):
                return left + right
            times = isinstance(node.op, ast.Mult) and isinstance(left, list) and type(right) is int
            if times and len(left) * right <= MOST_CONV_LAYERS:
                return left * right
        raise ValueError

    try:
        layers = value(ast.parse(text, mode="eval").body)
    except (SyntaxError, ValueError, RecursionError):
        layers = None
    if not isinstance(layers, list) or not all(isinstance(item, tuple) and len(item) == 3 for item in layers):
        raise InputError(
            f"{where}: conv_feature_layers '{text[:80]}' is not a list of (channels, kernel, stride)"
        )
    return tuple(layers)


class _Reader:
    """Values of a configuration, of the right type or an InputError."""

    def __init__(self, values: Mapping[str, Any], where: str):
        self.values, self.where = values, where

    def __call__(self, key: str, kind: type, default: Any) -> Any:
        value = self.values.get(key, default)
        value = getattr(value, "value", value)
        right = isinstance(value, (int, float) if kind is float else kind)
        if not right or (kind is not bool and isinstance(value, bool)):
            raise InputError(f"{self.where}: {key} {value} in its configuration must be {kind.__name__}")
        return value


def _checked(config: SslConfig, where: str) -> SslConfig:
    numbers = [config.sample_rate, config.num_layers, config.dimension, config.feed_forward, config.heads]
    numbers += [config.position_kernel, config.position_groups]
    numbers += [number for layer in config.conv_layers for number in layer]
    if not config.conv_layers or any(type(number) is not int or number < 1 for number in numbers):
        raise InputError(f"{where}: its configuration has a size that is not a positive whole number")
    if config.dimension % config.heads or config.activation not in ACTIVATIONS:
        raise InputError(
            f"{where}: {config.heads} heads must divide {config.dimension}, and activation "
            f"{config.activation} be one of {' '.join(ACTIVATIONS)}"
        )
    return config
