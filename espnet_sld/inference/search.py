"""Batched generation with a KV cache: greedy and beam, restricted to some ids, bounded in length."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from espnet_sld.errors import InputError
from espnet_sld.inference.batching import decode_batches
from espnet_sld.inference.beam import beam_search
from espnet_sld.inference.hypothesis import Hypothesis
from espnet_sld.models.decoder_only import DecoderOnlyLM
from espnet_sld.models.kv_cache import rows_that_stay

# (model, tokens, lengths, limits, rows, ids, numbers of the prompts) → as `greedy_search`
Search = Callable[..., list[tuple[list[int], float, str]]]


@torch.inference_mode()
def generate(
    model: DecoderOnlyLM,
    prompts: Sequence[np.ndarray | Sequence[int]],
    *,
    allowed: Sequence[int],
    end_id: int,
    max_new: Sequence[int] | int,
    beam_size: int = 1,
    length_penalty: float = 0.0,
    batch_tokens: int = 16384,
    search: Search | None = None,
) -> list[Hypothesis]:
    """Continue each prompt until the end token or its bound.

    A row's result does not depend on what it is batched with: prompts are right-padded, so that reading
    them needs no mask, and the pads' keys are masked while generating.

    Args:
        model: in eval mode.
        prompts: joint ids, at least one each.
        allowed: ids that may be generated; `end_id` is added. Probabilities are renormalised over them.
        max_new: most generated tokens of each prompt (or of all), the end token included; a prompt and its
            output never exceed the model's positions.
        beam_size: 1 = greedy.
        length_penalty: p ≥ 0; hypotheses of a beam are ranked by Σ log p / (tokens)^p.
        batch_tokens: rows × places decoded at once.
        search: another search than greedy and beam, e.g. `sampling.Sampled(…).search`; it is also given the
            numbers of the prompts.

    Returns:
        one hypothesis a prompt, in their order.

    Raises:
        InputError: an empty prompt, or one that leaves no position.
    """
    if model.training:
        raise ValueError("generate needs model.eval()")
    if min(beam_size, batch_tokens) < 1 or length_penalty < 0:
        raise InputError("beam_size and batch_tokens must be at least 1 and length_penalty not negative")
    prompts = [torch.as_tensor(np.asarray(prompt, dtype=np.int64)) for prompt in prompts]
    bounds = [max_new] * len(prompts) if isinstance(max_new, int) else list(max_new)
    bounds = [
        _bound(i, len(p), b, model.max_positions)
        for i, (p, b) in enumerate(zip(prompts, bounds, strict=True))
    ]
    matrix = model.output_matrix()
    ids = torch.tensor([*(i for i in allowed if i != end_id), end_id], device=matrix.device)
    rows = matrix[ids]  # (A, D); the end token is last
    places = [(len(prompt) + bound) * beam_size for prompt, bound in zip(prompts, bounds, strict=True)]
    results: list[Hypothesis | None] = [None] * len(prompts)
    for batch in decode_batches(places, batch_tokens):
        tokens = torch.nn.utils.rnn.pad_sequence([prompts[i] for i in batch], True, model.pad_id)
        lengths = torch.tensor([len(prompts[i]) for i in batch])
        tokens, lengths = tokens.to(matrix.device), lengths.to(matrix.device)
        limits = [bounds[i] for i in batch]
        if search is not None:
            found = search(model, tokens, lengths, limits, rows, ids, batch)
        elif beam_size == 1:
            found = greedy_search(model, tokens, lengths, limits, rows, ids)
        else:
            found = beam_search(model, tokens, lengths, limits, rows, ids, beam_size, length_penalty)
        for index, (sequence, score, stopped) in zip(batch, found, strict=True):
            if beam_size == 1 and length_penalty:
                score /= (len(sequence) + (stopped == "end")) ** length_penalty
            results[index] = Hypothesis.make(sequence, score, stopped)
    return results


def greedy_search(
    model: DecoderOnlyLM, tokens: Tensor, lengths: Tensor, limits: list[int], rows: Tensor, ids: Tensor
) -> list[tuple[list[int], float, str]]:
    """The most probable token at each step; a finished row leaves the batch.

    Args:
        tokens: (B, T) right-padded prompts. lengths: (B,). limits: most new tokens of each row.
        rows: (A, D) output rows of the allowed `ids` (A,), the end token last.

    Returns:
        (ids without the end token, Σ log p, "end" or "length") of each row.
    """
    number, device = len(tokens), tokens.device
    limit = torch.tensor(limits, device=device)
    written = torch.zeros(number, max(limits), dtype=torch.long, device=device)
    score = torch.zeros(number, device=device)
    taken = torch.zeros(number, dtype=torch.long, device=device)  # text tokens of each row
    ended = torch.zeros(number, dtype=torch.bool, device=device)
    alive = torch.arange(number, device=device)
    hidden, state = model.prefill(tokens, lengths, steps=max(limits))
    for step in range(max(limits)):
        best, choice = (hidden @ rows.T).float().log_softmax(-1).max(-1)  # (R,), R rows alive
        score[alive] += best
        at_end = choice == len(ids) - 1
        ended[alive] = at_end
        written[alive, step] = ids[choice]
        taken[alive] += (~at_end).long()
        going = ~at_end & (step + 1 < limit[alive])
        keep = going.nonzero()[:, 0]
        if not len(keep):
            break
        if len(keep) < len(alive):
            keep = rows_that_stay(keep)
            alive, choice = alive[keep], choice[keep]
            state.select(keep)
        hidden = model.step(ids[choice], state)
    sums, ends = score.tolist(), ended.tolist()
    return [
        (row[:count], sums[i], "end" if ends[i] else "length")
        for i, (row, count) in enumerate(zip(written.tolist(), taken.tolist(), strict=True))
    ]


def _bound(index: int, prompt: int, bound: int, positions: int | None) -> int:
    if prompt < 1:
        raise InputError(f"prompt {index} is empty: nothing to continue")
    if bound < 1:
        raise InputError(f"prompt {index}: the length bound must be at least 1, not {bound}")
    if positions is None:
        return bound
    if prompt >= positions:
        raise InputError(f"prompt {index} has {prompt} tokens and the model {positions} positions; cut it")
    return min(bound, positions - prompt)
