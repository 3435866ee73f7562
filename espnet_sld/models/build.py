"""One builder for training and inference: a model from the keys that training writes to config.yaml."""

from collections.abc import Mapping
from typing import Any

from espnet_sld.errors import InputError
from espnet_sld.models.backbone import build_backbone
from espnet_sld.models.decoder_only import DecoderOnlyLM


def build_decoder_only(conf: Mapping[str, Any], *, load_weights: bool = True) -> DecoderOnlyLM:
    """Build the model that `conf` describes.

    Keys: `vocabulary` (dict of `Vocabulary.as_dict()`), `backbone_source`, `backbone_conf`, `max_positions`,
    `dropout`, `attention_dropout`, `residual_dropout`, `init_new_rows`, and `pad_id`; without the last, the
    text tokenizer named by `text_token_type` and `text_token_path` gives its spare id.
    Where `backbone_resolved` is present (the architecture that training ran with), a model without
    weights is built from it, so that a checkpoint needs no source.

    Args:
        load_weights: False where a checkpoint follows.

    Raises:
        InputError: see `build_backbone`.
    """
    from espnet_sld.tokens.vocabulary import Vocabulary

    if not conf.get("vocabulary"):
        raise InputError("the model's config has no 'vocabulary'; it is written when training starts")
    vocabulary = Vocabulary.from_dict(conf["vocabulary"])
    source, backbone_conf = conf.get("backbone_source"), conf.get("backbone_conf")
    if not load_weights and conf.get("backbone_resolved"):
        source, backbone_conf = None, conf["backbone_resolved"]
    backbone = build_backbone(
        source,
        backbone_conf,
        vocabulary.size,
        text_vocabulary=len(vocabulary.range("text")),
        max_positions=conf.get("max_positions"),
        dropout=conf.get("dropout", 0.1),
        attention_dropout=conf.get("attention_dropout"),
        residual_dropout=conf.get("residual_dropout"),
        init_new_rows=conf.get("init_new_rows", "normal"),
        load_weights=load_weights,
    )
    return DecoderOnlyLM(backbone, pad_id(conf))


def pad_id(conf: Mapping[str, Any]) -> int:
    """Id that pads and masks: `pad_id`, else the text tokenizer's spare id."""
    if conf.get("pad_id") is not None:
        return int(conf["pad_id"])
    from espnet_sld.tokens.subword import build_text_tokenizer

    return build_text_tokenizer(conf["text_token_type"], conf["text_token_path"]).spare_id
