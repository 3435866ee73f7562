"""How long the parts of a sequence may be, for any template."""

from dataclasses import dataclass

from espnet_sld.tokens.templates import Template

SPECIALS = 3  # start, generate and end token


@dataclass(frozen=True)
class Limits:
    """Positions of a sequence, and how many of them each modality's target keeps free.

    Attributes:
        max_positions: most tokens of a sequence.
        max_text: most tokens of a text target.
        max_speech, max_image: of the others; None = what a text of `max_text` tokens leaves.
    """

    max_positions: int
    max_text: int
    max_speech: int | None = None
    max_image: int | None = None

    def target(self, template: Template) -> int:
        """Most target tokens of a template, the end token not counted; without a condition, all positions."""
        if template.condition_kind is None:
            return self.max_positions
        if template.target_kind == "text":
            return self.max_text
        own = self.max_speech if template.target_kind == "speech" else self.max_image
        return max(1, self.max_positions - self.max_text - SPECIALS) if own is None else own
