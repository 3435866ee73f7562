"""Units → log-mel frames, and de-duplicated units → their durations: two small convolutional networks."""

import torch
from torch import nn
from torch.nn import functional as F

KERNEL = 5
PLACES = 3  # features of where in its unit a frame lies


class Block(nn.Module):
    """Residual convolution over time: (B, T, C) → (B, T, C); positions where `keep` is 0 stay 0."""

    def __init__(self, width: int):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.mix = nn.Conv1d(width, width, KERNEL, padding=KERNEL // 2)
        self.out = nn.Linear(width, width)

    def forward(self, x: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
        y = self.mix((self.norm(x) * keep).transpose(1, 2)).transpose(1, 2)
        return (x + self.out(F.gelu(y))) * keep


class UnitToMel(nn.Module):
    """Regresses mel frames from units in their context.

    What is learnt is the difference to the units' typical spectra (`typical`, closed form: see
    `train.set_statistics`), interpolated between the middles of neighbouring units; it begins at zero.

    Args:
        num_units: K; id K is padding.
        bands: M.
        speakers: voices that can be asked for; one more, index `speakers`, stands for none in particular.
    """

    def __init__(
        self, num_units: int, bands: int, speakers: int, width: int = 128, blocks: tuple[int, int] = (2, 3)
    ):
        super().__init__()
        self.num_units, self.speakers = num_units, speakers
        self.unit = nn.Embedding(num_units + 1, width, padding_idx=num_units)
        self.voice = nn.Embedding(speakers + 1, width)
        self.place = nn.Linear(PLACES, width)
        self.of_units = nn.ModuleList(Block(width) for _ in range(blocks[0]))
        self.of_frames = nn.ModuleList(Block(width) for _ in range(blocks[1]))
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, bands)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        self.register_buffer("typical", torch.zeros(num_units + 1, bands))
        self.register_buffer("mean", torch.zeros(bands))
        self.register_buffer("scale", torch.ones(()))

    def forward(
        self, units: torch.Tensor, index: torch.Tensor, place: torch.Tensor, voice: torch.Tensor
    ) -> torch.Tensor:
        """Normalised mel: (log-mel − mean) / scale.

        Args:
            units: (B, U) int64, padded with K.
            index: (B, T) int64, the unit of each frame; −1 is padding.
            place: (B, T) where in its unit, 0 … 1.
            voice: (B,) int64.

        Returns:
            (B, T, M); padding is not meaningful.
        """
        keep_units = (units < self.num_units).unsqueeze(-1).to(place.dtype)
        voice = self.voice(voice).unsqueeze(1)
        x = (self.unit(units) + voice) * keep_units
        for block in self.of_units:
            x = block(x, keep_units)
        keep = (index >= 0).unsqueeze(-1).to(place.dtype)
        x = x.gather(1, index.clamp(min=0).unsqueeze(-1).expand(-1, -1, x.shape[-1]))
        places = torch.stack([place, torch.sin(torch.pi * place), torch.cos(torch.pi * place)], dim=-1)
        x = (x + self.place(places) + voice) * keep
        for block in self.of_frames:
            x = block(x, keep)
        return self.out(self.norm(x)) + self._typical(units, index.clamp(min=0), place)

    def _typical(self, units: torch.Tensor, index: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
        """Typical spectra (B, T, M), between those of a frame's unit and of the neighbour on its side."""
        last = (units < self.num_units).sum(dim=1, keepdim=True) - 1
        beside = index + torch.where(place < 0.5, -1, 1)
        beside = torch.minimum(beside.clamp(min=0), last.clamp(min=0))
        share = (place - 0.5).abs().unsqueeze(-1)
        own, other = self.typical[units.gather(1, index)], self.typical[units.gather(1, beside)]
        return (1 - share) * own + share * other


class UnitDurations(nn.Module):
    """Expected duration of each unit of a de-duplicated sequence, in frames: 1 + exp(o).

    Trained by the Poisson likelihood of (duration − 1): at its optimum the expected durations of the
    training data sum to the observed ones, which a regression of log-durations does not give.
    """

    def __init__(self, num_units: int, width: int = 64, blocks: int = 2):
        super().__init__()
        self.num_units = num_units
        self.unit = nn.Embedding(num_units + 1, width, padding_idx=num_units)
        self.blocks = nn.ModuleList(Block(width) for _ in range(blocks))
        self.out = nn.Linear(width, 1)

    def log_excess(self, units: torch.Tensor) -> torch.Tensor:
        """Units (B, R), padded with K → log of the expected (duration − 1), (B, R)."""
        keep = (units < self.num_units).unsqueeze(-1).to(self.out.weight.dtype)
        x = self.unit(units) * keep
        for block in self.blocks:
            x = block(x, keep)
        return self.out(x).squeeze(-1).clamp(-10, 7)

    def loss(self, units: torch.Tensor, durations: torch.Tensor) -> torch.Tensor:
        """Mean negative log-likelihood a unit, without its constant; durations (B, R) int64, 0 in padding."""
        keep = units < self.num_units
        log_mean, excess = self.log_excess(units), (durations - 1).clamp(min=0)
        return F.poisson_nll_loss(log_mean[keep], excess[keep].to(log_mean.dtype), log_input=True)

    @torch.inference_mode()
    def durations(self, units: torch.Tensor) -> torch.Tensor:
        """Whole durations (R,) ≥ 1 of one sequence (R,), whose sum is the expected total, rounded.

        Rounding goes along the running sum, so that its errors do not add up.
        """
        expected = 1 + self.log_excess(units[None])[0].double().exp()
        return whole_durations(expected)


def whole_durations(expected: torch.Tensor) -> torch.Tensor:
    """Numbers ≥ 1 (R,) → whole numbers ≥ 1 whose running sums are the rounded running sums."""
    ends = torch.floor(expected.double().cumsum(0) + 0.5).long()
    return torch.diff(ends, prepend=ends.new_zeros(1))
