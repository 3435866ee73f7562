"""A causal LM's forward for generation alone: Hugging Face's parameters in fewer operations.

What it leaves out of Hugging Face's forward: products for the padding of prompts (on a CPU), the last
layer's queries and feed-forward for all but the last token of a prompt, and small operations around the
products. It holds references to the parameters and no copies, so it costs next to nothing to make.
"""

import functools
import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedModel
from transformers.cache_utils import Cache

from espnet_sld.models.kv_cache import CHUNK
from espnet_sld.models.quick_blocks import Rotation, parts_of, rotate

QUERIES = 64  # that a CPU's attention takes at once


class Group(NamedTuple):
    """Rows first … first + rows − 1 of the batch, `width` tokens each, from `start` of those read at once."""

    start: int
    first: int
    rows: int
    width: int

    def of(self, x: Tensor) -> Tensor:
        """These rows of x (B, …)."""
        return x[self.first : self.first + self.rows]

    def heads(self, x: Tensor, size: int) -> Tensor:
        """(rows, H, width, d), a view of x (N, H·d)."""
        part = x[self.start : self.start + self.rows * self.width]
        return part.view(self.rows, self.width, -1, size).transpose(1, 2)


class QuickDecoder:
    """The forward of a backbone that `quick_blocks.is_covered`, equal to its own up to rounding.

    Args:
        places: positions to expect; more are allowed.
    """

    def __init__(self, backbone: PreTrainedModel, places: int):
        self.embedding, self.positions, self.rotary, self.blocks, self.norm = parts_of(backbone)
        self.table: Rotation = None
        if self.rotary is not None:
            self._extend(places)

    def prefill(self, tokens: Tensor, lengths: Tensor, places: Tensor | None, cache: Cache) -> Tensor:
        """Read right-padded prompts (B, T) of `lengths` (B,) into an empty cache of `RoomyLayer`s.

        Args:
            places: (B, T) bool, False at padding; None where there is none.

        Returns:
            (B, D) hidden state of each last token.
        """
        number, width = tokens.shape
        for block, layer in zip(self.blocks, cache.layers, strict=True):
            layer.open(number, block.key_heads, width, block.size, self.embedding)
        packed = tokens.device.type == "cpu"  # elsewhere few large operations count for more than padding
        counts = lengths.tolist() if packed else [width] * number
        parts = _parts(counts, CHUNK) if packed else [range(number)]
        every = torch.arange(width, device=tokens.device)
        mask = _additive(places, self.embedding)
        last = [self._read(tokens, lengths, every, _groups(counts, rows), cache) for rows in parts]
        # the last tokens of all rows go through the rest of the last layer together
        x, block, layer = torch.cat(last), self.blocks[-1], cache.layers[-1]
        rotation = self._rotation(lengths - 1)
        return self.norm(block.one(x, block.norm(x), rotation, layer.keys, layer.values, mask))

    def _read(
        self, tokens: Tensor, lengths: Tensor, every: Tensor, groups: list[Group], cache: Cache
    ) -> Tensor:
        """Write the groups' keys and values; returns the last layer's input (n, D) at their last tokens.

        Args:
            every: (T,) 0 … T − 1.
        """
        x = _joined([group.of(tokens)[:, : group.width].flatten() for group in groups])
        positions = _joined([every[: group.width].repeat(group.rows) for group in groups])
        x, rotation = self._embed(x, positions), self._rotation(positions)
        for block, layer in zip(self.blocks, cache.layers, strict=True):
            normed, size = block.norm(x), block.size
            keys, values = rotate(block.keys(normed), rotation, size), block.values(normed)
            for group in groups:
                for cached, new in ((group.of(layer.keys), keys), (group.of(layer.values), values)):
                    cached[:, :, : group.width] = group.heads(new, size)
                    if group.width < cached.size(2):
                        cached[:, :, group.width :] = 0.0  # masked, but still multiplied
            if layer is cache.layers[-1]:
                break
            queries, found = rotate(block.queries(normed), rotation, size), []
            for group in groups:
                seen = (group.of(part)[:, :, : group.width] for part in (layer.keys, layer.values))
                one = _causal(group.heads(queries, size), *seen, block.scale)
                found.append(one.transpose(1, 2).reshape(group.rows * group.width, -1))
            x = block.add(x, _joined(found))
        firsts = [torch.arange(group.rows, device=x.device) * group.width + group.start for group in groups]
        return x[_joined(firsts) + lengths[groups[0].first :][: sum(group.rows for group in groups)] - 1]

    def step(self, tokens: Tensor, positions: Tensor, places: Tensor | None, cache: Cache) -> Tensor:
        """Read one more token (B,) at `positions` (B,) in each row; returns its hidden state (B, D).

        Args:
            places: (B, S) bool, S with this token's own, False at padding; None where there is none.
        """
        place = cache.layers[0].get_seq_length()  # no position is larger
        if self.table is not None and place >= len(self.table[0]):
            self._extend(2 * place + 1)
        x, rotation = self._embed(tokens, positions), self._rotation(positions)
        mask = _additive(places, x)
        for block, layer in zip(self.blocks, cache.layers, strict=True):
            normed, shape = block.norm(x), (len(x), block.key_heads, 1, block.size)
            keys, values = rotate(block.keys(normed), rotation, block.size), block.values(normed)
            cached = layer.update(keys.view(shape), values.view(shape))
            x = block.one(x, normed, rotation, *cached, mask)
        return self.norm(x)

    def _embed(self, tokens: Tensor, positions: Tensor) -> Tensor:
        x = F.embedding(tokens, self.embedding)
        return x if self.positions is None else x.add_(F.embedding(positions, self.positions))

    def _extend(self, places: int) -> None:
        """Make the table of rotary factors for so many positions, by the model's own module."""
        positions = torch.arange(places, device=self.embedding.device)
        cos, sin = (part[0] for part in self.rotary(self.embedding, positions[None]))  # (P, d)
        half = sin.size(-1) // 2
        self.table = cos, torch.cat([-sin[:, :half], sin[:, half:]], -1)

    def _rotation(self, positions: Tensor) -> Rotation:
        """Factors (N, 1, d) of cosine and signed sine."""
        return (
            None
            if self.table is None
            else tuple(F.embedding(positions, part)[:, None] for part in self.table)
        )


def _additive(places: Tensor | None, like: Tensor) -> Tensor | None:
    """An attention mask (B, 1, 1, S) from bool `places` (B, S): 0 where True, −∞ elsewhere."""
    if places is None:
        return None
    return like.new_zeros(places.shape).masked_fill_(~places, -torch.inf)[:, None, None]


def _causal(queries: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
    """Attention (B, H, T, d) of T tokens to themselves and those before; keys may have fewer heads.

    A CPU's kernel computes what it then masks, so there some queries at a time see their keys alone.
    """
    length, shared = queries.size(2), queries.size(1) != keys.size(1)
    attend = functools.partial(F.scaled_dot_product_attention, scale=scale, enable_gqa=shared)
    if queries.device.type != "cpu" or length <= QUERIES:
        return attend(queries, keys, values, is_causal=True)
    mask = queries.new_zeros(QUERIES, length + QUERIES)  # the last columns: the queries' own places
    mask[:, -QUERIES:] = queries.new_full((QUERIES, QUERIES), -torch.inf).triu_(1)
    found = []
    for first in range(0, length, QUERIES):
        after = min(first + QUERIES, length)
        some = mask[: after - first, length - first :][:, :after]
        seen = keys[:, :, :after], values[:, :, :after]
        found.append(attend(queries[:, :, first:after], *seen, attn_mask=some))
    return torch.cat(found, 2)


def _parts(counts: Sequence[int], budget: int) -> Iterator[range]:
    """Ranges of rows whose `counts` sum up to at most `budget`; a longer one is alone."""
    first, total = 0, 0
    for row, count in enumerate(counts):
        if row > first and total + count > budget:
            yield range(first, row)
            first, total = row, 0
        total += count
    yield range(first, len(counts))


def _groups(counts: Sequence[int], rows: range) -> list[Group]:
    """Neighbours of the same length together: they share a call."""
    groups, start, first = [], 0, rows.start
    for width, same in itertools.groupby(counts[rows.start : rows.stop]):
        groups.append(Group(start, first, len(list(same)), width))
        start, first = start + groups[-1].rows * width, first + groups[-1].rows
    return groups


def _joined(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)
