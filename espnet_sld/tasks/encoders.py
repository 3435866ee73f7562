"""ESPnet's Transformer, Conformer and E-Branchformer as `models.ctc.Encoder`; exact under padding."""

# ruff: noqa: E402
# isort: off
from espnet_sld.tasks.torchaudio_placeholder import quiet_espnet

quiet_espnet()
# isort: on

import contextlib
import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from espnet_sld.errors import InputError
from espnet_sld.models.ctc import CtcRecogniser, Encoded
from espnet_sld.tasks.encoder_inputs import FbankInput, UnitInput, build_normalisation, build_specaug

ENCODERS = {
    "transformer": "espnet2.asr.encoder.transformer_encoder:TransformerEncoder",
    "conformer": "espnet2.asr.encoder.conformer_encoder:ConformerEncoder",
    "e_branchformer": "espnet2.asr.encoder.e_branchformer_encoder:EBranchformerEncoder",
}
OURS = ("input_size", "interctc_layer_idx", "interctc_use_conditioning")  # said by other options
# With these an utterance's result depends on its company, or frames and layers come and go.
REFUSED = {
    "rel_pos_type": ("legacy", "its positions depend on the padded length; use latest"),
    "pos_enc_layer_type": ("conv", "it sees padding; use rel_pos or abs_pos"),
    "ctc_trim": (True, "it drops frames that the CTC of other layers needs"),
}


class EspnetEncoder(nn.Module):
    """An ESPnet encoder with intermediate outputs and conditioning.

    Three things differ from ESPnet's own forward on a padded batch, none on a single utterance: convolutions
    see zeros beyond an utterance's end, as they do alone; lengths after subsampling are those of the
    convolutions, (n − 3) // 2 + 1 each; intermediate outputs of the E-Branchformer go through `after_norm`,
    as the other two do by themselves.

    Args:
        name: a key of `ENCODERS`. input_size: D of what it gets.
        conf: its constructor's other arguments, and `cnn_module_norm` (conformer): layer_norm (default; ours)
            or batch_norm (ESPnet's: statistics of a process's own micro-batch, so processes then matter).
        layers: 1-based layers whose output is wanted.
    """

    def __init__(self, name: str, input_size: int, conf: Mapping[str, Any], layers: Sequence[int] = ()):
        super().__init__()
        if name not in ENCODERS:
            raise InputError(f"--encoder {name}: must be {', '.join(ENCODERS)}")
        conf, norm = dict(conf), "layer_norm"
        if name == "conformer":
            norm = conf.pop("cnn_module_norm", norm)
            conf = {"rel_pos_type": "latest", **conf}
            if norm not in ("layer_norm", "batch_norm"):
                raise InputError(f"encoder_conf: cnn_module_norm {norm}: must be layer_norm or batch_norm")
        cls = _encoder_class(name)
        known = [key for key in inspect.signature(cls).parameters if key not in OURS]
        if unknown := sorted(set(conf) - set(known)):
            known += ["cnn_module_norm"] * (name == "conformer")
            raise InputError(
                f"encoder_conf of {name}: unknown option {', '.join(unknown)}; known: {', '.join(known)}"
            )
        for key, (value, why) in REFUSED.items():
            if conf.get(key) == value:
                raise InputError(f"encoder_conf: {key}={value} is not supported: {why}")
        if conf.get("layer_drop_rate"):
            raise InputError(
                "encoder_conf: layer_drop_rate is not supported: intermediate layers must be there"
            )
        try:
            self.encoder = cls(input_size=input_size, interctc_layer_idx=list(layers), **conf)
        except Exception as error:  # typeguard's, assertions and ESPnet's own
            raise InputError(
                f"encoder_conf of {name}: {(str(error) or repr(error)).splitlines()[0]}"
            ) from error
        self.encoder.conditioning_layer = nn.Identity()
        self.width = self.encoder.output_size()
        self._norm_outside = name == "e_branchformer"
        self._mask: Tensor | None = None  # (B, 1, T) of the forward pass under way
        self.shortcuts, self._quick = False, None
        for block in self.encoder.encoders:
            if norm == "layer_norm" and isinstance(module := getattr(block, "conv_module", None), nn.Module):
                module.norm = ChannelNorm(module.norm.num_features)
            block.register_forward_pre_hook(self._note_mask)
            for module in block.modules():
                if isinstance(module, nn.Conv1d) and module.kernel_size[0] > 1:
                    module.register_forward_pre_hook(self._hide_padding)
        self._convolutions = _subsampling_convolutions(self.encoder.embed)
        if self._convolutions:
            self.encoder.embed.register_forward_hook(_true_mask)

    def forward(
        self, x: Tensor, lengths: Tensor, condition: Callable[[Tensor], Tensor] | None = None
    ) -> Encoded:
        """Encode x (B, T, input_size) of `lengths` (B,); see `models.ctc.Encoder`."""
        if self.shortcuts and not self.training and not torch.is_grad_enabled():
            return self._forward_quickly(x, lengths, condition)
        finish = self.encoder.after_norm if self._norm_outside else nn.Identity()
        self.encoder.interctc_use_conditioning = condition is not None
        ctc = condition and SimpleNamespace(softmax=lambda hidden: condition(finish(hidden)))
        final, frames, _ = self.encoder(x, lengths, ctc=ctc)
        self._mask = None
        intermediates = {}
        if isinstance(final, tuple):
            final, found = final
            intermediates = {layer: finish(hidden) for layer, hidden in found}
        return Encoded(final, frames, intermediates)

    def _forward_quickly(
        self, x: Tensor, lengths: Tensor, condition: Callable[[Tensor], Tensor] | None
    ) -> Encoded:
        """`forward` without autograd, by `QuickConformer`."""
        if self._quick is None:
            from espnet_sld.tasks.quick_conformer import QuickConformer

            self._quick = QuickConformer(self.encoder)
        if self._convolutions:
            inside = torch.arange(x.size(1), device=x.device) < lengths.to(x.device)[:, None]
            (x, positions), _ = self.encoder.embed(x, inside[:, None])
        else:
            x, positions = self.encoder.embed(x)
        frames, hidden = self.output_lengths(lengths), None
        if int(frames.min()) < x.size(1):
            hidden = torch.arange(x.size(1), device=x.device) >= frames.to(x.device)[:, None]
        layers = tuple(self.encoder.interctc_layer_idx)
        final, intermediates = self._quick(x, positions, hidden, layers, condition)
        return Encoded(final, frames, intermediates)

    # The quick form has copies of parameters: a new one is made where they may have changed.
    def train(self, mode: bool = True) -> "EspnetEncoder":
        self._quick = None
        return super().train(mode)

    def _apply(self, *arguments: Any, **more: Any) -> "EspnetEncoder":
        self._quick = None
        return super()._apply(*arguments, **more)

    def _load_from_state_dict(self, *arguments: Any, **more: Any) -> None:
        self._quick = None
        super()._load_from_state_dict(*arguments, **more)

    def __getstate__(self) -> dict[str, Any]:
        """What a copy takes over."""
        return {**self.__dict__, "_quick": None}

    def output_lengths(self, lengths: Tensor) -> Tensor:
        """Frames that come out for so many; 0 or less: too short."""
        return _after(self._convolutions, lengths)

    def _note_mask(self, _, arguments: tuple) -> None:
        self._mask = arguments[1]

    def _hide_padding(self, _, arguments: tuple) -> tuple:
        """The input (B, C, T) of a convolution with zeros at padding."""
        assert self._mask is not None
        return (arguments[0].masked_fill(~self._mask, 0.0), *arguments[1:])


class SpeechEncoder(nn.Module):
    """Units or raw audio → hidden states: input, SpecAugment in training, normalisation, encoder.

    Attributes:
        width: D of the hidden states.
    """

    def __init__(
        self,
        source: UnitInput | FbankInput,
        encoder: EspnetEncoder,
        specaug: nn.Module | None = None,
        normalize: nn.Module | None = None,
    ):
        super().__init__()
        self.source, self.specaug, self.normalize, self.encoder = source, specaug, normalize, encoder
        self.width = encoder.width

    def forward(
        self, x: Tensor, lengths: Tensor, condition: Callable[[Tensor], Tensor] | None = None
    ) -> Encoded:
        """Encode unit tokens x (B, T), pads any id, or samples (B, S); of `lengths` (B,)."""
        if isinstance(self.source, UnitInput):
            beyond = torch.arange(x.size(1), device=x.device) >= lengths[:, None]
            x = x.masked_fill(beyond, self.source.pad_id)
        x, lengths = self.source.features(x, lengths)
        if self.specaug is not None and self.training:
            x, lengths = self.specaug(x, lengths)
        if self.normalize is not None:
            x, lengths = self.normalize(x, lengths)
        x, lengths = self.source.subsample(x, lengths)
        return self.encoder(x, lengths, condition)

    def take_shortcuts(self) -> None:
        """From now on compute without autograd in fewer operations; a Conformer alone can."""
        from espnet_sld.tasks.quick_conformer import is_covered  # late: it loads all of ESPnet's Conformer

        self.encoder.shortcuts = is_covered(self.encoder.encoder)

    def output_lengths(self, lengths: Tensor) -> Tensor:
        """Frames (B,) that come out for so many tokens or samples; 0 or less: too short to encode."""
        return self.encoder.output_lengths(self.source.output_lengths(lengths))


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of (B, C, T), in place of the Conformer's batch norm."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


def build_encoder(conf: Mapping[str, Any]) -> SpeechEncoder:
    """From the training's options (`input`, `encoder`, `encoder_conf`, …; `unit_vocabulary` with units).

    Raises:
        InputError: an unknown name or option.
    """
    encoder_conf, layers = dict(conf.get("encoder_conf") or {}), list(conf.get("interctc_layers") or [])
    specaug = build_specaug(conf.get("specaug") or "none", conf.get("specaug_conf") or {})
    normalize = None
    if conf["input"] == "units":
        width = encoder_conf.get("output_size", 256)
        source = UnitInput(int(conf["unit_vocabulary"]), width, int(conf.get("unit_subsampling") or 1))
        encoder_conf.setdefault("input_layer", "linear")
    elif conf["input"] == "fbank":
        source = FbankInput(conf.get("frontend_conf") or {})
        normalize = build_normalisation(conf["normalize"], conf.get("normalize_conf") or {}, source.width)
    else:
        raise InputError(f"--input {conf['input']}: must be units or fbank")
    encoder = EspnetEncoder(conf["encoder"], source.width, encoder_conf, layers)
    return SpeechEncoder(source, encoder, specaug, normalize)


def build_recogniser(conf: Mapping[str, Any], decoder_layers: Iterable[int | str] = ()) -> CtcRecogniser:
    """The recogniser of a training's options, with decoders where they are wanted; for inference without.

    Args:
        conf: also `target_vocabulary` (V), `self_conditioning`, `ctc_dropout`, `shared_decoder` and
            `decoder_conf`.
    """
    encoder = build_encoder(conf)
    try:
        return CtcRecogniser(
            encoder,
            encoder.width,
            int(conf["target_vocabulary"]),
            self_conditioning=bool(conf.get("self_conditioning")),
            dropout=float(conf.get("ctc_dropout") or 0.0),
            decoder_layers=decoder_layers,
            shared_decoder=bool(conf.get("shared_decoder")),
            decoder_conf=conf.get("decoder_conf") or {},
        )
    except (TypeError, ValueError, AssertionError) as error:
        raise InputError(
            f"decoder_conf: {str(error).removeprefix('AttentionDecoder.__init__() ')}"
        ) from error


def default_layers(encoder: str, conf: Mapping[str, Any]) -> list[int]:
    """Every third block but the last, the default of K."""
    blocks = (
        conf.get("num_blocks") or inspect.signature(_encoder_class(encoder)).parameters["num_blocks"].default
    )
    return list(range(3, int(blocks), 3))


def _encoder_class(name: str) -> type[nn.Module]:
    if name not in ENCODERS:
        raise InputError(f"--encoder {name}: must be {', '.join(ENCODERS)}")
    module, _, cls = ENCODERS[name].partition(":")
    with contextlib.redirect_stdout(None):  # it prints what it does without
        return getattr(importlib.import_module(module), cls)


def _subsampling_convolutions(embed: nn.Module | None) -> list[tuple[int, int]]:
    """(kernel, stride) over time of the convolutions in ESPnet's input layer."""
    inside = [module for module in getattr(embed, "conv", ()) if isinstance(module, nn.Conv1d | nn.Conv2d)]
    return [(module.kernel_size[0], module.stride[0]) for module in inside]


def _after(convolutions: Sequence[tuple[int, int]], lengths: Tensor) -> Tensor:
    for kernel, stride in convolutions:
        lengths = (lengths - kernel) // stride + 1
    return lengths


def _true_mask(embed: nn.Module, arguments: tuple, output: tuple) -> tuple:
    """The subsampled mask (B, 1, T') from lengths: ESPnet's counts frames that see padding."""
    hidden = output[0][0] if isinstance(output[0], tuple) else output[0]
    lengths = _after(_subsampling_convolutions(embed), arguments[1].sum(-1))  # (B, 1)
    return output[0], torch.arange(hidden.size(1), device=hidden.device) < lengths[..., None]
