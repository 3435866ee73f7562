"""Writing 16-bit WAV files whole, and telling whether one is."""

import io
import os
import re
import tempfile
from pathlib import Path

import numpy as np

HEADER_BYTES = 44
# `<utterance>.<digest>.wav`, as the corpora name their files, and the temporaries of `write_wav`.
OURS = re.compile(r".+\.[0-9a-f]{10}\.wav|\..+\.wav\..+\.tmp")


def write_wav(path: str | os.PathLike, samples: np.ndarray, rate: int = 16000) -> None:
    """Write samples (n,) float32 at full scale ±1 as 16-bit PCM, clipped, under the final name at the end.

    No fsync: thousands of small files would wait for the disk one by one, and `whole_wav_seconds` tells
    after a power cut which of them are not whole.
    """
    import soundfile

    path = Path(path)
    pcm = np.clip(np.round(samples * 32768.0), -32768, 32767).astype(np.int16)
    # By way of memory: libsndfile's callbacks lose the OSError of a full disk.
    content = io.BytesIO()
    soundfile.write(content, pcm, rate, subtype="PCM_16", format="WAV")
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content.getbuffer())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def whole_wav_seconds(path: str | os.PathLike, rate: int = 16000) -> float | None:
    """Seconds of a file that `write_wav` wrote; None if it is missing or not whole."""
    try:
        size = os.stat(path).st_size
        with open(path, "rb") as stream:
            header = stream.read(HEADER_BYTES)
    except FileNotFoundError:
        return None
    if header[:4] != b"RIFF" or header[36:40] != b"data" or size <= HEADER_BYTES:
        return None
    length = int.from_bytes(header[40:44], "little")
    return length / (2 * rate) if length == size - HEADER_BYTES else None


def remove_others(folder: Path, keep: set[str]) -> None:
    """Delete wavs of earlier options, and temporaries that a kill left; never files named by others."""
    for path in folder.iterdir():
        if path.name not in keep and OURS.fullmatch(path.name):
            path.unlink(missing_ok=True)
