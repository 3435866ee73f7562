"""Raw audio to text with a packed CTC recogniser, on discrete units or on filterbanks."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from espnet_sld.errors import InputError
from espnet_sld.inference.audio_tokens import AudioTokenizer
from espnet_sld.inference.ctc_checkpoint import TrainedCtc
from espnet_sld.inference.ctc_decoding import Recognised, recognise_rows
from espnet_sld.inference.long_audio import longest_piece, split_at_pauses
from espnet_sld.inference.speech2text import Speech2Text
from espnet_sld.inference.transcript import Segment, SpeechTokens, Transcript, Word

if TYPE_CHECKING:
    from espnet_sld.inference.unpack import Pack

MOST_SECONDS = 30.0  # longer recordings are cut at pauses: attention costs the square of the length


class CtcSpeech2Text(Speech2Text):
    """`Speech2Text` of a CTC recogniser: one pass, no search; see `Speech2Text.from_pretrained`.

    Args:
        trained: model and tokenizers. tokenizer: audio → unit tokens; None for filterbanks.
        options: `batch_tokens`. pack: where all this came from.
    """

    def __init__(
        self,
        trained: TrainedCtc,
        tokenizer: AudioTokenizer | None,
        options: dict[str, Any],
        pack: "Pack | None" = None,
    ):
        self.trained, self.tokenizer, self.pack = trained, tokenizer, pack
        self.options = {"batch_tokens": int(options.get("batch_tokens", 16384))}
        self.rate = tokenizer.front_end.sample_rate if tokenizer else trained.model.encoder.source.rate

    @classmethod
    def from_pack(
        cls, pack: "Pack", device: str = "cpu", frontend_source: str | None = None
    ) -> "CtcSpeech2Text":
        """Of an opened pack."""
        trained, tokenizer = pack.trained(device), None
        if trained.units is not None:
            front_end = pack.front_end(device, frontend_source)
            case = pack.units["case"]
            tokenizer = AudioTokenizer(front_end, pack.kmeans(), trained.units, case, device)
        return cls(trained, tokenizer, pack.info["decoding"], pack)

    def long_enough(self, samples: int) -> bool:
        """Whether so many samples give a frame of features."""
        return samples > 0 if self.tokenizer is None else super().long_enough(samples)

    def prompt(self, speech: SpeechTokens) -> np.ndarray:
        """A CTC recogniser has none."""
        raise InputError("a CTC model continues no prompt: it reads all frames at once")

    def transcribe(
        self,
        waves: Sequence[np.ndarray],
        word_times: bool = False,
        max_segment_seconds: float | None = None,
        batch_seconds: float = 60.0,
        **options: Any,
    ) -> list[Transcript]:
        """As `__call__`, for what `read` returned; options: `batch_tokens`, and `beam_size` if it is 1."""
        if options.pop("beam_size", 1) != 1:
            raise InputError("a packed CTC model decodes greedily, with beam_size 1; see bin.decode_ctc")
        if unknown := sorted(set(options) - set(self.options)):
            raise InputError(f"a packed CTC model has no option {unknown[0]}; known: batch_tokens")
        most = longest_piece(max_segment_seconds, MOST_SECONDS)
        spans: list[tuple[int, int, int]] = []  # recording, first sample, end
        for number, wave in enumerate(waves):
            parts = [(0, len(wave))]
            if len(wave) > most * self.rate:
                parts = split_at_pauses(wave, self.rate, most)
            spans += [(number, *part) for part in parts if self.long_enough(part[1] - part[0])]
        stretches = [waves[number][start:end] for number, start, end in spans]
        heard: list[SpeechTokens | None] = [None] * len(spans)
        if self.tokenizer is not None:
            heard = list(self.tokenizer(stretches, batch_seconds))
        rows = [wave if speech is None else speech.ids for wave, speech in zip(stretches, heard, strict=True)]
        found = recognise_rows(self.trained.model, rows, **{**self.options, **options})
        segments: list[list[Segment]] = [[] for _ in waves]
        for (number, start, end), speech, one in zip(spans, heard, found, strict=True):
            first, last = start / self.rate, end / self.rate
            words = self._words_of(one, speech, first, last) if word_times else ()
            text = self.trained.text(one.tokens)
            segment = Segment(first, last, text, one.score, "end", False, tuple(one.tokens), speech, words)
            segments[number].append(segment)
        return [
            Transcript(len(wave) / self.rate, tuple(parts))
            for wave, parts in zip(waves, segments, strict=True)
        ]

    def _words_of(
        self, found: Recognised, speech: SpeechTokens | None, start: float, end: float
    ) -> tuple[Word, ...]:
        """Words with the seconds of the frames at which CTC emits them: late rather than early, and short."""
        edges = np.linspace(start, end, found.num_frames + 1)
        if speech is not None:
            places = np.linspace(0, len(speech.ids), found.num_frames + 1).round().astype(int)
            edges = start + speech.bounds[places] * speech.frame_shift
        words: list[Word] = []
        decoded = self.trained.targets.decode
        for place, (frame, probability) in enumerate(zip(found.frames, found.probabilities, strict=True)):
            texts = decoded(found.tokens[: place + 1]).split()
            begin, stop = float(edges[frame]), float(edges[frame + 1])
            if len(texts) > len(words):
                words.append(Word(texts[-1], begin, stop, probability))
            elif words and texts and texts[-1] != words[-1].text:
                old = words[-1]
                words[-1] = Word(texts[-1], old.start, stop, old.confidence * probability)
        return tuple(words)
