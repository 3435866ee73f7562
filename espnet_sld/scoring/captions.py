"""Captions of one set: CIDEr, whether the class is named, error rates against the closest reference."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from espnet_sld.errors import InputError
from espnet_sld.files import read_table, write_table
from espnet_sld.scoring.cider import cider
from espnet_sld.scoring.error_rates import count_word_errors
from espnet_sld.scoring.result import Result, score_set


@dataclass(frozen=True)
class ClassCounts:
    """How many captions name the right class and no other, another one (too), or none."""

    right: int
    wrong: int
    none: int

    @property
    def accuracy(self) -> float:
        """Percent of captions that name the right class and no other."""
        return 100.0 * self.right / (self.right + self.wrong + self.none)


def read_captions(path: str | os.PathLike) -> dict[str, list[str]]:
    """`id<TAB>caption<TAB>caption…` lines → id → its references.

    Raises:
        InputError: the file is missing or not UTF-8, an id is doubled or has no caption.
    """
    path, captions = Path(path), {}
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run the stage that prepares the images first") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 ({error.reason} at byte {error.start}); convert it") from None
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        key, *texts = line.split("\t")
        texts = [" ".join(text.split()) for text in texts if text.strip()]
        if key in captions or not texts:
            what = "occurs twice" if key in captions else "has no caption"
            raise InputError(f"{path}:{number}: '{key}' {what}; write id<TAB>caption<TAB>caption…")
        captions[key] = texts
    if not captions:
        raise InputError(f"{path}: no captions; give the captions.tsv of the set that was decoded")
    return captions


def count_classes(captions: Sequence[str], labels: Sequence[str], classes: Iterable[str]) -> ClassCounts:
    """Compare the class words in N captions with N labels.

    A caption is right if the label is the only one of `classes` among its words, however often it occurs.
    """
    known = set(classes)
    right = wrong = none = 0
    for caption, label in zip(captions, labels, strict=True):
        named = known.intersection(caption.split())
        right += named == {label}
        none += not named
        wrong += bool(named) and named != {label}
    return ClassCounts(right, wrong, none)


def closest(caption: str, references: Sequence[str]) -> str:
    """The reference with the fewest word errors; the first among equals."""
    counts = count_word_errors(references, [caption] * len(references))
    return references[int(counts.errors.argmin())]


def score_captions(
    hyp_text: str | os.PathLike,
    captions_tsv: str | os.PathLike,
    out_dir: str | os.PathLike,
    meta: Mapping[str, Any] | None = None,
    *,
    labels: str | os.PathLike | None = None,
) -> Result:
    """Score one set's captions; write what `score_set` writes, and `ref.closest`.

    `wer`, `cer` and their counts are against each image's closest reference. Added to the result:
    `cider` (100 × mean CIDEr-D, as papers print it), `cider_variant`, `references`; with `labels`:
    `class_accuracy` (percent), `class_right`, `class_wrong`, `class_none`.

    Args:
        hyp_text: Kaldi `text` of the decoded captions.
        captions_tsv: the references, see `read_captions`.
        labels: `id word` lines, the class of every image; what is named there are the classes.

    Raises:
        InputError: images differ between the files.
    """
    hypotheses = read_table(hyp_text, allow_empty_value=True)
    references = read_captions(captions_tsv)
    _same_ids(hypotheses, hyp_text, references, captions_tsv)
    ids = sorted(references, key=str.encode)
    texts = [hypotheses[key] for key in ids]
    scores = cider(texts, [references[key] for key in ids])
    added: dict[str, Any] = {
        "cider": round(100.0 * sum(scores) / len(scores), 4),
        "cider_variant": "cider_d",
        "references": sum(len(references[key]) for key in ids),
    }
    if labels is not None:
        label_of = read_table(labels)
        _same_ids(hypotheses, hyp_text, label_of, labels)
        counts = count_classes(texts, [label_of[key] for key in ids], label_of.values())
        added |= {
            "class_accuracy": round(counts.accuracy, 4),
            "class_right": counts.right,
            "class_wrong": counts.wrong,
            "class_none": counts.none,
        }
    nearest = Path(out_dir) / "ref.closest"
    write_table(nearest, {key: closest(hypotheses[key], references[key]) for key in ids})
    return score_set(
        hyp_text, nearest, out_dir, {**(meta or {}), **added, "wer_reference": "closest caption"}
    )


def _same_ids(ours: Mapping[str, Any], our_file: Any, theirs: Mapping[str, Any], their_file: Any) -> None:
    for one, file, other, where in (
        (theirs, our_file, ours, their_file),
        (ours, their_file, theirs, our_file),
    ):
        if missing := sorted(set(one) - set(other)):
            raise InputError(
                f"{file}: lacks {len(missing)} images of {where} ({', '.join(missing[:5])}); "
                "give files of one set"
            )
