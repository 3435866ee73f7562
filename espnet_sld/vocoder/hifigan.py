"""HiFi-GAN's generator (Kong, Kim, Bae 2020, arXiv 2010.05646): mel spectrum → waveform.

Module names are those of transformers' `SpeechT5HifiGan`; `hifigan_files` reads the formats that are in use.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from espnet_sld.vocoder.mel import MelConf

FINAL_SLOPE = 0.01  # of the last LeakyReLU, in both implementations


@dataclass(frozen=True)
class GeneratorConf:
    """The shape of a generator. `paddings`: (padding, output_padding) of each upsampling layer."""

    bands: int
    channels: int
    kernel: int
    rates: tuple[int, ...]
    kernels: tuple[int, ...]
    paddings: tuple[tuple[int, int], ...]
    block_kernels: tuple[int, ...]
    block_dilations: tuple[tuple[int, ...], ...]
    slope: float = 0.1
    second: bool = True
    bias: bool = True


class Residual(nn.Module):
    """Dilated convolutions, each (with a plain one after it, if `second`) around a skip connection."""

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...], conf: GeneratorConf):
        super().__init__()
        self.slope = conf.slope

        def convolution(dilation: int) -> nn.Conv1d:
            reach = dilation * (kernel - 1) // 2
            return nn.Conv1d(channels, channels, kernel, dilation=dilation, padding=reach, bias=conf.bias)

        self.convs1 = nn.ModuleList(convolution(dilation) for dilation in dilations)
        self.convs2 = nn.ModuleList(convolution(1) for _ in dilations if conf.second)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for i, first in enumerate(self.convs1):
            y = first(F.leaky_relu(x, self.slope))
            if len(self.convs2):
                y = self.convs2[i](F.leaky_relu(y, self.slope))
            x = x + y
        return x


class Generator(nn.Module):
    """Mel (B, T, M) → waveform (B, T·hop)."""

    def __init__(self, conf: GeneratorConf):
        super().__init__()
        self.conf, channels, half = conf, conf.channels, conf.kernel // 2
        self.conv_pre = nn.Conv1d(conf.bands, channels, conf.kernel, padding=half)
        self.upsampler, self.resblocks = nn.ModuleList(), nn.ModuleList()
        for rate, kernel, (padding, extra) in zip(conf.rates, conf.kernels, conf.paddings, strict=True):
            self.upsampler.append(
                nn.ConvTranspose1d(
                    channels, channels // 2, kernel, rate, padding=padding, output_padding=extra
                )
            )
            channels //= 2
            for width, dilations in zip(conf.block_kernels, conf.block_dilations, strict=True):
                self.resblocks.append(Residual(channels, width, dilations, conf))
        self.conv_post = nn.Conv1d(channels, 1, conf.kernel, padding=half)
        self.register_buffer("mean", torch.zeros(conf.bands))
        self.register_buffer("scale", torch.ones(conf.bands))

    def forward(self, mel: torch.Tensor) -> torch.Tensor:
        x = self.conv_pre(((mel - self.mean) / self.scale).transpose(1, 2))
        count = len(self.conf.block_kernels)
        for i, layer in enumerate(self.upsampler):
            x = layer(F.leaky_relu(x, self.conf.slope))
            x = sum(block(x) for block in self.resblocks[i * count : (i + 1) * count]) / count
        return torch.tanh(self.conv_post(F.leaky_relu(x, FINAL_SLOPE))).squeeze(1)


@dataclass(frozen=True)
class HifiGan:
    """A generator with the mel spectrum that it takes; `digest` of its weights, for stamps."""

    generator: Generator
    conf: MelConf
    digest: str

    @torch.inference_mode()
    def __call__(self, mel: np.ndarray, num_samples: int, seed: int = 0) -> np.ndarray:
        """Log-mel (T, M), T = num_frames(num_samples) → samples (num_samples,); nothing is random."""
        return self.generator(torch.from_numpy(mel)[None])[0, :num_samples].numpy()

    def describe(self) -> dict[str, Any]:
        return {"kind": "hifigan", "weights": self.digest, "mel": self.conf.as_dict()}
