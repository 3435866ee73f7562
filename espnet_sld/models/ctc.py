"""A parallel CTC recogniser with intermediate CTC, and attention decoders that live in training alone.

arXiv 2401.11700 (interAED-KD), on intermediate CTC (Lee and Watanabe 2021) and self-conditioned CTC (Nozaki
and Komatsu 2021).
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

LAST = "last"  # the decoder at the encoder's output, beside those at "layer<k>"
SHARED = "shared"


class Encoded(NamedTuple):
    """What an encoder gives.

    Attributes:
        final: (B, T, D) last hidden states, after subsampling. lengths: (B,) real frames.
        intermediates: 1-based layer → (B, T, D), as fit for the CTC head (normalised where `final` is).
    """

    final: Tensor
    lengths: Tensor
    intermediates: dict[int, Tensor]


class Encoder(Protocol):
    """What `CtcRecogniser` asks of its encoder, an `nn.Module`."""

    def __call__(self, x: Tensor, lengths: Tensor, condition: Callable[[Tensor], Tensor] | None) -> Encoded:
        """Encode x, (B, T', …), of `lengths` (B,).

        Self-conditioning: where `condition` is given, `condition(intermediate)` (B, T, D) is added to what
        goes on from each intermediate layer.
        """
        ...


class CtcOutputs(NamedTuple):
    """What a training step gives; the names are those of the distillation criterion's arguments.

    Attributes:
        lengths: (B,) frames. ctc: (B, T, V) log-probabilities at the last layer; ctc_inter: layer → the same.
        aed: (B, L+1, V) logits of the decoder at the last layer, None without one.
        aed_inter: layer → the same.
    """

    lengths: Tensor
    ctc: Tensor
    ctc_inter: dict[int, Tensor]
    aed: Tensor | None
    aed_inter: dict[int, Tensor]


class CtcRecogniser(nn.Module):
    """Encoder and one CTC head for all layers; decoders for training.

    The inference part (encoder, head, and conditioning if asked for) is the same whatever decoders there are,
    and is initialised before them: with one seed, all ablation rows start from the same values.

    Args:
        encoder: see `Encoder`. width: its D. vocabulary_size: V; blank 0, `<sos/eos>` V−1.
        self_conditioning: feed each intermediate layer's CTC posteriors back, through one linear layer.
        dropout: before the CTC head, in training.
        decoder_layers: where attention decoders are attached: 1-based intermediate layers and "last".
        shared_decoder: one decoder for all of them.
        decoder_conf: see `AttentionDecoder`; unknown keys are errors.
    """

    def __init__(
        self,
        encoder: nn.Module,
        width: int,
        vocabulary_size: int,
        *,
        self_conditioning: bool = False,
        dropout: float = 0.0,
        decoder_layers: Iterable[int | str] = (),
        shared_decoder: bool = False,
        decoder_conf: Mapping[str, Any] | None = None,
    ):
        super().__init__()
        self.encoder = encoder
        self.vocabulary_size = vocabulary_size
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, vocabulary_size)
        self.conditioning = nn.Linear(vocabulary_size, width) if self_conditioning else None
        self.decoder_layers = tuple(dict.fromkeys(decoder_layers))
        wrong = [at for at in self.decoder_layers if at != LAST and not isinstance(at, int)]
        if wrong:
            raise ValueError(f"decoder_layers are layer numbers and '{LAST}', not {wrong[0]!r}")
        names = [_name(at) for at in self.decoder_layers]
        if shared_decoder and names:
            names = [SHARED]
        self.decoders: nn.ModuleDict | None = nn.ModuleDict(
            {name: AttentionDecoder(width, vocabulary_size, **dict(decoder_conf or {})) for name in names}
        )

    def condition(self, hidden: Tensor) -> Tensor:
        """What self-conditioning adds after an intermediate layer: Linear(softmax(CTC)), (B, T, D)."""
        assert self.conditioning is not None
        return self.conditioning(self.head(hidden).softmax(-1))

    def encode(self, x: Tensor, lengths: Tensor) -> Encoded:
        """The encoder's hidden states."""
        return self.encoder(x, lengths, None if self.conditioning is None else self.condition)

    def logits(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """CTC logits (B, T, V) of the last layer, and real frames (B,): all that inference needs."""
        encoded = self.encode(x, lengths)
        return self.head(encoded.final), encoded.lengths

    def forward(
        self,
        x: Tensor,
        lengths: Tensor,
        targets: Tensor | None = None,
        target_lengths: Tensor | None = None,
        *,
        intermediate: bool = True,
    ) -> CtcOutputs:
        """Log-probabilities of the CTC at every layer, and the decoders' logits, teacher-forced.

        Args:
            x, lengths: the encoder's input.
            targets: (B, L) token ids, anything at padding; None = no decoders. target_lengths: (B,).
            intermediate: also the intermediate layers' CTC.
        """
        encoded = self.encode(x, lengths)
        layers = encoded.intermediates if intermediate else {}
        ctc_inter = {layer: self._log_probs(hidden) for layer, hidden in layers.items()}
        aed, aed_inter = None, {}
        if targets is not None and self.decoder_layers:
            assert target_lengths is not None
            inputs = decoder_inputs(targets, target_lengths, self.vocabulary_size - 1)
            for at in self.decoder_layers:
                if at != LAST and at not in encoded.intermediates:
                    known = ", ".join(map(str, encoded.intermediates)) or "none"
                    raise ValueError(f"a decoder is attached to layer {at}; the encoder gives {known}")
                hidden = encoded.final if at == LAST else encoded.intermediates[at]
                logits = self._decoder(at)(inputs, hidden, encoded.lengths)
                if at == LAST:
                    aed = logits
                else:
                    aed_inter[at] = logits
        return CtcOutputs(encoded.lengths, self._log_probs(encoded.final), ctc_inter, aed, aed_inter)

    def inference_state_dict(self) -> dict[str, Tensor]:
        """Parameters and buffers without the decoders: what is packed."""
        return {name: value for name, value in self.state_dict().items() if not name.startswith("decoders.")}

    def load_inference_state_dict(self, values: Mapping[str, Tensor]) -> None:
        """Strict load of `inference_state_dict`; decoders, if there are, keep their values."""
        missing, unexpected = self.load_state_dict(dict(values), strict=False)
        missing = [name for name in missing if not name.startswith("decoders.")]
        if missing or unexpected:
            raise ValueError(f"missing {sorted(missing)[:3]}, unexpected {sorted(unexpected)[:3]}")

    def strip(self) -> "CtcRecogniser":
        """Drop the decoders, in place, and let the encoder take its shortcuts: the model that infers."""
        self.decoders, self.decoder_layers = None, ()
        if hasattr(self.encoder, "take_shortcuts"):
            self.encoder.take_shortcuts()
        return self

    def num_inference_parameters(self) -> int:
        """Parameters without the decoders'."""
        return sum(p.numel() for name, p in self.named_parameters() if not name.startswith("decoders."))

    def _decoder(self, at: int | str) -> nn.Module:
        assert self.decoders is not None
        return self.decoders[SHARED if SHARED in self.decoders else _name(at)]

    def _log_probs(self, hidden: Tensor) -> Tensor:
        logits = self.head(self.dropout(hidden))
        return (logits if logits.dtype == torch.float64 else logits.float()).log_softmax(-1)


class AttentionDecoder(nn.Module):
    """A small Transformer decoder over the encoder's frames, for training.

    Args:
        width: D of the frames, and its own. vocabulary_size: V.
        num_blocks, attention_heads, linear_units, dropout_rate: ESPnet's names of its size.
    """

    def __init__(
        self,
        width: int,
        vocabulary_size: int,
        *,
        num_blocks: int = 2,
        attention_heads: int = 4,
        linear_units: int = 1024,
        dropout_rate: float = 0.1,
    ):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_size, width)
        nn.init.normal_(self.embedding.weight, std=width**-0.5)
        self.dropout = nn.Dropout(dropout_rate)
        block = nn.TransformerDecoderLayer(
            width, attention_heads, linear_units, dropout_rate, batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerDecoder(block, num_blocks, nn.LayerNorm(width))
        for parameter in self.blocks.parameters():
            if parameter.dim() > 1:  # the blocks are copies of one: draw each anew
                nn.init.xavier_uniform_(parameter)
        self.output = nn.Linear(width, vocabulary_size)

    def forward(self, inputs: Tensor, frames: Tensor, lengths: Tensor) -> Tensor:
        """Logits (B, U, V) of the token after each of `inputs` (B, U), from frames (B, T, D) of `lengths`.

        Inputs are right-padded: with causal attention nothing real sees the pads.
        """
        size, width = inputs.size(1), frames.size(-1)
        embedded = self.embedding(inputs) * math.sqrt(width)
        embedded = self.dropout(embedded + sinusoids(size, width, embedded))
        causal = torch.ones(size, size, dtype=torch.bool, device=inputs.device).triu(1)  # True = hidden
        padding = torch.arange(frames.size(1), device=frames.device) >= lengths.to(frames.device)[:, None]
        hidden = self.blocks(
            embedded, frames, tgt_mask=causal, memory_key_padding_mask=padding, tgt_is_causal=True
        )
        return self.output(hidden)


def decoder_inputs(targets: Tensor, target_lengths: Tensor, eos: int) -> Tensor:
    """`<sos>` y₁ … y_L (B, L+1), `<sos>` and the padding being `<eos>`."""
    real = torch.arange(targets.size(1), device=targets.device) < target_lengths[:, None]
    start = targets.new_full((len(targets), 1), eos)
    return torch.cat([start, torch.where(real, targets, eos)], 1).long()


def sinusoids(length: int, width: int, like: Tensor) -> Tensor:
    """Positions (length, width) of Vaswani et al. 2017, sines then cosines."""
    half = (width + 1) // 2
    places = torch.arange(length, device=like.device, dtype=torch.float32)[:, None]
    rates = torch.exp(torch.arange(half, device=like.device) * (-math.log(10000.0) / half))
    angles = places * rates
    return torch.cat([angles.sin(), angles.cos()], 1)[:, :width].to(like.dtype)


def _name(at: int | str) -> str:
    return LAST if at == LAST else f"layer{at}"
