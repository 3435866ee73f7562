"""FLOPs and parameters counted from shapes (one multiply-add = 2 FLOPs).

Norms, activations, softmax and biases are left out of the FLOPs, as usual: they are bound by memory. Both
counts are checked against torch's own counter on small models of the same layout.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class SpeechEncoder:
    """A transformer over raw 16 kHz audio in wav2vec 2.0's layout; the defaults are WavLM-large's.

    Attributes:
        gates: outputs per head of WavLM's gated relative position bias (arXiv 2110.13900); 0: HuBERT.
        buckets: of the relative positions.
    """

    layers: int = 24
    hidden: int = 1024
    inner: int = 4096
    heads: int = 16
    channels: int = 512
    kernels: tuple[int, ...] = (10, 3, 3, 3, 3, 2, 2)
    strides: tuple[int, ...] = (5, 2, 2, 2, 2, 2, 2)
    position_kernel: int = 128
    position_groups: int = 16
    gates: int = 8
    buckets: int = 320

    def conv_lengths(self, samples: int) -> list[int]:
        """Frames after each convolution; the last is the number of feature frames."""
        lengths = []
        for kernel, stride in zip(self.kernels, self.strides, strict=True):
            samples = (samples - kernel) // stride + 1
            lengths.append(samples)
        return lengths

    def flops(self, samples: int, layers: int | None = None) -> int:
        """FLOPs of one utterance of `samples` samples through the first `layers` blocks (None: all)."""
        layers = self.layers if layers is None else layers
        lengths, before = self.conv_lengths(samples), 1
        total = 0
        for length, kernel in zip(lengths, self.kernels, strict=True):
            total += 2 * length * kernel * before * self.channels
            before = self.channels
        frames = lengths[-1]
        total += 2 * frames * self.channels * self.hidden  # projection
        # the positional convolution pads both sides: an even kernel gives one frame more, which is cut
        positions = frames + (self.position_kernel + 1) % 2
        total += 2 * positions * self.position_kernel * self.hidden * self.hidden // self.position_groups
        linear = 4 * self.hidden**2 + 2 * self.hidden * self.inner + self.hidden * self.gates
        attention = 2 * frames * self.hidden  # scores and values, every frame with every other
        return total + 2 * layers * frames * (linear + attention)

    def parameters(self, layers: int | None = None) -> int:
        """Weights of the model cut to its first `layers` blocks, the final norm included."""
        layers = self.layers if layers is None else layers
        total, before = 0, 1
        for kernel in self.kernels:
            total += kernel * before * self.channels + 2 * self.channels  # with a layer norm each
            before = self.channels
        total += 2 * self.channels + self.channels * self.hidden + self.hidden
        # weight norm: direction, one magnitude a tap; bias
        taps = self.position_kernel
        total += self.hidden * self.hidden // self.position_groups * taps + taps + self.hidden
        block = 4 * (self.hidden**2 + self.hidden) + 2 * self.hidden * self.inner + self.inner + self.hidden
        block += 4 * self.hidden  # two layer norms
        if self.gates:
            block += self.hidden // self.heads * self.gates + self.gates + self.heads
            total += self.buckets * self.heads
        return total + layers * block + 2 * self.hidden


@dataclass(frozen=True)
class LanguageModel:
    """A GPT-2-type causal language model, output tied to input; the defaults are GPT-2 medium's.

    Attributes:
        vocabulary: rows of the embedding; GPT-2's 50 257 by default, to which a recipe adds its own.
    """

    layers: int = 24
    hidden: int = 1024
    positions: int = 1024
    vocabulary: int = 50_257

    def parameters(self) -> int:
        """All weights, the tied output once."""
        block = 12 * self.hidden**2 + 13 * self.hidden
        rows = self.vocabulary + self.positions
        return rows * self.hidden + self.layers * block + 2 * self.hidden

    def forward(self, lengths: Iterable[int], targets: int) -> int:
        """FLOPs of sequences of `lengths` tokens with `targets` output projections, attention causal."""
        lengths = list(lengths)
        linear = 12 * self.layers * self.hidden**2 * sum(lengths)
        attention = self.layers * self.hidden * sum(length * length for length in lengths)
        return 2 * (linear + attention + self.hidden * self.vocabulary * targets)

    def training(self, lengths: Iterable[int], targets: int) -> int:
        """FLOPs of forward and backward (twice the forward)."""
        return 3 * self.forward(lengths, targets)


def lloyd_flops(frames: int, clusters: int, dimension: int) -> int:
    """One pass of Lloyd's algorithm: distances to all centroids, and sums by cluster as a product."""
    return 2 * 2 * frames * clusters * dimension
