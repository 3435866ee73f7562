"""Kaldi `text` files as a stream."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from espnet_sld.errors import InputError


def read_texts(paths: Sequence[str | Path]) -> Iterator[tuple[str, str]]:
    """Yield (utt_id, text) of Kaldi `text` files, one after the other; the text may be empty."""
    for path in map(Path, paths):
        try:
            with path.open(encoding="utf-8", newline="\n") as stream:
                for line in stream:
                    # Not split(): U+3000 and the like inside the text must stay.
                    utterance, _, text = line.rstrip("\r\n").replace("\t", " ", 1).partition(" ")
                    yield utterance, text.strip(" ")
        except FileNotFoundError:
            raise InputError(f"{path}: no such file; run the stage that writes it first") from None
        except UnicodeDecodeError as error:
            raise InputError(
                f"{path}: not UTF-8 ({error.reason} at byte {error.start}); convert it"
            ) from None
