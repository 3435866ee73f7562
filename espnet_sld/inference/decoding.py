"""Decode a set of utterances: units → prompt → generation → text."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice

import numpy as np

from espnet_sld.errors import InputError
from espnet_sld.inference.hypothesis import Hypothesis
from espnet_sld.inference.search import generate
from espnet_sld.models.decoder_only import DecoderOnlyLM
from espnet_sld.tokens.sequence import assemble
from espnet_sld.tokens.subword import Tokenizer
from espnet_sld.tokens.templates import Template
from espnet_sld.tokens.vocabulary import Vocabulary


def decode_set(
    model: DecoderOnlyLM,
    tokenizers: Mapping[str, Tokenizer],
    vocabulary: Vocabulary,
    template: Template,
    samples: Iterable[tuple[str, Mapping[str, str]]],
    *,
    max_positions: int,
    max_text: int,
    bound: Callable[[int], int] | None = None,
    beam_size: int = 1,
    length_penalty: float = 0.0,
    batch_tokens: int = 16384,
    window: int = 1024,
) -> Iterator[tuple[str, str, Hypothesis]]:
    """Yield (utterance id, text, hypothesis), in the samples' order.

    Args:
        tokenizers: by modality: at least the template's condition and target kind.
        samples: (utterance id, modality → string), e.g. `("utt1", {"speech": unit text})`; a target in it is
            ignored.
        max_positions, max_text: as in training: the prompt is cut the same way, never looking at a reference.
        bound: most generated tokens (end token included) for a condition of so many tokens, e.g. a
            `LengthBound`; None = `max_text` and the end token.
        window: utterances read ahead and sorted by length.

    Raises:
        InputError: an utterance has no units, or an id is outside its modality; names the utterance.
    """
    end_id = vocabulary.id(template.end_token)
    allowed = [i for i in vocabulary.range(template.target_kind) if i != model.pad_id]
    source = template.condition_kind
    iterator = iter(samples)
    while chunk := list(islice(iterator, window)):
        prompts, limits = [], []
        for utterance, sample in chunk:
            ids = np.asarray(tokenizers[source].encode(sample[source]), dtype=np.int64)
            if not ids.size:
                raise InputError(f"utterance '{utterance}' has no {source} tokens; leave it out of the set")
            try:
                sequence = assemble(
                    template.prompt({source: ids}, vocabulary), vocabulary, max_positions, max_text
                )
            except InputError as error:
                raise InputError(f"utterance '{utterance}': {error}") from None
            prompts.append(sequence.tokens)
            limits.append(min(bound(ids.size), max_text + 1) if bound else max_text + 1)
        hypotheses = generate(
            model,
            prompts,
            allowed=allowed,
            end_id=end_id,
            max_new=limits,
            beam_size=beam_size,
            length_penalty=length_penalty,
            batch_tokens=batch_tokens,
        )
        for (utterance, _), hypothesis in zip(chunk, hypotheses, strict=True):
            local = vocabulary.to_local(template.target_kind, hypothesis.ids)
            yield utterance, tokenizers[template.target_kind].decode(local.tolist()), hypothesis
