"""What was decoded: transcripts, translations, captions or speech; each kind has its own figures."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Kind:
    """One kind of output.

    Attributes:
        title: heading of its table. output: what the page calls the model's words in an alignment.
        unit: what an item of its sets is. note: what a set's references and words are, where it needs saying.
        own_references: every system is scored against references of its own (the closest of several).
    """

    name: str
    title: str
    output: str = "heard"
    unit: str = "utterances"
    note: str = ""
    own_references: bool = False


KINDS = {
    kind.name: kind
    for kind in (
        Kind("recognition", "Recognition"),
        Kind("translation", "Translation", "translated", note="Errors are against the reference."),
        Kind(
            "caption", "Captions", "written", "images",
            "Errors are against the closest of each image's reference captions.", True,
        ),
        Kind(
            "synthesis", "Synthesised speech",
            note="Errors are those of what another recogniser heard in the synthesised speech, against the "
            "text that was to be spoken: they have errors of that recogniser in them.",
        ),
    )
}  # fmt: skip


def kind_of(result: Mapping[str, Any]) -> Kind:
    """The kind of a scored set, from what its `result.json` measures.

    Not from its decode tag: that is the user's to choose.
    """
    if result.get("bleu") is not None:
        return KINDS["translation"]
    if result.get("cider") is not None:
        return KINDS["caption"]
    if result.get("mcd_db") is not None or result.get("task") == "tts":
        return KINDS["synthesis"]
    return KINDS["recognition"]
