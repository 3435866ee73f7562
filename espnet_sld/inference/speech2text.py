"""Raw audio to text with a packed model: the way of stages 4 to 8, without a recipe."""

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from espnet_sld.errors import InputError
from espnet_sld.inference.audio_tokens import AudioTokenizer
from espnet_sld.inference.checkpoint import TrainedModel
from espnet_sld.inference.decoding import decode_set
from espnet_sld.inference.length_bound import LengthBound
from espnet_sld.inference.long_audio import energies, longest_piece, speech_frames, split_at_pauses
from espnet_sld.inference.recordings import Audio, read_recording
from espnet_sld.inference.token_times import time_words
from espnet_sld.inference.transcript import Segment, SpeechTokens, Transcript, Word
from espnet_sld.inference.unpack import Pack
from espnet_sld.tokens.sequence import assemble

_Span = tuple[int, int, int]  # recording, first sample, end
SHORTEST = 1.0  # seconds; a piece that is over the positions although this short is cut, as in stage 8


class _Piece(NamedTuple):
    """A stretch of a recording that is decoded as one: recording, first sample, samples, their tokens."""

    recording: int
    start: int
    wave: np.ndarray
    speech: SpeechTokens


class Speech2Text:
    """Transcribes waveforms and sound files; see `from_pretrained`.

    Args:
        trained: model, vocabulary, tokenizers, template. tokenizer: audio → speech tokens.
        bound: of the output's length.
        options: of generation: `beam_size`, `length_penalty`, `batch_tokens`.
        lengths: of the training set: `longest_speech` (tokens), `speech_tokens_per_second` (or None).
        pack: where all this came from.
    """

    def __init__(
        self,
        trained: TrainedModel,
        tokenizer: AudioTokenizer,
        bound: LengthBound,
        options: dict[str, Any],
        lengths: dict[str, Any],
        pack: Pack | None = None,
    ):
        self.trained, self.tokenizer, self.bound, self.pack = trained, tokenizer, bound, pack
        names = ("beam_size", "length_penalty", "batch_tokens")
        self.options = {name: options[name] for name in names if name in options}
        self.rate = tokenizer.front_end.sample_rate
        vocabulary, template = trained.vocabulary, trained.template
        end = vocabulary.id(template.end_token)
        text = vocabulary.range(template.target_kind)
        self.allowed = [index for index in text if index != trained.model.pad_id] + [end]
        # speech tokens that fit, and the seconds that they take on average, or as many as trained on
        specials = len(self._assemble(np.zeros(1, np.int64)).tokens)
        room = trained.limits["max_positions"] - trained.limits["max_text"] - specials
        rate = lengths.get("speech_tokens_per_second") or 1 / tokenizer.front_end.frame_shift
        self.max_seconds = max(room, 1) / rate
        self.piece_seconds = max(SHORTEST, min(room, lengths.get("longest_speech") or room) / rate)

    @classmethod
    def from_pretrained(
        cls,
        source: str | os.PathLike,
        *,
        device: str = "cpu",
        digest: str | None = None,
        revision: str | None = None,
        frontend_source: str | None = None,
        **options: Any,
    ) -> "Speech2Text":
        """Load a pack: a directory, a zip, or a name on the Hugging Face hub. All digests are verified.

        Args:
            device: torch device of front-end, k-means and model.
            digest: of the pack, as `pack` printed it; another pack is refused.
            revision: branch, tag or commit on the hub.
            frontend_source: local checkpoint of the front-end, for packs that name it without bringing it.
            options: more for `Pack.open`.

        Raises:
            InputError: no such pack, or it was changed; no such device; the front-end is not to be had.
        """
        _check_device(device)
        pack = Pack.open(source, digest=digest, revision=revision, **options)
        if pack.info.get("task") == "ctc":
            from espnet_sld.inference.ctc_speech2text import CtcSpeech2Text

            return CtcSpeech2Text.from_pack(pack, device, frontend_source)
        try:
            trained, info = pack.trained(device), pack.info
            front_end, units = pack.front_end(device, frontend_source), trained.tokenizers["speech"]
            tokenizer = AudioTokenizer(front_end, pack.kmeans(), units, info["units"]["case"], device)
            decoding, lengths = info["decoding"], info["lengths"]
            bound = LengthBound(
                float(lengths["max_text_per_speech"]),
                trained.limits["max_text"],
                float(decoding["length_margin"]),
                int(decoding["length_constant"]),
            )
        except (KeyError, TypeError) as error:
            raise InputError(f"{pack.root}: its configuration lacks {error}; pack it again") from None
        return cls(trained, tokenizer, bound, decoding, lengths, pack)

    def __call__(
        self,
        audio: Audio | Sequence[Audio],
        rate: int | Sequence[int] | None = None,
        *,
        word_times: bool = False,
        max_segment_seconds: float | None = None,
        batch_seconds: float = 60.0,
        **options: Any,
    ) -> Transcript | list[Transcript]:
        """Transcribe one recording, or a list of them together.

        Args:
            audio: path of a sound file, or samples (n,) or (n, channels): float at full scale ±1, or integers
                of their type's full scale. Channels are averaged.
            rate: of the samples in Hz, one for all or one each; files bring their own.
            word_times: also find when each word was said (approximate, see `token_times`); takes longer.
            max_segment_seconds: cut recordings that are longer at pauses; None: only those that do not fit
                the model's positions, into pieces no longer than what it was trained on.
            batch_seconds: audio that the front-end sees at once.
            options: `beam_size`, `length_penalty`, `batch_tokens`; default: the pack's.

        Returns:
            a `Transcript`, or a list of them in the order of `audio`.

        Raises:
            InputError: a file that cannot be read, samples without a rate, or audio shorter than a frame.
        """
        many = isinstance(audio, Sequence) and not isinstance(audio, str)
        items = list(audio) if many else [audio]
        rates = list(rate) if isinstance(rate, Sequence) else [rate] * len(items)
        if len(rates) != len(items):
            raise InputError(f"{len(items)} recordings and {len(rates)} rates: give one for all, or one each")
        named = enumerate(zip(items, rates, strict=True), 1)
        waves = [self.read(item, each, f"recording {number}") for number, (item, each) in named]
        found = self.transcribe(waves, word_times, max_segment_seconds, batch_seconds, **options)
        return found if many else found[0]

    def read(self, audio: Audio, rate: int | None = None, name: str = "audio") -> np.ndarray:
        """A recording as the front-end takes it: samples (n,) float32, mono, at its rate.

        Raises:
            InputError: it cannot be read, holds nothing, or is shorter than a frame.
        """
        wave = read_recording(audio, rate, self.rate, name)
        name = str(audio) if isinstance(audio, str | os.PathLike) else name
        if not self.long_enough(len(wave)):
            raise InputError(f"{name}: {len(wave) / self.rate:.4f} s are too short for one frame of features")
        return wave

    def long_enough(self, samples: int) -> bool:
        """Whether so many samples give a frame of features."""
        return self.tokenizer.front_end.num_frames(samples) > 0

    def transcribe(
        self,
        waves: Sequence[np.ndarray],
        word_times: bool = False,
        max_segment_seconds: float | None = None,
        batch_seconds: float = 60.0,
        **options: Any,
    ) -> list[Transcript]:
        """As `__call__`, for what `read` returned."""
        unknown = sorted(set(options) - {"beam_size", "length_penalty", "batch_tokens"})
        if unknown:
            raise InputError(
                f"Speech2Text has no option {unknown[0]}; known: beam_size length_penalty batch_tokens"
            )
        options = {**self.options, **options}
        pieces = self._pieces(waves, max_segment_seconds, batch_seconds)
        trained = self.trained
        found = decode_set(
            trained.model,
            trained.tokenizers,
            trained.vocabulary,
            trained.template,
            ((str(n), {"speech": piece.speech.text}) for n, piece in enumerate(pieces)),
            bound=self.bound,
            **options,
            **trained.limits,
        )
        segments: list[list[Segment]] = [[] for _ in waves]
        for piece, (_, text, hypothesis) in zip(pieces, found, strict=True):
            start = piece.start / self.rate
            ids = trained.vocabulary.to_local(trained.template.target_kind, hypothesis.ids).tolist()
            words = self._words(piece, ids, hypothesis.ids, options) if word_times else ()
            segments[piece.recording].append(
                Segment(
                    start,
                    start + len(piece.wave) / self.rate,
                    text,
                    hypothesis.score,
                    hypothesis.stopped,
                    hypothesis.loops,
                    tuple(ids),
                    piece.speech,
                    words,
                )
            )
        return [
            Transcript(len(wave) / self.rate, tuple(sorted(parts, key=lambda part: part.start)))
            for wave, parts in zip(waves, segments, strict=True)
        ]

    def prompt(self, speech: SpeechTokens) -> np.ndarray:
        """Joint ids (P,) that the model continues: what to send to a server of the exported model."""
        return self._assemble(speech.ids).tokens

    def _assemble(self, ids: np.ndarray) -> Any:
        trained = self.trained
        segments = trained.template.prompt({trained.template.condition_kind: ids}, trained.vocabulary)
        return assemble(segments, trained.vocabulary, **_limits(trained))

    def _pieces(
        self, waves: Sequence[np.ndarray], max_segment_seconds: float | None, batch_seconds: float
    ) -> list[_Piece]:
        """All recordings as pieces that fit the positions, those of one recording in the order of time."""
        most = longest_piece(max_segment_seconds, np.inf)

        def split(number: int, start: int, end: int) -> list[_Span]:
            seconds = min(self.piece_seconds, most, 0.6 * (end - start) / self.rate)
            spans = split_at_pauses(waves[number][start:end], self.rate, seconds)
            return [(number, start + first, start + last) for first, last in spans]

        spans: list[_Span] = []
        for number, wave in enumerate(waves):
            # what may fit is tried whole: how many tokens it is shows only then
            fits = len(wave) <= min(2 * self.max_seconds, most) * self.rate
            spans += [(number, 0, len(wave))] if fits else split(number, 0, len(wave))
        pieces: list[_Piece] = []
        while spans:
            spans = [span for span in spans if self.long_enough(span[2] - span[1])]
            stretches = [waves[number][start:end] for number, start, end in spans]
            tokens = self.tokenizer(stretches, batch_seconds)
            over: list[_Span] = []
            for span, wave, speech in zip(spans, stretches, tokens, strict=True):
                if self._assemble(speech.ids).cut and len(wave) > SHORTEST * self.rate:
                    over += split(*span)
                else:
                    pieces.append(_Piece(span[0], span[1], wave, speech))
            spans = over
        return pieces

    def _words(
        self, piece: _Piece, ids: list[int], joint: Sequence[int], options: dict[str, Any]
    ) -> tuple[Word, ...]:
        prompt = self.prompt(piece.speech)
        block = self.trained.vocabulary.range(self.trained.template.condition_kind)
        heard = np.flatnonzero((prompt >= block.start) & (prompt < block.stop))
        words = time_words(
            self.trained.model,
            self.trained.tokenizers[self.trained.template.target_kind],
            prompt,
            len(heard),
            piece.speech,
            ids,
            joint,
            self.allowed,
            speech_frames(energies(piece.wave, self.rate)),
            int(options.get("batch_tokens", 16384)),
            lead=int(heard[0]),
        )
        offset = piece.start / self.rate
        return tuple(Word(w.text, w.start + offset, w.end + offset, w.confidence) for w in words)


def _limits(trained: TrainedModel) -> dict[str, int]:
    return {"max_positions": trained.limits["max_positions"], "max_target": trained.limits["max_text"]}


def _check_device(device: str) -> None:
    import torch

    try:
        kind = torch.device(device).type
    except RuntimeError:
        raise InputError(f"device '{device}': no such device; use cpu or cuda") from None
    if kind == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device {device}: no GPU is here; use cpu")
