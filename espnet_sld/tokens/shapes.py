"""Lengths of all sequences of a set, and statistics of them (stage 6)."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from espnet_sld.errors import InputError
from espnet_sld.files import atomic_write, read_table, write_json
from espnet_sld.progress import Progress
from espnet_sld.stamps import Stamp
from espnet_sld.tokens.sequence import assemble
from espnet_sld.tokens.subword import Tokenizer
from espnet_sld.tokens.templates import get_template
from espnet_sld.tokens.texts import read_texts
from espnet_sld.tokens.vocabulary import Vocabulary

SHOWN = 5
SHAPES = ("speech_shape", "text_shape", "sequence_shape")


class Lengths:
    """Running count, sum, smallest and largest."""

    def __init__(self) -> None:
        self.count, self.total, self.low, self.high = 0, 0, 0, 0

    def add(self, length: int) -> None:
        self.low = min(self.low, length) if self.count else length
        self.high = max(self.high, length)
        self.count, self.total = self.count + 1, self.total + length

    def report(self) -> dict[str, float]:
        mean = round(self.total / self.count, 3) if self.count else 0.0
        return {"total": self.total, "mean": mean, "min": self.low, "max": self.high}


def collect_shapes(
    speech_text: str | Path,
    text: str | Path,
    speech_tokenizer: Tokenizer,
    text_tokenizer: Tokenizer,
    out_dir: str | Path,
    *,
    template: str = "asr_sld",
    max_positions: int = 1024,
    max_text: int = 150,
) -> dict[str, Any]:
    """Write `speech_shape`, `text_shape`, `sequence_shape` (`utt N`) and `length_stats.json`; skip if fresh.

    `speech_shape` and `text_shape` are the lengths before any cut, without end tokens; `sequence_shape` is
    the length that the model sees, end tokens included. In length_stats.json, `max_text_per_speech` is the
    largest ratio of text tokens to speech tokens kept, and `text.max` the longest text: decoding need not go
    beyond `min(text.max, ceil(max_text_per_speech · speech tokens kept))`, the end token and some slack.

    Args:
        speech_text: unit text (`utt characters`); utt2dur beside it gives tokens per second.
        text: transcripts.
        template, max_positions, max_text: as in training (see `assemble`).

    Raises:
        InputError: an utterance has no partner, no units, or characters that are no units.
    """
    speech_text, text, out_dir = Path(speech_text), Path(text), Path(out_dir)
    form = get_template(template)
    vocabulary = Vocabulary(text=text_tokenizer.size, speech=speech_tokenizer.size)
    utt2dur = speech_text.parent / "utt2dur"
    options = {
        "template": template,
        "max_positions": max_positions,
        "max_text": max_text,
        "speech_tokenizer": speech_tokenizer.describe(),
        "text_tokenizer": text_tokenizer.describe(),
        "vocabulary": vocabulary.as_dict(),
    }
    names = [*SHAPES, "length_stats.json"]
    stamp = Stamp(
        out_dir / "shapes.done.json",
        inputs=[speech_text, text, utt2dur],
        options=options,
        outputs=[out_dir / name for name in names],
    )
    if stamp.fresh():
        return stamp.result()
    stamp.withdraw()

    lengths = {name: Lengths() for name in ("speech", "text", "sequence")}
    counts = dict.fromkeys(
        ("cut_utterances", "cut_tokens", "cut_texts", "units", "unknown_units", "unknown_text"), 0
    )
    ratio = 0.0
    with ExitStack() as stack:
        files = [stack.enter_context(atomic_write(out_dir / name)) for name in SHAPES]
        for utterance, unit_text, words in _pairs(speech_text, text):
            if not unit_text:
                raise InputError(f"{speech_text}: utterance {utterance} has no units; run stage 4 again")
            try:
                speech = speech_tokenizer.encode(unit_text)
            except InputError as error:
                raise InputError(f"{speech_text}: utterance {utterance}: {error}") from None
            target = text_tokenizer.encode(words)
            counts["units"] += len(unit_text)
            if speech_tokenizer.unknown_id in speech:
                counts["unknown_units"] += speech_tokenizer.count_unknown(unit_text)
            if text_tokenizer.unknown_id in target:
                counts["unknown_text"] += text_tokenizer.count_unknown(words)
            segments = form.training({"speech": speech, "text": target}, vocabulary)
            sequence = assemble(segments, vocabulary, max_positions, max_text)
            counts["cut_utterances"] += sequence.cut > 0
            counts["cut_tokens"] += sequence.cut
            counts["cut_texts"] += sequence.cut_target > 0
            ratio = max(ratio, len(target) / max(1, len(speech) - sequence.cut))
            sizes = (len(speech), len(target), len(sequence.tokens))
            for stream, tally, size in zip(files, lengths.values(), sizes, strict=True):
                stream.write(f"{utterance} {size}\n")
                tally.add(size)
    report = {
        **options,
        "utterances": lengths["speech"].count,
        **{name: tally.report() for name, tally in lengths.items()},
        **counts,
        "unknown_unit_rate": counts["unknown_units"] / counts["units"],
        "max_text_per_speech": ratio,
        **_rates(utt2dur, lengths),
    }
    write_json(out_dir / "length_stats.json", report, sort_keys=True)
    stamp.write(**report)
    return report


def _pairs(speech_text: Path, text: Path) -> Iterator[tuple[str, str, str]]:
    """Yield (utterance, unit text, transcript) in the order of `speech_text`; both have the same ids."""
    transcripts: dict[str, str] = {}
    for utterance, words in read_texts([text]):
        if utterance in transcripts:
            raise InputError(f"{text}: utterance {utterance} occurs twice; make it again (stage 4)")
        transcripts[utterance] = words
    without: list[str] = []
    progress = Progress(len(transcripts), "lengths")
    for utterance, unit_text in read_texts([speech_text]):
        words = transcripts.pop(utterance, None)
        if words is None:
            without.append(utterance)
            continue
        yield utterance, unit_text, words
        progress.update()
    for ids, inside, outside in ((without, speech_text, text), (sorted(transcripts), text, speech_text)):
        if ids:
            raise InputError(
                f"{len(ids)} utterances of {inside} are not in {outside} (or twice in the former): "
                f"{' '.join(ids[:SHOWN])}{' …' * (len(ids) > SHOWN)}; make both again (stage 4)"
            )
    if not progress.done:
        raise InputError(f"{speech_text}: no utterances; run stage 4 again")
    progress.close()


def _rates(utt2dur: Path, lengths: dict[str, Lengths]) -> dict[str, float]:
    """Seconds and tokens per second, where durations are known."""
    if not utt2dur.exists():
        return {}
    seconds = sum(float(value) for value in read_table(utt2dur).values())
    return {
        "seconds": round(seconds, 3),
        "speech_tokens_per_second": round(lengths["speech"].total / seconds, 3),
        "text_tokens_per_second": round(lengths["text"].total / seconds, 3),
    }
