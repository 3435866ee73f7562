"""Where a trained model looks when it predicts a text token: its attention weights on the speech tokens.

Attention is not an alignment (see `token_times`) and no explanation of a decision; it is for looking.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from espnet_sld.errors import InputError
from espnet_sld.inference.checkpoint import TrainedModel
from espnet_sld.models.decoder_only import DecoderOnlyLM
from espnet_sld.tokens.sequence import assemble


@dataclass(frozen=True)
class Attention:
    """Attention of one utterance, L layers, T predicted text tokens (the end token last), S speech tokens.

    Attributes:
        text, speech: names of the tokens.
        mean, largest: (L, T, S) float32: over the heads of a layer, mean and largest weight.
        on_speech: (L, T) float32: what the mean over heads puts on all speech tokens together.
    """

    text: list[str]
    speech: list[str]
    mean: np.ndarray
    largest: np.ndarray
    on_speech: np.ndarray


@torch.inference_mode()
def attention_maps(
    model: DecoderOnlyLM, tokens: Sequence[int], queries: Sequence[int], keys: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Attention weights from some positions to others.

    The kernels of training keep no weights, so the model computes attention plainly here, and as before
    afterwards.

    Args:
        model: in eval mode. tokens: joint ids of one sequence (P,).
        queries, keys: positions in it (T,) and (S,).

    Returns:
        mean and largest over heads, each float32 (L, T, S).
    """
    backbone = model.backbone
    kernel = backbone.config._attn_implementation
    backbone.set_attn_implementation("eager")
    try:
        ids = torch.as_tensor(list(tokens), dtype=torch.long, device=model.output_matrix().device)
        layers = backbone.base_model(
            input_ids=ids[None], output_attentions=True, use_cache=False
        ).attentions  # L × (1, H, P, P)
    finally:
        backbone.set_attn_implementation(kernel)
    if not layers:
        raise InputError(f"a model of type '{backbone.config.model_type}' gives no attention weights")
    means, largest = [], []
    for weights in layers:
        part = weights[0][:, list(queries)][:, :, list(keys)].float()  # (H, T, S)
        means.append(part.mean(0).cpu().numpy())
        largest.append(part.amax(0).cpu().numpy())
    return np.stack(means), np.stack(largest)


def attend(trained: TrainedModel, units: str, text: str) -> Attention:
    """Attention from a hypothesis to the speech tokens that it was read from.

    The row of a text token is the attention of the position before it: the one that predicts it.

    Args:
        units: unit text, as `decode` reads it. text: the hypothesis; it may be empty.

    Raises:
        InputError: the model is no speech recogniser, or there are no speech tokens.
    """
    template, vocabulary, tokenizers = trained.template, trained.vocabulary, trained.tokenizers
    if (template.condition_kind, template.target_kind) != ("speech", "text"):
        raise InputError(f"template {template.name}: attention from text to speech needs speech as condition")
    speech = np.asarray(tokenizers["speech"].encode(units), np.int64)
    if not speech.size:
        raise InputError("no speech tokens; leave the utterance out")
    words = np.asarray(tokenizers["text"].encode(text), np.int64)
    segments = template.training({template.source: speech, template.target: words}, vocabulary)
    limits = trained.limits
    tokens = assemble(segments, vocabulary, limits["max_positions"], limits["max_text"]).tokens
    end = vocabulary.id(template.end_token)
    written, heard = vocabulary.range("text"), vocabulary.range("speech")
    at_text = [place for place, token in enumerate(tokens) if token in written or token == end]
    at_speech = [place for place, token in enumerate(tokens) if token in heard]
    mean, largest = attention_maps(trained.model, tokens, [place - 1 for place in at_text], at_speech)
    names = [_name(trained, int(tokens[place])) for place in at_text]
    codes = [str(int(tokens[place]) - heard.start) for place in at_speech]
    return Attention(names, codes, mean, largest, mean.sum(axis=2))


def _name(trained: TrainedModel, token: int) -> str:
    """A text token's own string; special tokens by name."""
    if token not in trained.vocabulary.range("text"):
        return trained.template.end_token
    local = int(trained.vocabulary.to_local("text", [token])[0])
    return trained.tokenizers["text"].decode([local]) or f"#{local}"
