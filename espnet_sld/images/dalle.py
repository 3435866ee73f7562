"""DALL-E's discrete VAE (Ramesh et al. 2021, arXiv 2102.12092, A.1) as a quantiser, from safetensors.

The encoder is a convolutional network with bottleneck residual blocks and max pooling: 7 × 7 input layer,
four groups of blocks of n_hid · (1, 2, 4, 8) channels with a pooling by 2 between groups, and a 1 × 1
output layer to K logits; a token is the largest logit. The decoder mirrors it with nearest-neighbour
upsampling. Each residual branch is multiplied by 1 / (number of blocks)². Module names are those of the
published state dicts, so that these load as they are:

    DIR/quantiser.json       {"kind": "dalle_dvae"}; also image_size (256), where images are of another size
    DIR/encoder.safetensors  blocks.input.w, blocks.group_1.block_1.res_path.conv_1.w, …, blocks.output.conv.b
    DIR/decoder.safetensors  the same for the decoder; only `decode` needs it

Sizes are read from the weights. The published files are pickles of whole modules, which are never opened
here: save their `state_dict()` with `safetensors.torch.save_file` where you trust them.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from espnet_sld.errors import InputError
from espnet_sld.images.quantiser import check_images, check_tokens, read_record
from espnet_sld.stamps import file_digest
from espnet_sld.units.devices import find_device

GROUPS = 4
EPSILON = 0.1  # of the logit-Laplace likelihood: pixels 0 … 1 become ε … 1 − ε
IMAGE_SIZE = 256


class Conv(nn.Module):
    """A convolution that keeps the size; parameters `w` (out, in, k, k) and `b` (out,)."""

    def __init__(self, inputs: int, outputs: int, kernel: int):
        super().__init__()
        deviation = (inputs * kernel * kernel) ** -0.5
        self.w = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel) * deviation)
        self.b = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(x, self.w, self.b, padding=self.w.shape[-1] // 2)


class Block(nn.Module):
    """A residual block with a bottleneck of a quarter of its channels.

    Args:
        kernels: of its four convolutions: (3, 3, 3, 1) in the encoder, (1, 3, 3, 3) in the decoder.
        gain: of the residual branch.
    """

    def __init__(self, inputs: int, outputs: int, kernels: tuple[int, int, int, int], gain: float):
        super().__init__()
        self.gain = gain
        widths = (inputs, *[outputs // 4] * 3, outputs)
        self.id_path = Conv(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        self.res_path = nn.Sequential()
        for i, kernel in enumerate(kernels):
            self.res_path.add_module(f"relu_{i + 1}", nn.ReLU())
            self.res_path.add_module(f"conv_{i + 1}", Conv(widths[i], widths[i + 1], kernel))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.id_path(x) + self.gain * self.res_path(x)


def _network(
    first: Conv,
    widths: list[int],
    outputs: int,
    blocks: int,
    kernels: tuple[int, int, int, int],
    resize: Callable[[], nn.Module],
) -> nn.Sequential:
    """Input layer, four groups of `blocks` blocks with `resize` between them, ReLU and output layer."""
    network, width = nn.Sequential(), first.w.shape[0]
    network.add_module("input", first)
    for group, wide in enumerate(widths, 1):
        layers = nn.Sequential()
        for i in range(1, blocks + 1):
            layers.add_module(f"block_{i}", Block(width, wide, kernels, 1 / (GROUPS * blocks) ** 2))
            width = wide
        if group < GROUPS:
            layers.add_module("resize", resize())
        network.add_module(f"group_{group}", layers)
    output = nn.Sequential()
    output.add_module("relu", nn.ReLU())
    output.add_module("conv", Conv(width, outputs, 1))
    network.add_module("output", output)
    return network


class Encoder(nn.Module):
    """Pixels (N, channels, H, W) → logits (N, vocabulary, H/8, W/8)."""

    def __init__(self, hidden: int = 256, vocabulary: int = 8192, blocks: int = 2, channels: int = 3):
        super().__init__()
        widths = [hidden * factor for factor in (1, 2, 4, 8)]
        self.blocks = _network(
            Conv(channels, hidden, 7), widths, vocabulary, blocks, (3, 3, 3, 1), lambda: nn.MaxPool2d(2)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.blocks(x)


class Decoder(nn.Module):
    """One-hot tokens (N, vocabulary, h, w) → (N, 2·channels, 8h, 8w): location and scale of each pixel."""

    def __init__(
        self,
        hidden: int = 256,
        initial: int = 128,
        vocabulary: int = 8192,
        blocks: int = 2,
        channels: int = 3,
    ):
        super().__init__()
        widths = [hidden * factor for factor in (8, 4, 2, 1)]
        self.blocks = _network(
            Conv(vocabulary, initial, 1), widths, 2 * channels, blocks, (1, 3, 3, 3),
            lambda: nn.Upsample(scale_factor=2, mode="nearest"),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.blocks(x)


class DalleDvae:
    """The quantiser. `decoder` None: tokens cannot be turned into images."""

    kind = "dalle_dvae"

    def __init__(
        self,
        encoder: Encoder,
        decoder: Decoder | None = None,
        *,
        image_size: int = IMAGE_SIZE,
        weights: str = "",
    ):
        if image_size < 8 or image_size % 8:
            raise InputError(f"image_size {image_size}: must be a multiple of 8")
        self.encoder = encoder.eval().requires_grad_(False)
        self.decoder = None if decoder is None else decoder.eval().requires_grad_(False)
        self.codebook_size = encoder.blocks.output.conv.w.shape[0]
        self.image_shape = (image_size, image_size, encoder.blocks.input.w.shape[1])
        self.grid = (image_size // 8, image_size // 8)
        self.weights = weights

    @property
    def device(self) -> torch.device:
        return self.encoder.blocks.input.w.device

    @torch.inference_mode()
    def encode(self, images: np.ndarray) -> np.ndarray:
        """(N, H, W, C) → (N, rows·columns); see `VectorQuantiser`."""
        check_images(images, self.image_shape)
        x = torch.from_numpy(images).to(self.device).permute(0, 3, 1, 2)
        logits = [self.encoder((1 - 2 * EPSILON) * image[None] + EPSILON) for image in x]  # (1, K, h, w) each
        tokens = [one.argmax(dim=1).flatten(1) for one in logits]
        return (
            torch.cat(tokens).cpu().numpy()
            if tokens
            else np.zeros((0, self.grid[0] * self.grid[1]), np.int64)
        )

    @torch.inference_mode()
    def decode(self, tokens: np.ndarray) -> np.ndarray:
        """(N, rows·columns) → (N, H, W, C): the location of each pixel's distribution."""
        check_tokens(tokens, self.codebook_size, self.grid)
        if self.decoder is None:
            raise InputError(
                "this dVAE has no decoder.safetensors; add it to the directory to reconstruct images"
            )
        images = []
        for one in torch.from_numpy(tokens).to(self.device):
            hot = F.one_hot(one.view(1, *self.grid), self.codebook_size).permute(0, 3, 1, 2).float()
            location = torch.sigmoid(self.decoder(hot)[:, : self.image_shape[2]])
            images.append(((location - EPSILON) / (1 - 2 * EPSILON)).clamp(0, 1))
        pixels = torch.cat(images) if images else torch.zeros(0, *self.image_shape).permute(0, 3, 1, 2)
        return pixels.permute(0, 2, 3, 1).cpu().numpy()

    def describe(self) -> dict[str, Any]:
        return {"kind": self.kind, "image_shape": list(self.image_shape), "weights": self.weights}

    @classmethod
    def load(cls, directory: str | os.PathLike, device: str = "cpu") -> "DalleDvae":
        """Read the directory that the module's text describes.

        Raises:
            InputError: weights are missing, damaged, or not of that architecture.
        """
        place = find_device(device)
        record, path = read_record(directory), Path(directory) / "encoder.safetensors"
        state = _read(path)
        try:
            first, last = state["blocks.input.w"], state["blocks.output.conv.w"]
            encoder = Encoder(first.shape[0], last.shape[0], _blocks(state), first.shape[1])
            encoder.load_state_dict(state)
        except (KeyError, RuntimeError, IndexError) as error:
            raise InputError(f"{path}: not the state dict of a dVAE encoder ({error})") from None
        decoder, other = None, Path(directory) / "decoder.safetensors"
        if other.is_file():
            state = _read(other)
            try:
                start, end = state["blocks.input.w"], state["blocks.output.conv.w"]
                decoder = Decoder(
                    end.shape[1], start.shape[0], start.shape[1], _blocks(state), end.shape[0] // 2
                )
                decoder.load_state_dict(state)
            except (KeyError, RuntimeError, IndexError) as error:
                raise InputError(f"{other}: not the state dict of a dVAE decoder ({error})") from None
            if start.shape[1] != last.shape[0]:
                raise InputError(f"{other}: has {start.shape[1]} tokens, the encoder {last.shape[0]}")
            decoder = decoder.to(place)
        size = int(record.get("image_size", IMAGE_SIZE))
        return cls(encoder.to(place), decoder, image_size=size, weights=file_digest(path))


def _blocks(state: dict[str, torch.Tensor]) -> int:
    """Blocks of a group."""
    return len({name.split(".")[2] for name in state if name.startswith("blocks.group_1.block_")})


def _read(path: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; save the published network's state_dict() there") from None
    except SafetensorError as error:
        raise InputError(f"{path}: not a safetensors file ({error}); save the state_dict() again") from None
