"""Beam search over a batch: finished hypotheses leave their beam, finished utterances the batch."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from espnet_sld.models.decoder_only import DecoderOnlyLM

Found = tuple[list[int], float, str]


@dataclass
class _Pool:
    """Finished hypotheses of one utterance: the best that ended, and the best that was cut."""

    ended: tuple[float, list[int]] | None = field(default=None)
    cut: tuple[float, list[int]] | None = field(default=None)

    def add(self, score: float, ids: list[int], ended: bool) -> None:
        name = "ended" if ended else "cut"
        if getattr(self, name) is None or score > getattr(self, name)[0]:
            setattr(self, name, (score, ids))

    def best(self) -> Found:
        """An ended hypothesis goes before any that was cut."""
        score, ids = self.ended or self.cut
        return ids, score, "end" if self.ended else "length"


def beam_search(
    model: DecoderOnlyLM,
    tokens: Tensor,
    lengths: Tensor,
    limits: list[int],
    rows: Tensor,
    ids: Tensor,
    beam_size: int,
    length_penalty: float = 0.0,
) -> list[Found]:
    """The best hypothesis of each utterance by Σ log p / (tokens, end included)^length_penalty.

    Each step takes an utterance's `beam_size` best continuations; those that end leave the beam. With a
    beam of 1 this is greedy search. An utterance is done when nothing that still runs can beat its best:
    log p only falls, so a running sum over (its limit)^penalty bounds what it can reach.

    Args: as `greedy_search`; rows/ids (A,) are the allowed tokens, the end token last.

    Returns:
        (ids without the end token, score, "end" or "length") of each utterance.
    """
    number, size, device = len(tokens), len(ids), tokens.device
    pools = [_Pool() for _ in range(number)]
    hidden, state = model.prefill(tokens, lengths, steps=max(limits), rows=number * beam_size)
    # R running rows, ordered by utterance
    owner = torch.arange(number, device=device)
    slot = torch.zeros_like(owner)
    score = torch.zeros(number, device=device)
    history = torch.zeros(number, 0, dtype=torch.long, device=device)
    for step in range(1, max(limits) + 1):
        extended = score[:, None] + (hidden @ rows.T).float().log_softmax(-1)  # (R, A)
        utterances, compact = owner.unique_consecutive(return_inverse=True)  # (U,), (R,)
        grid = extended.new_full((len(utterances), beam_size, size), -torch.inf)
        grid[compact, slot] = extended
        source = torch.zeros(len(utterances), beam_size, dtype=torch.long, device=device)
        source[compact, slot] = torch.arange(len(owner), device=device)
        # topk gives them best first, so that slot order is rank order
        best, place = grid.flatten(1).topk(min(beam_size, beam_size * size))  # (U, K)
        parent = source.gather(1, place // size)  # (U, K) running row
        choice = place % size

        keep_parent, keep_choice, keep_score, keep_owner, keep_slot = [], [], [], [], []
        table = zip(utterances.tolist(), best.tolist(), parent.tolist(), choice.tolist(), strict=True)
        texts = history.tolist()
        for utterance, scores, parents, choices in table:
            limit, pool, running = limits[utterance], pools[utterance], []
            for value, row, token in zip(scores, parents, choices, strict=True):
                if value == float("-inf"):
                    continue
                if token == size - 1:
                    pool.add(value / step**length_penalty, texts[row], ended=True)
                else:
                    running.append((value, row, token))
            if step == limit:
                for value, row, token in running:
                    pool.add(value / step**length_penalty, [*texts[row], int(ids[token])], ended=False)
                continue
            if pool.ended and running and pool.ended[0] >= running[0][0] / limit**length_penalty:
                continue
            for rank, (value, row, token) in enumerate(running):
                keep_parent.append(row)
                keep_choice.append(token)
                keep_score.append(value)
                keep_owner.append(utterance)
                keep_slot.append(rank)
        if not keep_parent:
            break
        parent, choice = (torch.tensor(x, device=device) for x in (keep_parent, keep_choice))
        owner, slot = (torch.tensor(x, device=device) for x in (keep_owner, keep_slot))
        score = torch.tensor(keep_score, device=device)
        history = torch.cat([history[parent], ids[choice][:, None]], 1)
        state.select(parent)
        hidden = model.step(ids[choice], state)
    return [pool.best() for pool in pools]
