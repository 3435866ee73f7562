"""Audio inside the page: which utterances, and their bytes as `data:` addresses."""

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


@dataclass
class Audio:
    """What was embedded.

    Attributes:
        addresses: set → utterance → `data:` address.
        size: characters of all addresses. dropped: utterances chosen that did not fit or could not be read.
    """

    addresses: dict[str, dict[str, str]] = field(default_factory=dict)
    size: int = 0
    dropped: list[str] = field(default_factory=list)
    format: str = ""

    @property
    def count(self) -> int:
        """Utterances that can be played."""
        return sum(map(len, self.addresses.values()))


def choose_utterances(table: SetTable, number: int) -> list[str]:
    """Two thirds those of most interest that have errors, the rest a fixed sample of the others.

    The sample is by a hash of the id: another run of the command, or another experiment on the same set,
    draws the same utterances.
    """
    order = np.argsort(-table.interest, kind="stable").tolist()
    worst = [place for place in order if table.interest[place] > 0][: max(1, 2 * number // 3)][:number]
    rest = sorted(set(range(len(table.utterances))) - set(worst), key=lambda n: _hash(table.utterances[n]))
    return [table.utterances[place] for place in (*worst, *rest[: number - len(worst)])]


def embed_audio(tables: Sequence[SetTable], read: Reader | None, *, number: int, max_bytes: int) -> Audio:
    """Audio of at most `number` utterances and `max_bytes` of the page, shared equally by the sets.

    Args:
        read: None: no audio is embedded.
    """
    audio = Audio()
    if read is None or not tables or number < 1:
        return audio
    each, spare = divmod(number, len(tables))
    for place, table in enumerate(tables):
        chosen = choose_utterances(table, each + (place < spare))
        room = max_bytes * (place + 1) // len(tables)  # what one set leaves over, the next may use
        samples = read(table.name, chosen) if chosen else {}
        found = audio.addresses.setdefault(table.name, {})
        for utterance in chosen:
            address = None
            if utterance in samples:
                address, audio.format = encode(samples[utterance])
            if address is None or audio.size + len(address) > room:
                audio.dropped.append(f"{table.name}/{utterance}")
                continue
            found[utterance] = address
            audio.size += len(address)
    return audio


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


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=8).digest()
