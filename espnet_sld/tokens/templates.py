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
    """Turns a sample (modality → its own ids) into segments.

    A subclass sets the four class attributes and writes `prompt`; `training` is the prompt, the target and
    the end token, unless it says otherwise. Defining it with a `name` registers it.

    Attributes:
        name: key in `TEMPLATES`.
        condition_kind: what the model is given.
        target_kind: what it generates; the sample's key for it.
        end_token: special token that ends the target.
    """

    name: ClassVar[str]
    condition_kind: ClassVar[str]
    target_kind: ClassVar[str]
    end_token: ClassVar[str]

    def __init_subclass__(cls) -> None:
        TEMPLATES[cls.name] = cls()

    def prompt(self, sample: Sample, vocabulary: Vocabulary) -> list[Segment]:
        """Everything before the target; never looks at the target."""
        raise NotImplementedError

    def training(self, sample: Sample, vocabulary: Vocabulary) -> list[Segment]:
        """The whole sequence."""
        return [
            *self.prompt(sample, vocabulary),
            Segment(self.target_kind, sample[self.target_kind], "target"),
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
        raise InputError(f"no template '{name}'; known: {' '.join(sorted(TEMPLATES))}")
    return TEMPLATES[name]
