"""Sequence templates: how a sample's parts become one sequence. A new task is one small class here."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from espnet_sld.errors import InputError
from espnet_sld.tokens.segments import Segment, special
from espnet_sld.tokens.vocabulary import SPEECH_END, TEXT_END, Vocabulary

Sample = Mapping[str, np.ndarray]
TEMPLATES: dict[str, "Template"] = {}


class Template:
    """Turns a sample (field → its modality's own ids) into segments.

    A subclass sets the class attributes and writes `prompt`; `training` is the prompt, the target and
    the end token, unless it says otherwise. Defining it with a `name` registers it.

    Attributes:
        name: key in `TEMPLATES`.
        condition_kind: modality of what the model is given; None = it is given nothing.
        target_kind: modality of what it generates.
        end_token: special token that ends the target.
        condition_field, target_field: the sample's keys for them; None = the modality's name. Two texts in
            one sample need two keys.
    """

    name: ClassVar[str]
    condition_kind: ClassVar[str | None]
    target_kind: ClassVar[str]
    end_token: ClassVar[str]
    condition_field: ClassVar[str | None] = None
    target_field: ClassVar[str | None] = None

    def __init_subclass__(cls) -> None:
        if "name" in vars(cls):
            TEMPLATES[cls.name] = cls()

    @property
    def source(self) -> str | None:
        """The sample's key for the condition."""
        return self.condition_field or self.condition_kind

    @property
    def target(self) -> str:
        """The sample's key for the target."""
        return self.target_field or self.target_kind

    @property
    def fields(self) -> dict[str, str]:
        """The sample's keys → their modalities, the condition's first."""
        condition = {} if self.source is None else {self.source: self.condition_kind}
        return {**condition, self.target: self.target_kind}

    @property
    def specials(self) -> tuple[str, ...]:
        """Special tokens that the vocabulary must have beside those that end text and speech."""
        return ()

    def prompt(self, sample: Sample, vocabulary: Vocabulary) -> list[Segment]:
        """Everything before the target; never looks at the target."""
        raise NotImplementedError

    def training(self, sample: Sample, vocabulary: Vocabulary) -> list[Segment]:
        """The whole sequence."""
        return [
            *self.prompt(sample, vocabulary),
            Segment(self.target_kind, sample[self.target], "target"),
            special(self.end_token, counts_as=self.target_kind, role="target"),
        ]


class AsrSld(Template):
    """Speech pieces · `<speech_end>` · text · `<text_end>`, no begin token (arXiv 2311.04534, Sec. 3)."""

    name = "asr_sld"
    condition_kind = "speech"
    target_kind = "text"
    end_token = TEXT_END

    def prompt(self, sample: Sample, vocabulary: Vocabulary) -> list[Segment]:
        return [Segment("speech", sample["speech"]), special(SPEECH_END, counts_as="speech")]


def get_template(name: str) -> Template:
    """The template of that name; InputError names the known ones."""
    if name not in TEMPLATES:
        raise InputError(f"no template '{name}'; known: {' '.join(TEMPLATES)}")
    return TEMPLATES[name]
