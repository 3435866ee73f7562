"""DMLM's tasks (arXiv 2406.06582) as templates, in VoxtLM's layout (arXiv 2309.07937): each names its output.

A labelled sequence is `<startof…> condition <generate…> target <…_end>`, an unlabelled one begins with its
generate token. The end token is a target of the last modality; the other special tokens are never targets.
The condition is a target too, of its own modality: what weighs it is the loss.
"""

import copy
from collections.abc import Iterable
from typing import ClassVar

from espnet_sld.errors import InputError
from espnet_sld.tokens.segments import Segment, special
from espnet_sld.tokens.templates import Sample, Template
from espnet_sld.tokens.vocabulary import SPEECH_END, TEXT_END, Vocabulary

IMAGE_END = "<image_end>"
ENDS = {"text": TEXT_END, "speech": SPEECH_END, "image": IMAGE_END}
# All of them are in the vocabulary as soon as one task uses any, in this order: adding a task moves no id.
TASK_TOKENS = (
    IMAGE_END,
    "<startofspeech>",
    "<startoftext>",
    "<startofimage>",
    "<generatetext>",
    "<generatespeech>",
    "<generateimage>",
    "<generatetranslation>",
    "<generatecaption>",
)


class TaskTemplate(Template):
    """A sequence whose generate token says what is to come; subclasses name the modalities and the token.

    Attributes:
        generate: the generate token; an instance may have another (`generating`, `in_language`).
    """

    generate: str

    def __init_subclass__(cls) -> None:
        cls.end_token = ENDS[cls.target_kind]
        super().__init_subclass__()

    @property
    def specials(self) -> tuple[str, ...]:
        """All task tokens, and this instance's generate token if it is another one."""
        return TASK_TOKENS if self.generate in TASK_TOKENS else (*TASK_TOKENS, self.generate)

    def generating(self, token: str) -> "TaskTemplate":
        """The same task with another generate token."""
        if not (token.startswith("<") and token.endswith(">") and len(token) > 2 and not token.split()[1:]):
            raise InputError(
                f"generate token '{token}': must be one word in angle brackets, e.g. <generatex>"
            )
        if token in TASK_TOKENS and not token.startswith("<generate"):
            raise InputError(f"generate token '{token}' has another meaning; choose another name")
        changed = copy.copy(self)
        changed.generate = token
        return changed

    def in_language(self, language: str) -> "TaskTemplate":
        """The same task into a named language: `<generatetranslation>` → `<generatetranslation_fr>`."""
        return self.generating(f"{type(self).generate[:-1]}_{language}>")

    def prompt(self, sample: Sample, vocabulary: Vocabulary) -> list[Segment]:
        """Start token, condition, generate token; the generate token alone where nothing is given."""
        if self.condition_kind is None:
            return [special(self.generate)]
        return [
            special(f"<startof{self.condition_kind}>"),
            Segment(self.condition_kind, sample[self.source]),
            special(self.generate),
        ]


class Asr(TaskTemplate):
    """Speech → its transcript."""

    name = "asr"
    condition_kind, target_kind, generate = "speech", "text", "<generatetext>"


class Tts(TaskTemplate):
    """Text → speech that says it."""

    name = "tts"
    condition_kind, target_kind, generate = "text", "speech", "<generatespeech>"


class SpeechTranslation(TaskTemplate):
    """Speech → text in another language."""

    name = "st"
    condition_kind, target_kind, generate = "speech", "text", "<generatetranslation>"
    target_field: ClassVar[str] = "target_text"


class MachineTranslation(TaskTemplate):
    """Text → text in another language."""

    name = "mt"
    condition_kind, target_kind, generate = "text", "text", "<generatetranslation>"
    target_field: ClassVar[str] = "target_text"


class Caption(TaskTemplate):
    """Image → a text that describes it."""

    name = "caption"
    condition_kind, target_kind, generate = "image", "text", "<generatecaption>"


class SpeechAlone(TaskTemplate):
    """Unlabelled speech."""

    name = "speech_lm"
    condition_kind, target_kind, generate = None, "speech", "<generatespeech>"


class TextAlone(TaskTemplate):
    """Unlabelled text."""

    name = "text_lm"
    condition_kind, target_kind, generate = None, "text", "<generatetext>"


class ImageAlone(TaskTemplate):
    """Unlabelled images."""

    name = "image_lm"
    condition_kind, target_kind, generate = None, "image", "<generateimage>"


UNLABELLED = {"speech": "speech_lm", "text": "text_lm", "image": "image_lm"}


def vocabulary_specials(templates: Iterable[Template], more: Iterable[str] = ()) -> tuple[str, ...]:
    """Special tokens of a model for these templates: the two inner ones, the task tokens, then others.

    Args:
        more: names to keep room for, e.g. of tasks that will be added later.
    """
    names = [TEXT_END, SPEECH_END]
    for token in [*(name for template in templates for name in template.specials), *more]:
        if token not in names:
            names.append(token)
    return tuple(names)
