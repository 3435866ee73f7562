"""Any Hugging Face causal LM as a backbone: from scratch by its config, or from a directory of weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import huggingface_hub
import torch
import transformers
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from espnet_sld.errors import InputError
from espnet_sld.models.dropout import fast_dropout
from espnet_sld.models.vocabulary import extend_vocabulary

ATTENTION = "sdpa"


def build_backbone(
    source: str | None,
    config: Mapping[str, Any] | None,
    vocabulary_size: int,
    *,
    text_vocabulary: int | None = None,
    max_positions: int | None = None,
    dropout: float = 0.1,
    attention_dropout: float | None = None,
    residual_dropout: float | None = None,
    init_new_rows: str = "normal",
    load_weights: bool = True,
) -> PreTrainedModel:
    """A causal LM with `vocabulary_size` token rows, attention by scaled-dot-product kernels.

    Args:
        source: Hugging Face directory or hub name; None = from scratch. Weights are read from safetensors,
            else with `weights_only`; code from a repository is never run.
        config: from scratch: `{"model_type": "llama", "hidden_size": …}`; with a source: changes to its own.
        text_vocabulary: size of the text tokenizer, so the first new id (see `extend_vocabulary`).
        max_positions: longest sequence; sets a scratch model's positions, and is checked against a source's.
        dropout: all dropouts of the model's config that `config` does not set; types that have none on
            embeddings get it there.
        attention_dropout: overrides `dropout` inside attention. On a CPU anything but 0 is slow: the fused
            kernel there has no dropout.
        residual_dropout: on each block's attention and MLP outputs, for models without it (Llama types);
            None = `dropout`.
        init_new_rows: how new token rows start, see `vocabulary.INITIALISERS`.
        load_weights: False = the architecture alone, for a checkpoint that brings all weights.

    Raises:
        InputError: unknown type or key, missing directory, too few positions, an unsupported attention
            window or output layer.
    """
    settings = source_config(source, config) if source else scratch_config(config, max_positions)
    _set_dropout(settings, dropout, attention_dropout, set(config or {}))
    if (
        max_positions is not None
        and (positions := position_limit(settings)) is not None
        and positions < max_positions
    ):
        raise InputError(
            f"max_positions {max_positions} exceeds the backbone's {positions} positions; "
            "lower it or choose another backbone"
        )
    window = attention_window(settings)
    if max_positions is not None and window is not None and window < max_positions:
        raise InputError(
            f"the backbone attends to the last {window} tokens only, max_positions is {max_positions}: "
            "batched generation does not support that; lower it or set sliding_window in backbone_conf"
        )
    if source and load_weights:
        model = _load(source, settings)
        extend_vocabulary(model, vocabulary_size, init_new_rows, first_new=text_vocabulary)
        # OPT's padding row would get no gradient where it is a mask; pads themselves come last and are unseen
        model.get_input_embeddings().padding_idx = None
    else:
        settings.vocab_size = vocabulary_size
        model = AutoModelForCausalLM.from_config(settings, attn_implementation=ATTENTION)
    model = model.float()
    _check_output(model)
    _add_dropout(model, dropout, dropout if residual_dropout is None else residual_dropout)
    return model


def scratch_config(config: Mapping[str, Any] | None, max_positions: int | None = None) -> PreTrainedConfig:
    """Config of a new model; every key must be one of its type's."""
    options = dict(config or {})
    model_type = options.pop("model_type", None)
    if model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        few = "llama, gpt2, opt, qwen2, mistral, …"
        raise InputError(
            f"backbone_conf: model_type '{model_type}' is not a causal LM of transformers; e.g. {few}"
        )
    default = CONFIG_MAPPING[model_type]()
    _known(default, options)
    if max_positions is not None and position_key(default) not in options:
        options.setdefault("max_position_embeddings", max_positions)
    # a padding row would get no gradient, and the pad token doubles as the mask token
    for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
        options.setdefault(name, None)
    try:
        return AutoConfig.for_model(model_type, **options)
    except (TypeError, ValueError) as error:
        raise InputError(f"backbone_conf: {error}") from error


def source_config(source: str, changes: Mapping[str, Any] | None = None) -> PreTrainedConfig:
    """Config of a pretrained model, with `changes`."""
    changes = {key: value for key, value in (changes or {}).items() if key != "model_type"}
    if source.startswith((".", "/", "~")) and not Path(source).expanduser().is_dir():
        raise InputError(f"backbone_source {source}: no such directory")
    try:
        settings = AutoConfig.from_pretrained(str(Path(source).expanduser()), trust_remote_code=False)
    except (OSError, ValueError) as error:
        remedy = f"; fetch it with `hf download {source} --local-dir DIR` and name DIR"
        remedy = "" if Path(source).expanduser().is_dir() else remedy
        raise InputError(f"backbone_source {source}: {str(error).splitlines()[0]}{remedy}") from error
    _known(settings, changes)
    for key, value in changes.items():
        setattr(settings, key, value)
    return settings


def _load(source: str, settings: PreTrainedConfig) -> PreTrainedModel:
    directory = Path(source).expanduser()
    safe = not directory.is_dir() or bool(list(directory.glob("*.safetensors")))
    try:
        model, report = AutoModelForCausalLM.from_pretrained(
            str(directory),
            config=settings,
            attn_implementation=ATTENTION,
            use_safetensors=safe,
            weights_only=True,
            trust_remote_code=False,
            dtype=torch.float32,
            output_loading_info=True,
        )
    except (OSError, ValueError) as error:
        raise InputError(f"backbone_source {source}: {str(error).splitlines()[0]}") from error
    if report["missing_keys"] or report.get("mismatched_keys"):
        lacking = sorted(map(str, [*report["missing_keys"], *report.get("mismatched_keys", [])]))[:3]
        raise InputError(
            f"backbone_source {source}: weights missing or of another shape, e.g. {', '.join(lacking)}"
        )
    return model


def _known(settings: PreTrainedConfig, options: Mapping[str, Any]) -> None:
    unknown = sorted(key for key in options if not hasattr(settings, key))
    if unknown:
        known = sorted(key for key in settings.to_dict() if not key.startswith("_"))
        raise InputError(
            f"backbone_conf: {settings.model_type} has no option {', '.join(unknown)}; "
            f"known: {', '.join(known)}"
        )


def revision(source: str | None) -> str | None:
    """The commit of a loaded hub name, as the cache has it; None for a directory or from scratch."""
    if not source or Path(source).expanduser().is_dir():
        return None
    config = huggingface_hub.try_to_load_from_cache(source, "config.json")  # …/snapshots/<commit>/config.json
    return Path(config).parent.name if isinstance(config, str) else None


def position_key(settings: PreTrainedConfig) -> str:
    """The config's own name of its number of positions, e.g. GPT-2's `n_positions`."""
    return getattr(settings, "attribute_map", {}).get("max_position_embeddings", "max_position_embeddings")


def position_limit(settings: PreTrainedConfig) -> int | None:
    """Most positions of the model, None where it has no such limit."""
    return getattr(settings, position_key(settings), None)


def attention_window(settings: PreTrainedConfig) -> int | None:
    """Tokens that a layer with sliding-window attention sees, None where every layer sees all."""
    window = getattr(settings, "sliding_window", None)
    layers = getattr(settings, "layer_types", None)
    return window if layers is None or "sliding_attention" in layers else None


def dropout_keys(settings: PreTrainedConfig) -> list[str]:
    """The config's dropout options that act on a causal LM."""
    return [
        key
        for key, value in settings.to_dict().items()
        if key.endswith(("dropout", "pdrop"))
        and not key.startswith(("summary", "classifier"))
        and isinstance(value, int | float)
    ]


def _set_dropout(
    settings: PreTrainedConfig, dropout: float, attention_dropout: float | None, explicit: set[str]
) -> None:
    for key in set(dropout_keys(settings)) - explicit:
        own = attention_dropout is not None and key.startswith("att")
        setattr(settings, key, attention_dropout if own else dropout)


def _add_dropout(model: PreTrainedModel, embedding: float, residual: float) -> None:
    """Dropout by forward hooks where the model type has none of its own; parameter names stay."""
    keys = set(dropout_keys(model.config))
    if keys - {"attention_dropout", "attn_pdrop"}:
        return
    _hook(model.get_input_embeddings(), embedding)
    for name, module in model.named_modules():
        if name.rsplit(".", 1)[-1] in {"o_proj", "down_proj"}:
            _hook(module, residual)


def _hook(module: nn.Module, probability: float) -> None:
    def drop(this: nn.Module, _: Any, output: torch.Tensor) -> torch.Tensor:
        return fast_dropout(output, probability) if this.training else output

    if probability > 0:
        module.register_forward_hook(drop)


def _check_output(model: PreTrainedModel) -> None:
    """Logits must be hidden · Wᵀ: the criterion and the decoder make them that way."""
    output, settings = model.get_output_embeddings(), model.config
    odd = [
        key
        for key in ("final_logit_softcapping", "logit_scale", "logits_scaling")
        if getattr(settings, key, None)
    ]
    if output is None or getattr(output, "bias", None) is not None:
        odd.append("output bias")
    if odd:
        raise InputError(
            f"backbone type {settings.model_type} (transformers {transformers.__version__}) changes its "
            f"logits by {', '.join(odd)}, which is not supported; choose gpt2, llama, opt, qwen2 or such"
        )


def resolved_config(model: PreTrainedModel) -> dict[str, Any]:
    """Plain values that rebuild the architecture by `backbone_conf`, without its source."""
    settings = model.config.to_diff_dict()
    dropped = {"architectures", "dtype", "torch_dtype", "transformers_version", "vocab_size", "_name_or_path"}
    # published directories carry keys that transformers no longer has, e.g. GPT-2's `n_ctx`
    known = CONFIG_MAPPING[model.config.model_type]()
    plain = {key: value for key, value in settings.items() if key not in dropped and hasattr(known, key)}
    return {"model_type": model.config.model_type, **plain}
