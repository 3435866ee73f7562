"""When each word was said, by the model's own likelihood: how many words has it heard by time t?

A decoder-only model has no alignment, and its attention is no substitute (on recorded digit strings, whose
word boundaries are known, paths through the attention were worse than words of equal length). But it was
trained on whole utterances, so p(first j words, end | speech up to t) says which j fits. The most likely
path of j over t, never falling, leaves word j in the middle of hearing word j + 1: between them lies the
boundary. Word times are therefore approximate; the speech tokens' own times are exact.

Causal attention makes it cheap: hidden states of speech are the same for every t, so a cache of the whole
speech serves all t, and only the text is read again.
"""

import copy
from collections.abc import Sequence

import numpy as np
import torch
from transformers import PreTrainedConfig
from transformers.cache_utils import Cache

from espnet_sld.inference.long_audio import SHIFT
from espnet_sld.inference.transcript import SpeechTokens, Word
from espnet_sld.models.decoder_only import DecoderOnlyLM
from espnet_sld.models.kv_cache import roomy_cache
from espnet_sld.tokens.subword import Tokenizer

RESOLUTION = 0.08  # seconds between the times t at which words are counted
LEAST = -20.0  # log posterior: what is impossible is only very unlikely, so that a path always exists


@torch.inference_mode()
def prefix_scores(
    model: DecoderOnlyLM,
    prompt: np.ndarray,
    num_speech: int,
    text: Sequence[int],
    allowed: Sequence[int],
    prefixes: np.ndarray,
    batch_tokens: int = 16384,
) -> tuple[np.ndarray, np.ndarray]:
    """Log probabilities of a hypothesis given only the first tokens of the speech.

    Args:
        model: in eval mode.
        prompt: joint ids (P,), of which the first `num_speech` are the speech.
        text: joint ids (N,) of the hypothesis, without the end token.
        allowed: ids that generation chose from, the end token last.
        prefixes: speech lengths (R,) to look at, each 1 … num_speech.
        batch_tokens: rows × places at once.

    Returns:
        float64 log p(token | prefix, tokens before) (R, N), log p(end | prefix, first n tokens) (R, N + 1).
    """
    matrix = model.output_matrix()
    device = matrix.device
    speech = torch.as_tensor(np.asarray(prompt[:num_speech], dtype=np.int64), device=device)
    tail = torch.as_tensor([*map(int, prompt[num_speech:]), *map(int, text)], device=device)  # (Q,)
    rows = matrix[torch.as_tensor(list(allowed), device=device)]
    place = {index: number for number, index in enumerate(allowed)}
    chosen = torch.tensor([place[int(index)] for index in text], device=device, dtype=torch.long)
    _, state = model.prefill(speech[None], torch.tensor([num_speech], device=device))
    size = min(max(1, batch_tokens // (num_speech + len(tail))), len(prefixes))
    shared = _in_rows(state.cache, model.backbone.config, size, num_speech, len(tail))
    places = torch.arange(num_speech, device=device)
    found: list[torch.Tensor] = []
    for some in torch.as_tensor(np.asarray(prefixes, dtype=np.int64), device=device).split(size):
        if shared is None:
            cache = copy.deepcopy(state.cache)
            cache.batch_select_indices(torch.zeros(len(some), dtype=torch.long, device=device))
        else:
            cache = shared
            cache.batch_select_indices(torch.arange(len(some), device=device))
        seen = torch.cat([places < some[:, None], torch.ones(len(some), len(tail), device=device)], 1)
        output = model.backbone.base_model(
            input_ids=tail.expand(len(some), -1),
            attention_mask=seen.long(),
            position_ids=some[:, None] + torch.arange(len(tail), device=device),
            past_key_values=cache,
            use_cache=True,
        )
        hidden = output.last_hidden_state[:, len(tail) - len(text) - 1 :]  # (rows, N + 1, D)
        if shared is not None:
            shared.crop(-len(tail))  # the speech stays, for the next rows
        found.append((hidden @ rows.T).float().log_softmax(-1)[..., [*chosen.tolist(), -1]])
    log_p = torch.cat(found).double().cpu().numpy()  # (R, N + 1, N + 1)
    steps = np.arange(len(text))
    return log_p[:, steps, steps], log_p[:, :, -1]


def _in_rows(read: Cache, config: PreTrainedConfig, rows: int, num_speech: int, more: int) -> Cache | None:
    """The speech that one row has read, in `rows` rows with room for `more` places; None: sliding windows."""
    cache = roomy_cache(config, rows, num_speech + more)
    if cache is not None:
        for layer, one in zip(cache.layers, read.layers, strict=True):
            shape = (rows, -1, -1, -1)
            layer.put(0, one.keys.expand(shape), one.values.expand(shape), num_speech)
    return cache


def best_path(scores: np.ndarray) -> np.ndarray:
    """The path that collects most: time r belongs to state path[r].

    It starts in state 0 and ends in the last one; from time to time it stays, or goes on to the next state.

    Args:
        scores: float (R, J), J ≤ R.

    Returns:
        int64 (R,), never falling, every state at least once.
    """
    times, states = scores.shape
    if states > times:
        raise ValueError(f"{states} states cannot share {times} times")
    best = np.full(states, -np.inf)
    best[0] = scores[0, 0]
    moved = np.zeros((times, states), dtype=bool)
    for time in range(1, times):
        before = np.concatenate([[-np.inf], best[:-1]])
        moved[time] = before > best
        best = np.maximum(best, before) + scores[time]
    path = np.empty(times, dtype=np.int64)
    state = states - 1
    for time in range(times - 1, -1, -1):
        path[time] = state
        state -= int(moved[time, state])
    return path


def word_bounds(scores: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Where words end.

    Args:
        scores: float (R, W + 1), log p of the first j words and the end, up to a constant for each time.
        times: (R,) rising; the last is the end of the audio.

    Returns:
        (W + 1,): start of the first word (0), ends of all; the last is the end of the audio.
    """
    words = scores.shape[1] - 1
    if words + 1 > len(times):  # more words than times: nothing to read off
        return np.linspace(0.0, times[-1], words + 1)
    shifted = scores - scores.max(axis=1, keepdims=True)
    posterior = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    path = best_path(np.maximum(posterior, LEAST))
    bounds = [0.0]
    for word in range(1, words):  # from word's middle to the next one's: the boundary is half-way
        heard = times[path == word]
        bounds.append((heard[0] + heard[-1]) / 2)
    return np.array([*bounds, times[-1]][: words + 1])


def words_of(tokenizer: Tokenizer, ids: Sequence[int]) -> tuple[list[str], list[int]]:
    """The words of a token sequence, and how many tokens stand before the end of each.

    A token between words (a space) belongs to the word before it.
    """
    texts = tokenizer.decode(ids).split()
    counts = [len(tokenizer.decode(ids[:stop]).split()) for stop in range(len(ids) + 1)]
    ends = [
        max(stop for stop, count in enumerate(counts) if count <= word) for word in range(1, len(texts) + 1)
    ]
    return texts, ends


def time_words(
    model: DecoderOnlyLM,
    tokenizer: Tokenizer,
    prompt: np.ndarray,
    num_speech: int,
    speech: SpeechTokens,
    ids: Sequence[int],
    text: Sequence[int],
    allowed: Sequence[int],
    loud: np.ndarray,
    batch_tokens: int = 16384,
    lead: int = 0,
) -> tuple[Word, ...]:
    """Words with times from the beginning of the stretch; pauses, by energy, belong to no word.

    Args:
        prompt: joint ids, `num_speech` of them the speech (where it was cut, its beginning), after `lead`
            others such as a start token.
        ids: of the hypothesis, the text tokenizer's own (N,). text: the same as joint ids.
        allowed: joint ids that generation chose from, the end token last.
        loud: bool (frames of 10 ms,), `speech_frames` of the stretch.
    """
    texts, ends = words_of(tokenizer, ids)
    if not texts:
        return ()
    edges = speech.bounds[1 : num_speech + 1] * speech.frame_shift
    prefixes = np.flatnonzero(np.diff(np.floor(edges / RESOLUTION), append=np.inf)) + 1
    if len(prefixes) <= len(texts):
        prefixes = np.arange(1, num_speech + 1)
    heard = lead + num_speech, text, allowed, lead + prefixes
    log_p, log_end = prefix_scores(model, prompt, *heard, batch_tokens)
    before = np.concatenate([np.zeros((len(prefixes), 1)), log_p.cumsum(axis=1)], axis=1) + log_end
    bounds = word_bounds(before[:, [0, *ends]], edges[prefixes - 1])
    confidences = np.exp(np.add.reduceat(log_p[-1], [0, *ends[:-1]]))
    return tuple(
        Word(word, *_without_pauses(start, end, loud), float(confidence))
        for word, start, end, confidence in zip(texts, bounds[:-1], bounds[1:], confidences, strict=True)
    )


def _without_pauses(start: float, end: float, loud: np.ndarray) -> tuple[float, float]:
    """The part of a word's stretch from its first to its last loud frame; all of it where none is loud."""
    first = int(start / SHIFT)
    inside = np.flatnonzero(loud[first : int(np.ceil(end / SHIFT))])
    if not len(inside):
        return float(start), float(end)
    return max(start, (first + inside[0]) * SHIFT), min(end, (first + inside[-1] + 1) * SHIFT)
