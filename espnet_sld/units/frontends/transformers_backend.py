"""HuBERT and WavLM by Hugging Face transformers' model code."""

from collections.abc import Mapping

import torch

from espnet_sld.errors import InputError
from espnet_sld.units.frontends.convert import load_strictly, name_pairs
from espnet_sld.units.frontends.group_norm import UtteranceGroupNorm
from espnet_sld.units.frontends.ssl_config import SslConfig


class TransformersEncoder:
    """Padded samples → output of the last of `num_layers` blocks; arguments as `S3prlEncoder`'s.

    Raises:
        InputError: the weights do not fit, or transformers has no such architecture.
    """

    def __init__(
        self,
        config: SslConfig,
        num_layers: int,
        weights: Mapping[str, torch.Tensor],
        where: str,
        device: torch.device,
    ):
        if config.relative_positions != config.gated:
            raise InputError(f"{where}: transformers has no WavLM without gates (gru_rel_pos): backend=s3prl")
        self.config = config
        names = name_pairs(config, num_layers)
        model = _build(config, num_layers)
        load_strictly(model, {names[name]: value for name, value in weights.items()}, where)
        self.group_norm = None
        if config.conv_norm == "group":
            first = model.feature_extractor.conv_layers[0]
            first.layer_norm = self.group_norm = UtteranceGroupNorm(first.layer_norm)
        self.model = model.eval().requires_grad_(False).to(device)

    def __call__(self, samples: torch.Tensor, lengths: list[int]) -> torch.Tensor:
        """Samples (B, N) on the device, zero beyond `lengths`, → (B, num_frames(N), D)."""
        if self.group_norm is not None:
            self.group_norm.lengths = [self.config.num_frames(length, 1) for length in lengths]
        ends = torch.tensor(lengths, device=samples.device)
        mask = (torch.arange(samples.shape[1], device=samples.device) < ends[:, None]).long()
        return self.model(samples, attention_mask=mask).last_hidden_state


def _build(config: SslConfig, num_layers: int) -> torch.nn.Module:
    """The bare encoder, cut, without the final norm of pre-norm models; weights are still to come."""
    from transformers import HubertConfig, HubertModel, WavLMConfig, WavLMModel

    channels, kernels, strides = zip(*config.conv_layers, strict=True)
    shape = {
        "feat_extract_norm": config.conv_norm,
        "conv_dim": channels,
        "conv_kernel": kernels,
        "conv_stride": strides,
        "conv_bias": config.conv_bias,
        "num_hidden_layers": num_layers,
        "hidden_size": config.dimension,
        "intermediate_size": config.feed_forward,
        "num_attention_heads": config.heads,
        "hidden_act": config.activation,
        "do_stable_layer_norm": config.norm_first,
        "layer_norm_eps": config.norm_eps,
        "num_conv_pos_embeddings": config.position_kernel,
        "num_conv_pos_embedding_groups": config.position_groups,
        "mask_time_prob": 0.0,  # no masking vector
        "mask_feature_prob": 0.0,
        "layerdrop": 0.0,
    }
    with torch.device("meta"):  # the weights replace what would be drawn here
        if config.model_type == "wavlm":
            relative = {"num_buckets": config.num_buckets, "max_bucket_distance": config.max_distance}
            model = WavLMModel(WavLMConfig(**shape, **relative))
        else:
            model = HubertModel(HubertConfig(**shape))
    if config.norm_first:
        model.encoder.layer_norm = torch.nn.Identity()
    return model
