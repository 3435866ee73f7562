"""A whole set decoded, timed and described: what `bin.decode` and `bin.generate` write down of it."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from espnet_sld.errors import InputError
from espnet_sld.files import read_table
from espnet_sld.inference.checkpoint import TrainedModel
from espnet_sld.inference.decoding import decode_set
from espnet_sld.inference.length_bound import LengthBound
from espnet_sld.inference.sampling import Sampled
from espnet_sld.progress import Progress
from espnet_sld.tokens.templates import Template


@dataclass(frozen=True)
class DecodedSet:
    """What came out.

    Attributes:
        outputs: utterance → text, unit text or image tokens. scores: utterance → Σ log p, four digits.
        truncated, loops: utterances that the length bound ended, and whose output repeats itself.
        seconds: of decoding alone.
    """

    outputs: dict[str, str]
    scores: dict[str, str]
    truncated: list[str]
    loops: list[str]
    seconds: float

    def record(self, trained: TrainedModel, durations: Mapping[str, float]) -> dict[str, Any]:
        """The model's, the speed's and the hypotheses' part of decode.json."""
        audio = sum(durations.values())
        conf = trained.config
        return {
            "model": trained.model.backbone.config.model_type,
            "n_params": trained.model.num_parameters(),
            "objective": (conf.get("criterion_conf") or {}).get("objective", conf["criterion"]),
            "seed": conf["seed"],
            "utterances": len(self.outputs),
            "audio_seconds": audio,
            "decode_seconds": self.seconds,
            "rtf": self.seconds / audio if audio else None,
            "truncated": len(self.truncated),
            "truncated_utterances": self.truncated,
            "loops": len(self.loops),
            "loop_utterances": self.loops,
        }


def decode_sources(
    trained: TrainedModel,
    template: Template,
    sources: Mapping[str, str],
    options: Mapping[str, float],
    *,
    title: str,
    bound: LengthBound | None,
    sampled: Sampled | None = None,
) -> DecodedSet:
    """Decode `sources`, utterance → the template's source as a string, and show the progress.

    Args:
        options: `beam_size`, `length_penalty`, `batch_tokens`.
        title: of the progress line. bound, sampled: see `decode_set`.

    Raises:
        InputError: see `decode_set`.
    """
    outputs: dict[str, str] = {}
    scores: dict[str, str] = {}
    truncated: list[str] = []
    loops: list[str] = []
    started = time.perf_counter()
    progress = Progress(len(sources), title)
    for utterance, output, hypothesis in decode_set(
        trained.model,
        trained.tokenizers,
        trained.vocabulary,
        template,
        ((utterance, {template.source: value}) for utterance, value in sources.items()),
        bound=bound,
        beam_size=int(options["beam_size"]),
        length_penalty=float(options["length_penalty"]),
        batch_tokens=int(options["batch_tokens"]),
        sampled=sampled,
        **trained.limits,
    ):
        outputs[utterance], scores[utterance] = output, f"{hypothesis.score:.4f}"
        if hypothesis.stopped == "length":
            truncated.append(utterance)
        if hypothesis.loops:
            loops.append(utterance)
        progress.update()
    progress.close()
    return DecodedSet(outputs, scores, truncated, loops, time.perf_counter() - started)


def read_durations(utt2dur: str | None, utterances: Sequence[str]) -> dict[str, float]:
    """Seconds of each utterance; none without a file. Raises InputError if one is missing or no number."""
    if not utt2dur:
        return {}
    try:
        durations = {key: float(value) for key, value in read_table(utt2dur).items()}
    except ValueError as error:
        raise InputError(f"{utt2dur}: seconds must be numbers ({error}); run stage 4 again") from None
    missing = [utterance for utterance in utterances if durations and utterance not in durations]
    if missing:
        raise InputError(
            f"{utt2dur}: no duration of {missing[0]} and {len(missing) - 1} more; run stage 4 again"
        )
    return durations
