"""Decoding through soundfile: files, audio inside Kaldi arks, the output of commands (no shell)."""

import io
import os
import re
import shlex
import struct
import subprocess
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from espnet_sld.errors import InputError

REMOVE = "copy it again, or remove it (utils/fix_data_dir --check_audio true DIR)"
# Sizes that programs writing to a pipe put into a WAV header: "unknown".
UNKNOWN_WAV_SIZE = 0x7FFFF000
# soundfile reports this order of magnitude for a stream whose header does not give its length.
UNKNOWN_FRAMES = 2**40
BLOCK = 2**20
OGG, OGG_PAGE = b"OggS", 27 + 255 + 255 * 255  # how a page begins, most bytes that it has
NIST_HEADER = 1024  # bytes, as good as always
NIST_NUMBER = re.compile(rb"^(\w+) -i (\d+)", re.MULTILINE)
SHELL_ONLY = ("&", ";", "<", ">", "`", "$(", "*")


class Recording(NamedTuple):
    """Samples (frames, channels) float32 at full scale ±1, and their rate in Hz."""

    samples: np.ndarray
    rate: int


def read_file(source: str | os.PathLike | BinaryIO, where: str) -> Recording:
    """Decode a sound file, and make sure that all of it is there.

    Decoders return what they find: a WAV cut short reads as a shorter recording. So the samples are
    counted against the header, and Ogg, whose header does not tell, is searched for the mark of its end.
    An MP3 without a length in its first frame (Xing's) cannot be checked.
    """
    import soundfile

    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        if not path.is_file():
            raise InputError(f"{where}: no such file (relative paths start at {Path.cwd()}); correct wav.scp")
        if path.stat().st_size == 0:
            raise InputError(f"{where}: is empty (0 bytes); {REMOVE}")
        try:
            stream = path.open("rb")
        except PermissionError:
            raise InputError(f"{where}: permission denied; check owner and mode") from None
        with stream:
            return read_file(stream, where)
    missing = missing_bytes(source)
    if missing:
        raise InputError(f"{where}: truncated, {missing} bytes are missing at the end; {REMOVE}")
    if not ogg_ends(source):
        raise InputError(
            f"{where}: truncated, this Ogg stream has no end; {REMOVE}. A whole one whose writer did not "
            "mark its end is mended by `ffmpeg -i OLD.ogg -c copy NEW.ogg`"
        )
    try:
        with soundfile.SoundFile(source) as sound:
            rate, frames = sound.samplerate, sound.frames
            if frames >= UNKNOWN_FRAMES:
                samples, frames = _read_to_end(sound), -1
            else:
                samples = sound.read(dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, RuntimeError, ValueError) as error:
        # libsndfile's own words: the whole message would name our stream object
        reason = getattr(error, "error_string", str(error)).strip() or type(error).__name__
        raise InputError(f"{where}: cannot be decoded, truncated or corrupt ({reason}); {REMOVE}") from None
    if frames >= 0 and samples.shape[0] != frames:
        raise InputError(
            f"{where}: truncated or corrupt, {samples.shape[0]} of {frames} samples decoded; {REMOVE}"
        )
    return Recording(samples, rate)


def _read_to_end(sound) -> np.ndarray:
    blocks = [np.zeros((0, sound.channels), np.float32)]
    while len(block := sound.read(BLOCK, dtype="float32", always_2d=True)):
        blocks.append(block)
    return np.concatenate(blocks)


def missing_bytes(stream: BinaryIO) -> int:
    """Bytes that a WAV, AIFF or NIST SPHERE header promises and the stream lacks; 0 for other formats.

    The stream is left at its start.
    """
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    head, missing = stream.read(12), 0
    if head[:4] == b"RIFF" and head[8:] == b"WAVE":
        while len(chunk := stream.read(8)) == 8:
            (length,) = struct.unpack("<I", chunk[4:])
            if chunk[:4] == b"data":
                missing = 0 if length >= UNKNOWN_WAV_SIZE else max(0, stream.tell() + length - size)
                break
            stream.seek(length + length % 2, os.SEEK_CUR)
    elif head[:4] == b"RF64":
        (length,) = struct.unpack("<Q", stream.read(16)[8:].ljust(8, b"\0"))  # of the ds64 chunk
        missing = max(0, 8 + length - size)
    elif head[:4] == b"FORM":
        missing = max(0, 8 + int.from_bytes(head[4:8], "big") - size)
    elif head[:8] == b"NIST_1A\n":
        stream.seek(0)
        header = stream.read(NIST_HEADER)
        fields = dict(NIST_NUMBER.findall(header))
        if (
            b"sample_count" in fields and b"shorten" not in header
        ):  # compressed: the decoder's message is better
            width = int(fields.get(b"channel_count", 1)) * int(fields.get(b"sample_n_bytes", 2))
            missing = max(0, NIST_HEADER + int(fields[b"sample_count"]) * width - size)
    stream.seek(0)
    return missing


def ogg_ends(stream: BinaryIO) -> bool:
    """Whether an Ogg stream's last page is whole and marked as the last (RFC 3533, section 6); others: True.

    A page: `OggS`, version, flags (4: end of stream), 20 bytes, the number of segments, their lengths.
    The stream is left at its start.
    """
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    head = stream.read(len(OGG))
    stream.seek(max(0, size - OGG_PAGE))
    tail = stream.read()
    stream.seek(0)
    if head != OGG:
        return True
    start = tail.rfind(OGG)
    while start >= 0:  # the four letters may also be part of the audio
        page = tail[start:]
        segments = page[26] if len(page) > 26 else 0
        lengths = page[27 : 27 + segments]
        if len(lengths) == segments and 27 + segments + sum(lengths) == len(page):
            return bool(page[5] & 4)
        start = tail.rfind(OGG, 0, start)
    return False


def read_ark(path: str, offset: int, where: str) -> Recording:
    """Decode the audio at a byte offset of a Kaldi ark, as Kaldi or kaldiio write it.

    That is a WAV or FLAC file itself, or `AUDIO`, one byte n, a length of n bytes, and a sound file.
    Read here and not by kaldiio, which unpickles what is marked `PKL` and does not notice a short ark.
    """
    try:
        with open(path, "rb") as stream:
            stream.seek(offset)
            mark = stream.read(8)
            stream.seek(offset)
            if mark.startswith(b"AUDIO"):
                stream.seek(len(b"AUDIO") + 1, os.SEEK_CUR)
                length = int.from_bytes(stream.read(mark[5]), "little") if len(mark) > 5 else 0
            elif mark.startswith(b"RIFF"):
                length = 8 + int.from_bytes(mark[4:8], "little")
            elif mark.startswith(b"fLaC"):
                length = UNKNOWN_WAV_SIZE
            else:
                raise InputError(
                    f"{where}: no audio at this offset of the ark (found {mark!r}); "
                    "write the ark and its scp again, as wav or flac"
                )
            content = stream.read(length if length < UNKNOWN_WAV_SIZE else -1)
    except FileNotFoundError:
        raise InputError(f"{where}: no such file: {path}; correct wav.scp") from None
    if len(content) < length < UNKNOWN_WAV_SIZE:
        raise InputError(
            f"{where}: the ark is truncated, {length - len(content)} bytes are missing; {REMOVE}"
        )
    return read_file(io.BytesIO(content), where)


def read_pipe(source: str, where: str) -> bytes:
    """Output of `program arguments |` or `program … | program … |`.

    No shell is involved: quotes are understood, but neither redirection, variables nor wildcards.
    """
    commands: list[list[str]] = [[]]
    try:
        lexer = shlex.shlex(source.strip(), posix=True, punctuation_chars="|")
        lexer.whitespace_split, lexer.commenters = True, ""  # a # is a letter of a file's name
        for token in lexer:
            if token == "|":
                commands.append([])
            else:
                commands[-1].append(token)
    except ValueError as error:
        raise InputError(f"{where}: cannot be split into words ({error}); check its quotes") from None
    if commands[-1] or not all(commands[:-1]) or len(commands) < 2:
        raise InputError(f"{where}: is not of the form `program arguments |`; correct wav.scp")
    commands.pop()
    odd = [token for command in commands for token in command if any(mark in token for mark in SHELL_ONLY)]
    if odd:
        raise InputError(
            f"{where}: '{odd[0]}' would need a shell, and commands run without one; "
            "put the command into a script of your own, or convert the audio to files"
        )
    output = b""
    for command in commands:
        try:
            done = subprocess.run(command, input=output, capture_output=True, check=False)
        except OSError as error:
            raise InputError(f"{where}: cannot run '{command[0]}' ({error.strerror}); install it") from None
        if done.returncode:
            tail = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
            raise InputError(
                f"{where}: '{command[0]}' failed with exit code {done.returncode}: {' '.join(tail)}; "
                "run the command by hand"
            )
        output = done.stdout
    if not output:
        raise InputError(f"{where}: the command wrote nothing; run it by hand")
    return output
