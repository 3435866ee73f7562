"""A Conformer's forward for inference alone: ESPnet's parameters in fewer operations."""

from typing import NamedTuple

import torch
from espnet.nets.pytorch_backend.conformer.convolution import ConvolutionModule
from espnet.nets.pytorch_backend.conformer.encoder_layer import EncoderLayer
from espnet.nets.pytorch_backend.conformer.swish import Swish
from espnet.nets.pytorch_backend.transformer.attention import RelPositionMultiHeadedAttention
from espnet.nets.pytorch_backend.transformer.positionwise_feed_forward import PositionwiseFeedForward
from espnet2.asr.encoder.conformer_encoder import ConformerEncoder
from torch import Tensor, nn
from torch.nn import functional as F

from espnet_sld.models.quick_layers import Unary, affine, layer_norm, linear


def is_covered(encoder: nn.Module) -> bool:
    """Whether `QuickConformer` knows all parts: relative positions, linear feed-forwards, norms before."""
    return type(encoder) is ConformerEncoder and all(map(_covered, encoder.encoders))


def _covered(block: nn.Module) -> bool:
    if type(block) is not EncoderLayer or not block.normalize_before or block.concat_after:
        return False
    attention = block.self_attn
    if type(attention) is not RelPositionMultiHeadedAttention or attention.zero_triu:
        return False
    feeds = [module for module in (block.feed_forward, block.feed_forward_macaron) if module is not None]
    norms = (attention.q_norm, attention.k_norm)
    return (
        all(type(module) is PositionwiseFeedForward for module in feeds)
        and all(isinstance(module, nn.Identity) for module in norms)
        and (block.conv_module is None or type(block.conv_module) is ConvolutionModule)
    )


class Feed(NamedTuple):
    """A feed-forward part: norm, two linear layers, the activation between them, a factor."""

    norm: Unary
    first: Unary
    activation: Unary
    second: Unary
    scale: float

    def __call__(self, x: Tensor) -> Tensor:
        """x (B, T, D) with what this part adds."""
        return torch.add(x, self.second(self.activation(self.first(self.norm(x)))), alpha=self.scale)


class Attention:
    """Self-attention with relative positions (Dai et al. 2019, appendix B), as ESPnet's latest one.

    Queries with either bias, keys and values come from one product, already scaled by 1/√d.
    """

    def __init__(self, block: EncoderLayer):
        module = block.self_attn
        self.heads, self.norm = module.h, layer_norm(block.norm_mha)
        scale = module.d_k**-0.5
        q, k, v = module.linear_q, module.linear_k, module.linear_v
        weight = torch.cat([q.weight * scale, q.weight * scale, k.weight, v.weight])  # (4D, D)
        biased = [(q.bias + bias.flatten()) * scale for bias in (module.pos_bias_u, module.pos_bias_v)]
        self.project = affine(weight, torch.cat([*biased, k.bias, v.bias]))
        self.out = linear(module.linear_out)

    def __call__(self, x: Tensor, places: Tensor, hidden: Tensor | None) -> Tensor:
        """x (B, T, D) with what attention adds.

        Args:
            places: (H, d, 2T−1) projected positions, from T−1 to −(T−1). hidden: (B, T), True at padding.
        """
        rows, steps, width = x.shape
        parts = self.project(self.norm(x)).view(rows, steps, 4, self.heads, -1)
        content, position, keys, values = parts.permute(2, 0, 3, 1, 4).unbind()  # (B, H, T, d) each
        position = position.permute(1, 0, 2, 3).flatten(1, 2)  # (H, B·T, d), a view
        by_place = torch.bmm(position, places)  # (H, B·T, 2T−1)
        # row i wants the places from i to i−(T−1): the relative shift, as a view
        one = steps * (2 * steps - 1)
        shape, strides = (rows, self.heads, steps, steps), (one, rows * one, 2 * steps - 2, 1)
        shifted = by_place.as_strided(shape, strides, steps - 1)
        scores = torch.matmul(content, keys.transpose(-2, -1)).add_(shifted)
        if hidden is not None:
            scores.masked_fill_(hidden[:, None, None], torch.finfo(scores.dtype).min)
        found = torch.matmul(scores.softmax(-1), values)
        return x + self.out(found.transpose(1, 2).reshape(rows, steps, width))


class Convolution:
    """The convolution module on (B, T, D): pointwise ones are linear, the depthwise one is channels-last."""

    def __init__(self, block: EncoderLayer):
        module = block.conv_module
        self.norm, self.inner_norm = layer_norm(block.norm_conv), _channel_norm(module.norm)
        self.first, self.second = (
            affine(layer.weight[..., 0].contiguous(), layer.bias)
            for layer in (module.pointwise_conv1, module.pointwise_conv2)
        )
        depthwise = module.depthwise_conv
        self.kernel, self.bias = depthwise.weight[:, :, None].contiguous(), depthwise.bias  # (D, 1, 1, k)
        self.padding = (0, depthwise.padding[0])
        self.activation = _activation(module.activation)

    def __call__(self, x: Tensor, hidden: Tensor | None) -> Tensor:
        """x (B, T, D) with what this part adds; `hidden` (B, T) is True at padding."""
        inner = F.glu(self.first(self.norm(x)), -1)
        if hidden is not None:
            inner = inner.masked_fill(hidden[..., None], 0.0)
        image = inner[:, None].permute(0, 3, 1, 2)  # (B, D, 1, T), the channels last in memory
        image = F.conv2d(image, self.kernel, self.bias, padding=self.padding, groups=image.size(1))
        inner = self.inner_norm(image.permute(0, 2, 3, 1)[:, 0])
        return x + self.second(self.activation(inner))


class QuickBlock:
    """One block, of ESPnet's `EncoderLayer`."""

    def __init__(self, block: EncoderLayer):
        self.macaron = None
        if block.feed_forward_macaron is not None:
            self.macaron = _feed(block.norm_ff_macaron, block.feed_forward_macaron, block.ff_scale)
        self.attention = Attention(block)
        self.convolution = Convolution(block) if block.conv_module is not None else None
        self.feed = _feed(block.norm_ff, block.feed_forward, block.ff_scale)
        self.finish = layer_norm(block.norm_final) if block.conv_module is not None else None

    def __call__(self, x: Tensor, places: Tensor, hidden: Tensor | None) -> Tensor:
        """The block's output (B, T, D); arguments as `Attention`'s."""
        if self.macaron is not None:
            x = self.macaron(x)
        x = self.attention(x, places, hidden)
        if self.convolution is not None:
            x = self.convolution(x, hidden)
        x = self.feed(x)
        return x if self.finish is None else self.finish(x)


class QuickConformer:
    """The blocks of a `ConformerEncoder` that `is_covered`, equal to ESPnet's forward up to rounding.

    It holds copies of some parameters and references to others: make a new one when they change.
    """

    @torch.no_grad()
    def __init__(self, encoder: ConformerEncoder):
        blocks = list(encoder.encoders)
        self.blocks = [QuickBlock(block) for block in blocks]
        self.heads = blocks[0].self_attn.h
        self.positions = torch.cat([block.self_attn.linear_pos.weight for block in blocks])  # (N·D, D)
        self.after_norm = layer_norm(encoder.after_norm)

    def __call__(
        self,
        x: Tensor,
        positions: Tensor,
        hidden: Tensor | None,
        layers: tuple[int, ...],
        condition: Unary | None,
    ) -> tuple[Tensor, dict[int, Tensor]]:
        """Normalised output (B, T, D), and that of the 1-based intermediate `layers`.

        Args:
            x: (B, T, D) of the input layer. positions: (1, 2T−1, D), ESPnet's relative encodings.
            hidden: (B, T), True at padding; None where nothing is padded.
            condition: self-conditioning, see `models.ctc.Encoder`.
        """
        places = F.linear(positions[0], self.positions)  # (2T−1, N·D)
        places = places.view(len(places), len(self.blocks), self.heads, -1).permute(1, 2, 3, 0)
        intermediates = {}
        for number, (block, place) in enumerate(zip(self.blocks, places, strict=True), 1):
            x = block(x, place, hidden)
            if number in layers:
                intermediates[number] = self.after_norm(x)
                if condition is not None:
                    x = x + condition(intermediates[number])
        return self.after_norm(x), intermediates


def _channel_norm(module: nn.Module) -> Unary:
    """Over the last dimension: a layer norm, or ESPnet's batch norm with its running statistics."""
    if isinstance(module, nn.LayerNorm):
        return layer_norm(module)
    return lambda x: module(x.transpose(1, 2)).transpose(1, 2)


def _activation(module: nn.Module) -> Unary:
    return F.silu if type(module) is Swish else module


def _feed(norm: nn.LayerNorm, module: PositionwiseFeedForward, scale: float) -> Feed:
    first, second = linear(module.w_1), linear(module.w_2)
    return Feed(layer_norm(norm), first, _activation(module.activation), second, scale)
