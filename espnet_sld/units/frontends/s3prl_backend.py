"""HuBERT and WavLM by s3prl's own model code, the classes that its experts run."""

import warnings
from collections.abc import Mapping

import torch

from espnet_sld.errors import InputError
from espnet_sld.units.frontends.convert import load_strictly
from espnet_sld.units.frontends.group_norm import UtteranceGroupNorm
from espnet_sld.units.frontends.ssl_config import SslConfig

LABEL_RATE = 50.0  # of the pre-training targets; no part of the encoder depends on it


class S3prlEncoder:
    """Padded samples → output of the last of `num_layers` blocks.

    The experts themselves would unpickle the checkpoint and evaluate a string of it; here the weights come in
    safely read. Their padding mask, right only where the longest utterance's samples happen to divide by its
    frames, is replaced by the exact one.

    Args:
        config: the architecture.
        num_layers: blocks to build; the final norm of pre-norm models is left out.
        weights: exactly those of `convert.name_pairs`, under fairseq's names.
        where: names the checkpoint in errors.
        device: torch device.

    Raises:
        InputError: s3prl is not installed, or the weights do not fit.
    """

    def __init__(
        self,
        config: SslConfig,
        num_layers: int,
        weights: Mapping[str, torch.Tensor],
        where: str,
        device: torch.device,
    ):
        if config.norm_eps != 1e-5:
            raise InputError(
                f"{where}: layer_norm_eps is {config.norm_eps}, s3prl has 1e-5; take backend=transformers"
            )
        self.config = config
        model = _build(config, num_layers)
        load_strictly(model, weights, where)
        self.group_norm = None
        if config.conv_norm == "group":
            first = model.feature_extractor.conv_layers[0]
            first[2] = self.group_norm = UtteranceGroupNorm(first[2])
        model.forward_padding_mask = self.padding_mask
        model.feature_grad_mult = 0.0
        model.encoder.layerdrop = 0.0
        self.model = model.eval().requires_grad_(False).to(device)

    def __call__(self, samples: torch.Tensor, lengths: list[int]) -> torch.Tensor:
        """Samples (B, N) on the device, zero beyond `lengths`, → (B, num_frames(N), D)."""
        if self.group_norm is not None:
            self.group_norm.lengths = [self.config.num_frames(length, 1) for length in lengths]
        ends = torch.tensor(lengths, device=samples.device)
        padding = torch.arange(samples.shape[1], device=samples.device) >= ends[:, None]
        return self.model.extract_features(samples, padding_mask=padding, mask=False)[0]

    def padding_mask(self, features: torch.Tensor, padding: torch.Tensor) -> torch.Tensor:
        """Mask over samples (B, N), true = padding, → over frames (B, T): true from num_frames(n) on."""
        lengths = (~padding).sum(dim=1).tolist()
        frames = torch.tensor([self.config.num_frames(length) for length in lengths], device=padding.device)
        return torch.arange(features.shape[1], device=padding.device) >= frames[:, None]


def _build(config: SslConfig, num_layers: int) -> torch.nn.Module:
    """The bare encoder, cut; weights are still to come."""
    try:
        from s3prl.upstream.hubert import hubert_model
        from s3prl.upstream.wavlm import WavLM as wavlm_model
    except ImportError as error:
        raise InputError(
            f"backend s3prl: it does not load ({error}); install it (pip install 'espnet_sld[s3prl]', "
            "or tools/install.sh), or take backend=transformers, which gives the same units"
        ) from None
    shape = {
        "extractor_mode": "layer_norm" if config.conv_norm == "layer" else "default",
        "encoder_layers": num_layers,
        "encoder_embed_dim": config.dimension,
        "encoder_ffn_embed_dim": config.feed_forward,
        "encoder_attention_heads": config.heads,
        "activation_fn": config.activation,
        "layer_norm_first": config.norm_first,
        # evaluated as Python by the library, so written from numbers
        "conv_feature_layers": repr([tuple(map(int, layer)) for layer in config.conv_layers]),
        "conv_bias": config.conv_bias,
        "conv_pos": config.position_kernel,
        "conv_pos_groups": config.position_groups,
    }
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*weight_norm.*", category=FutureWarning)
        if config.model_type == "wavlm":
            relative = {
                "relative_position_embedding": config.relative_positions,
                "gru_rel_pos": config.gated,
                "num_buckets": config.num_buckets,
                "max_distance": config.max_distance,
            }
            model = wavlm_model.WavLM(wavlm_model.WavLMConfig({**shape, **relative}))
        else:
            task = hubert_model.HubertPretrainingConfig(sample_rate=config.sample_rate)
            cfg = hubert_model.HubertConfig(label_rate=LABEL_RATE, **shape)
            model = hubert_model.HubertModel(cfg, task, [None])
            model.final_proj = None
    model.mask_emb = None
    if config.norm_first:
        model.encoder.layer_norm = torch.nn.Identity()
    return model
