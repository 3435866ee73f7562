"""Keys and values of a batch in buffers with room: a step writes one place, and no row is copied to stay.

Hugging Face's dynamic cache makes itself anew at every step and whenever rows leave. Here the buffers are
made once, for the rows and places that a search can need; what leaves makes way for the last rows.
"""

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedConfig
from transformers.cache_utils import Cache, DynamicLayer

CHUNK = 1024  # tokens of prompts, with what padding is read, that a CPU reads at once: more leave its caches


class RoomyLayer(DynamicLayer):
    """One attention layer's keys and values, (B, H, S, D) views of buffers for more rows and places.

    Args:
        rows, places: what the buffers are made for; they grow where more is asked of them.
    """

    def __init__(self, rows: int, places: int):
        self._buffers: tuple[Tensor, Tensor] | None = None
        self._rows, self._length = 0, 0
        self._size = (rows, places)
        super().__init__()

    def _view(self, number: int) -> Tensor | None:
        return None if self._buffers is None else self._buffers[number][: self._rows, :, : self._length]

    @property
    def keys(self) -> Tensor | None:
        """(B, H, S, D), a view."""
        return self._view(0)

    @keys.setter
    def keys(self, value: None) -> None:
        self._empty(value)

    @property
    def values(self) -> Tensor | None:
        """(B, H, S, D), a view."""
        return self._view(1)

    @values.setter
    def values(self, value: None) -> None:
        self._empty(value)

    def _empty(self, value: None) -> None:
        if value is not None:
            raise NotImplementedError("a roomy layer is filled by update() alone")
        self._buffers, self._rows, self._length = None, 0, 0

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Buffers for tensors like these, not set: no place is seen before it is written."""
        self.dtype, self.device = key_states.dtype, key_states.device
        rows = max(self._size[0], len(key_states))
        self._buffers = tuple(
            x.new_empty(rows, x.size(1), max(self._size[1], x.size(2)), x.size(3))
            for x in (key_states, value_states)
        )
        self._rows = len(key_states)
        self.is_initialized = True

    def open(self, rows: int, heads: int, length: int, size: int, like: Tensor) -> None:
        """Show `length` places of `rows` rows, which the caller then writes, all of them, into the views.

        Args:
            size: D. like: a tensor of the wanted type and device.
        """
        shape = like.new_empty(()).expand(rows, heads, length, size)
        self.lazy_initialization(shape, shape)
        self._length = length

    def _make_room(self, rows: int, places: int) -> None:
        had = self._buffers[0].shape
        if rows <= had[0] and places <= had[2]:
            return
        size = (max(rows, had[0]), places + places // 2 if places > had[2] else had[2])
        grown = tuple(x.new_empty(size[0], x.size(1), size[1], x.size(3)) for x in self._buffers)
        for new, old in zip(grown, self._buffers, strict=True):
            new[: self._rows, :, : self._length] = old[: self._rows, :, : self._length]
        self._buffers = grown

    def update(self, key_states: Tensor, value_states: Tensor, *args, **kwargs) -> tuple[Tensor, Tensor]:
        """Append (B, H, n, D); returns all so far, (B, H, S + n, D)."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        after = self._length + key_states.size(2)
        self._make_room(self._rows, after)
        for buffer, new in zip(self._buffers, (key_states, value_states), strict=True):
            buffer[: self._rows, :, self._length : after] = new
        self._length = after
        return self.keys, self.values

    def put(self, first: int, keys: Tensor, values: Tensor, length: int) -> None:
        """Set rows first … first + n to (n, H, S', D), S' ≤ length; all rows then have `length` places.

        Places that are not set, after a shorter row, are zero: they are masked but still multiplied.
        """
        if not self.is_initialized:
            self.lazy_initialization(keys, values)
            self._rows = 0
        self._make_room(first + len(keys), length)
        had, self._rows = self._rows, max(self._rows, first + len(keys))
        for buffer, new in zip(self._buffers, (keys, values), strict=True):
            buffer[had : self._rows, :, :length] = 0.0
            buffer[:had, :, self._length : length] = 0.0
            buffer[first : first + len(keys), :, : new.size(2)] = new
            buffer[first : first + len(keys), :, new.size(2) : length] = 0.0
        self._length = length

    def get_seq_length(self) -> int:
        """S."""
        return self._length

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep rows (n,) in that order, repeated where asked; only rows that change places are copied."""
        if not self.is_initialized:
            return
        self._make_room(len(indices), self._length)
        moved = (indices != torch.arange(len(indices), device=indices.device)).nonzero()[:, 0]
        sources = indices[moved]
        if moved.device.type == "cpu" and not torch.isin(sources, moved).any():
            for to, source in zip(moved.tolist(), sources.tolist(), strict=True):  # nothing on the way
                for buffer in self._buffers:
                    buffer[to, :, : self._length] = buffer[source, :, : self._length]
        elif len(moved):
            for buffer in self._buffers:
                buffer[moved, :, : self._length] = buffer[sources, :, : self._length]
        self._rows = len(indices)

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Each row `repeats` times."""
        rows = torch.arange(self._rows, device=self.device if self.is_initialized else None)
        self.batch_select_indices(rows.repeat_interleave(repeats))

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """As `batch_select_indices`."""
        self.batch_select_indices(beam_idx.to(self.device))

    def crop(self, tokens_to_remove: int) -> None:
        """Forget the last −tokens_to_remove places, all where there are fewer."""
        if tokens_to_remove > 0:
            raise ValueError(f"crop({tokens_to_remove}): give the places to forget as a negative number")
        if self.is_initialized:
            self._length = max(0, self._length + tokens_to_remove)


def roomy_cache(config: PreTrainedConfig, rows: int, places: int) -> Cache | None:
    """A cache of `RoomyLayer`s; None where a layer is not plain attention (sliding windows)."""
    layers = DynamicCache(config=config).layers
    if any(type(layer) is not DynamicLayer for layer in layers):
        return None
    return Cache(layers=[RoomyLayer(rows, places) for _ in layers])


def rows_that_stay(keep: Tensor) -> Tensor:
    """The rows `keep` (n,), rising, in an order that leaves most in place: the last fill the holes.

    Example: of five rows, keep 0 2 3 4 → 0 4 2 3.
    """
    order = torch.arange(len(keep), device=keep.device)
    stays = keep[keep < len(keep)]
    holes = torch.ones(len(keep), dtype=torch.bool, device=keep.device)
    holes[stays] = False
    order[holes] = keep[len(stays) :]
    return order
