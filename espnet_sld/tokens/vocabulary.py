"""One id space for all modalities: named id ranges."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from espnet_sld.errors import InputError

TEXT_END, SPEECH_END = "<text_end>", "<speech_end>"
KINDS = ("text", "speech", "image")


class Vocabulary:
    """Maps each modality's own ids, and special tokens by name, into joint ids.

    Layout: text 0 … V_t−1 · `<text_end>` V_t · `<speech_end>` V_t+1 · speech V_t+2 … · image · specials.
    Text comes first, so that a pretrained language model's rows keep their ids; what is added later
    (image, task tokens) never moves what was there before.

    Args:
        text: V_t, size of the text tokenizer.
        speech: V_s, size of the unit tokenizer (every SentencePiece id counts, `<unk>` and `<s>` too).
        image: V_i, size of the image codebook.
        specials: names; the first two are the end tokens between text and speech.
    """

    def __init__(
        self, *, text: int, speech: int, image: int = 0, specials: Sequence[str] = (TEXT_END, SPEECH_END)
    ):
        self.specials = tuple(specials)
        if min(text, speech, image) < 0 or text + speech + image == 0:
            raise InputError(
                f"vocabulary sizes must not be negative: text {text}, speech {speech}, image {image}"
            )
        if len(set(self.specials)) != len(self.specials):
            raise InputError(f"special tokens must have different names: {' '.join(self.specials)}")
        inner = min(2, len(self.specials))
        self._ranges: dict[str, range] = {}
        start = 0
        for kind, size in (("text", text), ("inner", inner), ("speech", speech), ("image", image)):
            self._ranges[kind] = range(start, start + size)
            start += size
        first = self._ranges.pop("inner").start
        self._ids = {name: first + index for index, name in enumerate(self.specials[:inner])}
        self._ids |= {name: start + index for index, name in enumerate(self.specials[inner:])}
        self.size = start + len(self.specials) - inner

    def range(self, kind: str) -> range:
        """Joint ids of a modality: "text", "speech" or "image"."""
        if kind not in self._ranges:
            raise InputError(f"no modality '{kind}' in the vocabulary; known: {' '.join(self._ranges)}")
        return self._ranges[kind]

    def id(self, name: str) -> int:
        """Joint id of a special token."""
        if name not in self._ids:
            raise InputError(f"no special token '{name}' in the vocabulary; known: {' '.join(self._ids)}")
        return self._ids[name]

    def to_joint(self, kind: str, ids: Sequence[int] | np.ndarray) -> np.ndarray:
        """A modality's own ids → joint ids, int64, same shape. InputError for an id outside the modality."""
        block = self.range(kind)
        return self._shift(ids, 0, len(block), block.start, f"{kind} id", "tokenizer and vocabulary differ")

    def to_local(self, kind: str, ids: Sequence[int] | np.ndarray) -> np.ndarray:
        """Joint ids → the modality's own ids, int64, same shape. InputError for ids of another modality."""
        block = self.range(kind)
        return self._shift(ids, block.start, block.stop, -block.start, "joint id", f"not a {kind} token")

    @staticmethod
    def _shift(
        ids: Sequence[int] | np.ndarray, low: int, high: int, offset: int, what: str, why: str
    ) -> np.ndarray:
        array = np.asarray(ids, dtype=np.int64)
        if array.size and not (low <= array.min() and array.max() < high):
            bad = array[(array < low) | (array >= high)].flat[0]
            raise InputError(f"{what} {bad} is outside {low} … {high - 1}: {why}")
        return array + offset

    def as_dict(self) -> dict[str, Any]:
        """Plain values for a configuration file; `from_dict` gives the same vocabulary back."""
        sizes = {kind: len(block) for kind, block in self._ranges.items()}
        return {**sizes, "specials": list(self.specials)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Vocabulary":
        """The inverse of `as_dict`."""
        return cls(**values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self.as_dict() == other.as_dict()

    __hash__ = None

    def __repr__(self) -> str:
        return f"Vocabulary({', '.join(f'{key}={value!r}' for key, value in self.as_dict().items())})"
