"""One causal language model over joint tokens: hidden states for training, a cache for generation."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import Cache

from espnet_sld.models.backbone import position_limit
from espnet_sld.models.kv_cache import CHUNK, roomy_cache

if TYPE_CHECKING:
    from espnet_sld.models.quick_decoder import QuickDecoder


@dataclass
class DecodingState:
    """Keys and values of B rows, and which of the S cached places are real.

    Attributes:
        cache: Hugging Face cache with S places a row.
        places: (B, S) bool, False where a shorter prompt is padded.
        lengths: (B,) real tokens so far: the position of the next one.
        ragged: some place is not real, so attention needs the mask.
        quick: the backbone's forward in fewer operations, where there is one.
    """

    cache: Cache
    places: Tensor
    lengths: Tensor
    ragged: bool
    quick: "QuickDecoder | None" = None

    def select(self, rows: Tensor) -> None:
        """Keep rows (n,), in that order, repeated where asked."""
        self.cache.batch_select_indices(rows)
        self.places, self.lengths = self.places[rows], self.lengths[rows]


class DecoderOnlyLM(nn.Module):
    """A Hugging Face causal LM with the few views that training and generation need.

    Right-padding with causal attention needs no mask: pads come last and nothing real sees them.

    Args:
        backbone: see `build_backbone`.
        pad_id: fills short rows; any id will do, as pads are never attended to.
    """

    def __init__(self, backbone: PreTrainedModel, pad_id: int):
        super().__init__()
        self.backbone = backbone
        self.pad_id = pad_id

    @property
    def max_positions(self) -> int | None:
        """Most positions of the backbone."""
        return position_limit(self.backbone.config)

    def num_parameters(self) -> int:
        """All parameters, tied ones once."""
        return sum(parameter.numel() for parameter in self.parameters())

    def hidden(self, tokens: Tensor) -> Tensor:
        """Last hidden states (B, T, D) of right-padded tokens (B, T)."""
        return self.backbone.base_model(input_ids=tokens, use_cache=False).last_hidden_state

    def output_matrix(self) -> Tensor:
        """Output embedding (V, D); logits are hidden · Wᵀ."""
        return self.backbone.get_output_embeddings().weight

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits (B, T, V)."""
        return self.hidden(tokens) @ self.output_matrix().T

    def prefill(
        self, tokens: Tensor, lengths: Tensor, *, steps: int = 0, rows: int = 0
    ) -> tuple[Tensor, DecodingState]:
        """Read right-padded prompts (B, T), at least one token each.

        Args:
            steps, rows: how many tokens and rows the search will need at most, so that there is room for
                them; more is allowed.

        Returns:
            hidden state (B, D) of each prompt's last token, and the state to go on from.
        """
        number, width = tokens.shape
        places = torch.arange(width, device=tokens.device) < lengths[:, None]
        ragged = bool((lengths != width).any())
        config = self.backbone.config
        cache = roomy_cache(config, max(rows, number), width + steps)
        if cache is not None and (quick := self._quick_decoder(width + steps)) is not None:
            hidden = quick.prefill(tokens, lengths, places if ragged else None, cache)
            return hidden, DecodingState(cache, places, lengths.clone(), ragged, quick)
        size = max(1, CHUNK // width) if cache is not None and tokens.device.type == "cpu" else number
        last = []
        for first in range(0, number, size):
            some = lengths[first : first + size]
            longest = int(some.max())
            read = cache if cache is not None and size >= number else DynamicCache(config=config)
            result = self.backbone.base_model(
                input_ids=tokens[first : first + size, : longest if size < number else width],
                past_key_values=read,
                use_cache=True,
            )
            if size < number:
                for layer, made in zip(cache.layers, read.layers, strict=True):
                    layer.put(first, made.keys, made.values, width)
            last.append(result.last_hidden_state[torch.arange(len(some), device=some.device), some - 1])
        cached = result.past_key_values if cache is None else cache
        return torch.cat(last), DecodingState(cached, places, lengths.clone(), ragged)

    def step(self, tokens: Tensor, state: DecodingState) -> Tensor:
        """Read one more token (B,) in each row; returns its hidden state (B, D) and updates `state`."""
        state.places = F.pad(state.places, (0, 1), value=True)
        if state.quick is not None:
            hidden = state.quick.step(
                tokens, state.lengths, state.places if state.ragged else None, state.cache
            )
            state.lengths = state.lengths + 1
            return hidden
        result = self.backbone.base_model(
            input_ids=tokens[:, None],
            attention_mask=state.places.long() if state.ragged else None,
            position_ids=state.lengths[:, None],
            past_key_values=state.cache,
            use_cache=True,
        )
        state.cache, state.lengths = result.past_key_values, state.lengths + 1
        return result.last_hidden_state[:, 0]

    def _quick_decoder(self, places: int) -> "QuickDecoder | None":
        """The backbone's forward in fewer operations, without autograd; None where there is none."""
        if self.training or torch.is_grad_enabled():
            return None
        # late: it loads two model types of transformers
        from espnet_sld.models.quick_blocks import is_covered
        from espnet_sld.models.quick_decoder import QuickDecoder

        return QuickDecoder(self.backbone, places) if is_covered(self.backbone) else None

    def load_parameters(self, values: Mapping[str, Tensor]) -> None:
        """Strict load; a tied output matrix may be absent or present."""
        values = dict(values)
        tied = self.backbone.get_input_embeddings().weight is self.output_matrix()
        missing, unexpected = self.load_state_dict(values, strict=False)
        if tied:
            names = {n for n, p in self.named_parameters(remove_duplicate=False) if p is self.output_matrix()}
            if len(names & set(values)) > 0:
                missing = [name for name in missing if name not in names]
        if missing or unexpected:
            raise ValueError(f"missing {sorted(missing)[:3]}, unexpected {sorted(unexpected)[:3]}")
