"""Small random checkpoints of the genuine formats: the same seed gives the same weights in every format.

Sizes are small, but the convolutions have the published kernels and strides, so a frame is 320 samples. The
weights are drawn wide, so that attention, positions and masks matter as they do in trained models.
"""

import json
import math
import re
from pathlib import Path

import torch

KERNELS, STRIDES = (10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)
CHANNELS, DIMENSION, FEED_FORWARD, HEADS, LAYERS = 16, 32, 64, 4, 3

# transformers' names → fairseq's, as patterns: stated apart from the package's own table
RENAMED = (
    (r"^feature_projection\.layer_norm\.", "layer_norm."),
    (r"^feature_projection\.projection\.", "post_extract_proj."),
    (r"pos_conv_embed\.conv\.parametrizations\.weight\.original0", "pos_conv.0.weight_g"),
    (r"pos_conv_embed\.conv\.parametrizations\.weight\.original1", "pos_conv.0.weight_v"),
    (r"pos_conv_embed\.conv\.", "pos_conv.0."),
    (r"^(feature_extractor\.conv_layers\.\d+)\.conv\.", r"\1.0."),
    (r"(layers\.\d+)\.layer_norm\.", r"\1.self_attn_layer_norm."),
    (r"\.attention\.gru_rel_pos_linear\.", ".self_attn.grep_linear."),
    (r"\.attention\.gru_rel_pos_const", ".self_attn.grep_a"),
    (r"\.attention\.rel_attn_embed\.", ".self_attn.relative_attention_bias."),
    (r"\.attention\.", ".self_attn."),
    (r"\.feed_forward\.intermediate_dense\.", ".fc1."),
    (r"\.feed_forward\.output_dense\.", ".fc2."),
    (r"^masked_spec_embed$", "mask_emb"),
)


def make_wavlm(
    path: str | Path, kind: str = "large", format: str = "s3prl", *, seed: int = 0, layers: int = LAYERS
) -> Path:
    """A small WavLM.

    Args:
        path: the file to write, or for transformers the directory.
        kind: large (layer norms, pre-norm blocks, normalised utterances) | base (group norm, post-norm).
        format: s3prl | microsoft (the same keys for WavLM) | transformers.
        seed: of the weights.
        layers: blocks.
    """
    return _make("wavlm", Path(path), kind, format, seed, layers)


def make_hubert(
    path: str | Path, kind: str = "large", format: str = "s3prl", *, seed: int = 0, layers: int = LAYERS
) -> Path:
    """A small HuBERT; arguments as `make_wavlm`'s, formats s3prl | microsoft | fairseq | transformers."""
    return _make("hubert", Path(path), kind, format, seed, layers)


def make_whisper(path: str | Path, *, seed: int = 0, layers: int = LAYERS) -> Path:
    """A small Whisper (windows of 30 s) as a Hugging Face directory."""
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperModel

    config = WhisperConfig(
        vocab_size=60,
        d_model=DIMENSION,
        encoder_layers=layers,
        decoder_layers=1,
        encoder_attention_heads=HEADS,
        decoder_attention_heads=HEADS,
        encoder_ffn_dim=FEED_FORWARD,
        decoder_ffn_dim=FEED_FORWARD,
        max_target_positions=8,
        **dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id"), 0),
        suppress_tokens=None,
        begin_suppress_tokens=None,
    )
    model = WhisperModel(config)
    draw(model, seed)
    model.save_pretrained(path)
    WhisperFeatureExtractor().save_pretrained(path)
    return Path(path)


def draw(model: torch.nn.Module, seed: int) -> None:
    """Every parameter anew: matrices of unit gain, other vectors near those of a fresh norm or bias."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in sorted(model.named_parameters()):
            noise = torch.randn(value.shape, generator=generator)
            if name.endswith("original0"):
                value.copy_(2.0 + 0.2 * noise)
            elif "norm" in name and name.endswith("weight"):
                value.copy_(1.0 + 0.2 * noise)
            elif name.endswith("gru_rel_pos_const"):
                value.copy_(1.0 + 0.5 * noise)
            elif value.dim() > 1:
                value.copy_(noise / math.sqrt(value[0].numel()))
            else:
                value.copy_(0.1 * noise)


def _make(model_type: str, path: Path, kind: str, format: str, seed: int, layers: int) -> Path:
    formats = {"s3prl", "microsoft", "transformers"} | ({"fairseq"} if model_type == "hubert" else set())
    if kind not in {"large", "base"} or format not in formats:
        raise ValueError(f"kind {kind} or format {format}")
    large = kind == "large"
    model = _model(model_type, large, layers)
    draw(model, seed)
    if format == "transformers":
        model.save_pretrained(path)
        preprocessor = {
            "do_normalize": large,
            "feature_size": 1,
            "padding_value": 0.0,
            "sampling_rate": 16000,
        }
        preprocessor["feature_extractor_type"] = "Wav2Vec2FeatureExtractor"
        (path / "preprocessor_config.json").write_text(json.dumps(preprocessor))
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(_content(model_type, format, large, layers, _fairseq_weights(model, large)), path)
    return path


def _model(model_type: str, large: bool, layers: int) -> torch.nn.Module:
    from transformers import HubertConfig, HubertModel, WavLMConfig, WavLMModel

    config_class, model_class = {
        "wavlm": (WavLMConfig, WavLMModel),
        "hubert": (HubertConfig, HubertModel),
    }[model_type]
    return model_class(
        config_class(
            hidden_size=DIMENSION,
            num_hidden_layers=layers,
            num_attention_heads=HEADS,
            intermediate_size=FEED_FORWARD,
            conv_dim=(CHANNELS,) * len(KERNELS),
            conv_kernel=KERNELS,
            conv_stride=STRIDES,
            conv_bias=large and model_type == "hubert",
            feat_extract_norm="layer" if large else "group",
            do_stable_layer_norm=large,
        )
    )


def _fairseq_weights(model: torch.nn.Module, large: bool) -> dict[str, torch.Tensor]:
    norms = (r"^(feature_extractor\.conv_layers\.\d+)\.layer_norm\.", r"\1.2.1." if large else r"\1.2.")
    weights = {}
    for name, value in model.state_dict().items():
        for pattern, replacement in (norms, *RENAMED):
            name = re.sub(pattern, replacement, name)
        weights[name] = value.clone()
    return weights


def _content(
    model_type: str, format: str, large: bool, layers: int, weights: dict[str, torch.Tensor]
) -> dict[str, object]:
    rest = ", ".join(
        f"({CHANNELS},{kernel},{stride})" for kernel, stride in zip(KERNELS[1:], STRIDES[1:], strict=True)
    )
    model = {
        "extractor_mode": "layer_norm" if large else "default",
        "encoder_layers": layers,
        "encoder_embed_dim": DIMENSION,
        "encoder_ffn_embed_dim": FEED_FORWARD,
        "encoder_attention_heads": HEADS,
        "activation_fn": "gelu",
        "layer_norm_first": large,
        "conv_feature_layers": f"[({CHANNELS},{KERNELS[0]},{STRIDES[0]})] + [{rest}]",
        "conv_bias": large and model_type == "hubert",
        "conv_pos": 128,
        "conv_pos_groups": 16,
        "encoder_layerdrop": 0.1,
        "dropout": 0.1,
    }
    if model_type == "wavlm":
        relative = {"relative_position_embedding": True, "gru_rel_pos": True, "num_buckets": 320}
        return {"cfg": {**model, **relative, "max_distance": 800, "normalize": large}, "model": weights}
    if format == "microsoft":
        return {"cfg": {**model, "relative_position_embedding": False, "normalize": large}, "model": weights}
    model |= {"_name": "hubert", "label_rate": 50.0, "final_dim": 8}
    task = {"_name": "hubert_pretraining", "sample_rate": 16000, "normalize": large, "label_rate": 50.0}
    symbols = [["0", "1", "2", "3"]]
    generator = torch.Generator().manual_seed(0)
    head = {
        "final_proj.weight": torch.randn(8, DIMENSION, generator=generator),
        "final_proj.bias": torch.randn(8, generator=generator),
        "label_embs_concat": torch.randn(len(symbols[0]), 8, generator=generator),
    }
    if format == "fairseq":
        return {"cfg": {"model": model, "task": task}, "model": {**weights, **head}}
    return {
        "task_cfg": task,
        "model_cfg": model,
        "model_weight": {**weights, **head},
        "dictionaries_symbols": symbols,
    }
