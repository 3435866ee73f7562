"""Decode a set: condition → prompt → generation → what the template's target is, e.g. units → text."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice

import numpy as np

from espnet_sld.errors import InputError
from espnet_sld.inference.hypothesis import Hypothesis
from espnet_sld.inference.sampling import Sampled
from espnet_sld.inference.search import generate
from espnet_sld.models.decoder_only import DecoderOnlyLM
from espnet_sld.tokens.limits import Limits
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
    max_speech: int | None = None,
    max_image: int | None = None,
    bound: Callable[[int], int] | None = None,
    beam_size: int = 1,
    length_penalty: float = 0.0,
    batch_tokens: int = 16384,
    window: int = 1024,
    sampled: Sampled | None = None,
) -> Iterator[tuple[str, str, Hypothesis]]:
    """Yield (utterance id, text, hypothesis), in the samples' order; units or image tokens for such targets.

    A text is one line, with one space between its words, whatever white space the model wrote.

    Args:
        tokenizers: by modality: at least the template's condition and target kind.
        samples: (utterance id, field → string), e.g. `("utt1", {"speech": unit text})`; a target in it is
            ignored.
        max_positions, max_text, max_speech, max_image: as in training (see `Limits`): the prompt is cut the
            same way, never looking at a reference.
        bound: most generated tokens (end token included) for a condition of so many tokens, e.g. a
            `LengthBound`; None = the target's limit and the end token.
        window: utterances read ahead and sorted by length.
        sampled: draw instead of searching; a draw depends on its seed and the utterance's id alone.

    Raises:
        InputError: an utterance has no units, or an id is outside its modality; names the utterance.
    """
    end_id = vocabulary.id(template.end_token)
    allowed = target_ids(tokenizers, vocabulary, template, model.pad_id)
    source, kind = template.source, template.condition_kind
    if source is None:
        raise InputError(f"template {template.name} has no condition: there is nothing to decode")
    max_target = Limits(max_positions, max_text, max_speech, max_image).target(template)
    iterator = iter(samples)
    while chunk := list(islice(iterator, window)):
        prompts, limits = [], []
        for utterance, sample in chunk:
            ids = np.asarray(tokenizers[kind].encode(sample[source]), dtype=np.int64)
            if not ids.size:
                raise InputError(f"utterance '{utterance}' has no {source} tokens; leave it out of the set")
            try:
                sequence = assemble(
                    template.prompt({source: ids}, vocabulary), vocabulary, max_positions, max_target
                )
            except InputError as error:
                raise InputError(f"utterance '{utterance}': {error}") from None
            prompts.append(sequence.tokens)
            limits.append(min(bound(ids.size), max_target + 1) if bound else max_target + 1)
        hypotheses = generate(
            model,
            prompts,
            allowed=allowed,
            end_id=end_id,
            max_new=limits,
            beam_size=beam_size,
            length_penalty=length_penalty,
            batch_tokens=batch_tokens,
            search=sampled and sampled.search([utterance for utterance, _ in chunk]),
        )
        for (utterance, _), hypothesis in zip(chunk, hypotheses, strict=True):
            local = vocabulary.to_local(template.target_kind, hypothesis.ids)
            text = tokenizers[template.target_kind].decode(local.tolist())
            if template.target_kind == "text":  # a byte-level tokenizer has line ends, a line of text none
                text = " ".join(text.split())
            yield utterance, text, hypothesis


def target_ids(
    tokenizers: Mapping[str, Tokenizer], vocabulary: Vocabulary, template: Template, pad_id: int
) -> list[int]:
    """Joint ids that may be generated: those of the target's modality that stand for something.

    The pad is not among them, and of unit pieces none that is no unit.
    """
    kind = template.target_kind
    never = {pad_id}
    if kind == "speech":
        silent = getattr(tokenizers[kind], "silent_ids", ())
        never |= set(vocabulary.to_joint(kind, list(silent)).tolist())
    return [index for index in vocabulary.range(kind) if index not in never]
