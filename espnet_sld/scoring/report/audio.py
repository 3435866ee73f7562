"""Recordings, synthesised speech and images inside the page: which, and their bytes as `data:` addresses."""

import base64
import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from espnet_sld.errors import InputError
from espnet_sld.scoring.report.payload import SetTable

RATE = 16000  # Hz: what front-ends hear
FORMATS = (("MP3", "audio/mpeg"), ("FLAC", "audio/flac"), ("WAV", "audio/wav"))
# (set, utterances) → utterance → samples (n,) float32 at RATE; what cannot be read is left out
Reader = Callable[[str, Sequence[str]], Mapping[str, np.ndarray]]
# the same for any experiment: (dump/raw, recipe's folder, set, utterances)
Source = Callable[[Path, Path, str, Sequence[str]], Mapping[str, np.ndarray]]
# images of a set as `data:` addresses: (folders with a folder for each set, recipe's folder, set, ids)
Pictures = Callable[[Sequence[Path], Path, str, Sequence[str]], Mapping[str, str]]
AT_ONCE = 50  # images that are read before it is seen whether there is room for more
SPEECH = "speech"  # data directory of synthesised speech, in a scored set's folder


@dataclass
class Audio:
    """What was embedded.

    Attributes:
        addresses: place of a table → utterance → `data:` address of its recording.
        spoken: place of a table → system → utterance → `data:` address of what it synthesised.
        size: characters of all addresses. dropped: utterances chosen that did not fit or could not be read.
    """

    addresses: dict[int, dict[str, str]] = field(default_factory=dict)
    spoken: dict[int, dict[str, dict[str, str]]] = field(default_factory=dict)
    size: int = 0
    dropped: list[str] = field(default_factory=list)
    format: str = ""

    @property
    def count(self) -> int:
        """Utterances that can be played."""
        return sum(
            len({*found, *(name for one in self.spoken.get(place, {}).values() for name in one)})
            for place, found in self.addresses.items()
        )


def choose_utterances(table: SetTable, number: int) -> list[str]:
    """Two thirds those of most interest that have errors, the rest a fixed sample of the others.

    The sample is by a hash of the id: another run of the command, or another experiment on the same set,
    draws the same utterances.
    """
    order = np.argsort(-table.interest, kind="stable").tolist()
    worst = [place for place in order if table.interest[place] > 0][: max(1, 2 * number // 3)][:number]
    rest = sorted(set(range(len(table.utterances))) - set(worst), key=lambda n: by_hash(table.utterances[n]))
    return [table.utterances[place] for place in (*worst, *rest[: number - len(worst)])]


def embed_audio(
    tables: Sequence[SetTable],
    read: Reader | None,
    spoken: Mapping[tuple[int, str], Reader] | None = None,
    *,
    number: int,
    max_bytes: int,
) -> Audio:
    """Audio of at most `number` utterances and `max_bytes` of the page, shared equally by the sets.

    Args:
        read: None: no audio is embedded.
        spoken: (system, set) → reads what it synthesised; such a set has both, with the recording.
    """
    audio = Audio()
    heard = [place for place, table in enumerate(tables) if table.kind.name != "caption"]
    if read is None or not heard or number < 1:
        return audio
    each, spare = divmod(number, len(heard))
    for turn, place in enumerate(heard):
        table = tables[place]
        chosen = choose_utterances(table, each + (turn < spare))
        room = max_bytes * (turn + 1) // len(heard)  # what one set leaves over, the next may use
        sources = {"": read(table.name, chosen) if chosen else {}}
        if table.kind.name == "synthesis":
            for index in table.systems:
                reader = (spoken or {}).get((index, table.name))
                sources[str(index)] = reader(table.name, chosen) if reader and chosen else {}
        found = audio.addresses.setdefault(place, {})
        for utterance in chosen:
            made = {}
            for source, samples in sources.items():
                if utterance in samples:
                    made[source], audio.format = encode(samples[utterance])
            if not made or audio.size + sum(map(len, made.values())) > room:
                audio.dropped.append(f"{table.name}/{utterance}")
                continue
            audio.size += sum(map(len, made.values()))
            if "" in made:
                found[utterance] = made.pop("")
            for source, address in made.items():
                audio.spoken.setdefault(place, {}).setdefault(source, {})[utterance] = address
    return audio


def embed_pictures(
    table: SetTable, read: Callable[[Sequence[str]], Mapping[str, str]], *, number: int, max_bytes: int
) -> dict[str, str]:
    """Images of a set as `data:` addresses, those of most interest first, within `max_bytes`."""
    chosen = choose_utterances(table, number)
    found, room = {}, max_bytes
    for start in range(0, len(chosen), AT_ONCE):
        part = chosen[start : start + AT_ONCE]
        images = read(part)
        fitting = 0
        for name in part:
            if name in images and len(images[name]) <= room:
                found[name] = images[name]
                room -= len(images[name])
                fitting += 1
        if not fitting:
            break
    return found


def encode(samples: np.ndarray, rate: int = RATE) -> tuple[str, str]:
    """A `data:` address, and the format: the smallest that this libsndfile writes and browsers play."""
    import soundfile

    available = soundfile.available_formats()
    for name, kind in FORMATS:
        if name not in available:
            continue
        stream = io.BytesIO()
        subtype = {"MP3": "MPEG_LAYER_III"}.get(name, "PCM_16")
        clipped = np.clip(np.asarray(samples, np.float32), -1.0, 1.0)
        soundfile.write(stream, clipped, rate, format=name, subtype=subtype)
        return f"data:{kind};base64,{base64.b64encode(stream.getvalue()).decode()}", name
    raise InputError(
        "soundfile writes neither MP3 nor FLAC nor WAV here; install it again (tools/install.sh)"
    )


def by_hash(text: str) -> bytes:
    """A key that puts ids in an order of its own, the same everywhere."""
    return hashlib.blake2b(text.encode(), digest_size=8).digest()
