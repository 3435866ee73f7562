"""Input time masking (arXiv 2311.04534, Sec. 4.1): input tokens become the mask token; targets stay."""

import hashlib

import torch
from torch import Tensor


def mask_generator(*numbers: int) -> torch.Generator:
    """CPU generator seeded from (seed, step, rank, …): the same mask wherever and whenever it is drawn."""
    digest = hashlib.blake2b(repr(tuple(map(int, numbers))).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest) >> 1)


def mask_inputs(
    tokens: Tensor,
    lengths: Tensor,
    probability: float,
    mask_id: int,
    generator: torch.Generator,
    draws: Tensor | None = None,
) -> Tensor:
    """Replace each real token, whatever its kind, by `mask_id` with `probability`.

    The draw goes over real tokens only, in row order, so it does not depend on the padding.

    Args:
        tokens: (B, L) int64 joint ids, right-padded. lengths: (B,) real tokens of each row.
        generator: a CPU generator, e.g. `mask_generator(seed, step, rank)`.
        draws: where the rows are only some of a batch, the same masks as in the whole: (B + 1,) the place of
            each row's first token among the whole batch's real tokens, then the number of those.

    Returns:
        (B, L) a new tensor; `tokens`, the targets, is unchanged.
    """
    if not 0 <= probability < 1:
        raise ValueError(f"masking probability is at least 0 and below 1, not {probability}")
    if probability == 0:
        return tokens
    real = torch.arange(tokens.size(1)) < lengths.cpu()[:, None]  # (B, L)
    chosen = torch.zeros(tokens.shape, dtype=torch.bool)
    if draws is None:
        chosen[real] = torch.rand(int(real.sum()), generator=generator) < probability
    else:
        places = draws[:-1, None].cpu() + torch.arange(tokens.size(1))  # (B, L)
        chosen[real] = (torch.rand(int(draws[-1]), generator=generator) < probability)[places[real]]
    return tokens.masked_fill(chosen.to(tokens.device, non_blocking=True), mask_id)
