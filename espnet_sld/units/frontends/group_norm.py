"""Group norm over time that an utterance's padding does not enter."""

import torch


class UtteranceGroupNorm(torch.nn.Module):
    """A `GroupNorm` applied to each utterance's own frames; frames of padding become zero.

    "Base" models normalise the first convolution's output over time; padding would enter mean and variance
    of the whole utterance. Here the library's own kernel sees the slice that it would see were the utterance
    alone, so the result is the same to the last bit.

    Args:
        norm: the module that it stands in for.

    Attributes:
        lengths: frames of each utterance of the coming batch; set before every forward.
    """

    def __init__(self, norm: torch.nn.GroupNorm):
        super().__init__()
        self.norm = norm
        self.lengths: list[int] = []

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """(B, C, T) → (B, C, T)."""
        result = torch.zeros_like(frames)
        for index, length in enumerate(self.lengths):
            one = slice(index, index + 1)
            result[one, :, :length] = self.norm(frames[one, :, :length].contiguous())
        return result
