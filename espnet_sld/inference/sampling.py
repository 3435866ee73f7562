"""Drawing continuations: temperature and top-k, from random numbers that belong to the utterance alone."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from espnet_sld.errors import InputError
from espnet_sld.inference.search import Search
from espnet_sld.models.decoder_only import DecoderOnlyLM
from espnet_sld.models.kv_cache import rows_that_stay


@dataclass(frozen=True)
class Sampled:
    """How to draw.

    Attributes:
        temperature: divides the logits: below 1 sharper, above 1 flatter. 0 = the most probable token.
        top_k: draw among so many most probable tokens; 0 = among all. 1 = the most probable.
        seed: of the draws. An utterance's draws depend on it and on the utterance's id: not on the batch,
            on the order of the set, or on what else is in it.
        min_tokens: the end token may not come before so many tokens.
    """

    temperature: float = 1.0
    top_k: int = 0
    seed: int = 0
    min_tokens: int = 0

    def __post_init__(self) -> None:
        if self.temperature < 0 or self.top_k < 0 or self.min_tokens < 0:
            raise InputError("temperature, top_k and min_tokens must not be negative")

    def uniforms(self, name: str, number: int) -> Tensor:
        """`number` draws from [0, 1), float64, for the utterance `name`: the first ones of one stream."""
        digest = hashlib.blake2b(f"{self.seed} {name}".encode(), digest_size=8).digest()
        return torch.from_numpy(np.random.default_rng(int.from_bytes(digest)).random(number))

    def choose(self, log_p: Tensor, uniform: Tensor) -> Tensor:
        """Token numbers (R,) for log-probabilities (R, A) and draws (R,), by the inverse of the cumulated."""
        if self.temperature == 0 or self.top_k == 1:
            return log_p.argmax(-1)
        count = min(self.top_k or log_p.size(-1), log_p.size(-1))
        best, places = log_p.double().div(self.temperature).topk(count, -1)  # sorted
        cumulated = best.softmax(-1).cumsum(-1)
        # the sum ends a rounding below or above 1
        chosen = (cumulated <= uniform[:, None] * cumulated[:, -1:]).sum(-1).clamp(max=count - 1)
        return places.gather(1, chosen[:, None])[:, 0]

    def search(self, names: Sequence[str]) -> Search:
        """A search for `generate` over prompts of the utterances `names`."""

        def search(
            model: DecoderOnlyLM,
            tokens: Tensor,
            lengths: Tensor,
            limits: list[int],
            rows: Tensor,
            ids: Tensor,
            numbers: Sequence[int],
        ) -> list[tuple[list[int], float, str]]:
            return self._run(model, tokens, lengths, limits, rows, ids, [names[i] for i in numbers])

        return search

    def _run(
        self,
        model: DecoderOnlyLM,
        tokens: Tensor,
        lengths: Tensor,
        limits: list[int],
        rows: Tensor,
        ids: Tensor,
        names: Sequence[str],
    ) -> list[tuple[list[int], float, str]]:
        """As `greedy_search`, with drawn tokens; the score is of the model's own probabilities."""
        device, end = tokens.device, len(ids) - 1
        draws = torch.nn.utils.rnn.pad_sequence(
            [self.uniforms(name, limit) for name, limit in zip(names, limits, strict=True)], True
        ).to(device)  # (B, steps)
        written: list[list[int]] = [[] for _ in names]
        scores, stopped = [0.0] * len(names), ["length"] * len(names)
        alive = torch.arange(len(names), device=device)
        hidden, state = model.prefill(tokens, lengths, steps=max(limits))
        for step in range(max(limits)):
            logits = (hidden @ rows.T).float()  # (R, A), R rows alive
            log_p = possible = logits.log_softmax(-1)
            if step < self.min_tokens:  # the others share the end's probability, but the score is as it was
                possible = log_p.clone()
                possible[:, end] = -torch.inf
            choice = self.choose(possible, draws[alive, step])
            gained = log_p.gather(1, choice[:, None])[:, 0].tolist()
            keep = []
            for place, (row, token) in enumerate(zip(alive.tolist(), choice.tolist(), strict=True)):
                scores[row] += gained[place]
                if token == end:
                    stopped[row] = "end"
                    continue
                written[row].append(token)
                if step + 1 < limits[row]:
                    keep.append(place)
            if not keep:
                break
            if len(keep) < len(alive):
                kept = rows_that_stay(torch.tensor(keep, device=device))
                alive, choice = alive[kept], choice[kept]
                state.select(kept)
            hidden = model.step(ids[choice], state)
        joint = ids.tolist()
        return [
            ([joint[token] for token in sequence], score, why)
            for sequence, score, why in zip(written, scores, stopped, strict=True)
        ]
