"""One part of LibriSpeech on disk: `<reader>/<chapter>/<reader>-<chapter>-<number>.flac` and transcripts."""

import hashlib
import os
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from espnet_sld.corpus.data_dir import DataDir
from espnet_sld.corpus.tables import Problem
from espnet_sld.errors import InputError
from espnet_sld.progress import track

SAMPLE_RATE = 16000
SHOWN_PER_KIND = 5


@dataclass
class Listing:
    """The files of a part, from the folders alone.

    Attributes:
        flacs: utterance → file.
        chapters: (reader, chapter) → its folder.
        digest: of names, sizes and modification times; unchanged files need not be read again.
        problems: what is out of place.
    """

    flacs: dict[str, str] = field(default_factory=dict)
    chapters: dict[tuple[str, str], str] = field(default_factory=dict)
    digest: str = ""
    problems: list[Problem] = field(default_factory=list)


def list_part(folder: Path) -> Listing:
    """Walk `<reader>/<chapter>/*`; other files than flacs and transcripts are left alone."""
    listing, lines = Listing(), []
    for reader, reader_path in _folders(folder, listing.problems):
        for chapter, path in _folders(reader_path, listing.problems):
            listing.chapters[reader, chapter] = path
            expected = re.compile(rf"{reader}-{chapter}-\d+")
            for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
                utt, suffix = os.path.splitext(entry.name)
                if suffix.lower() not in (".flac", ".txt") or entry.name.startswith("."):
                    continue
                found = entry.stat()
                lines.append(f"{reader} {chapter} {entry.name} {found.st_size} {found.st_mtime_ns}\n")
                if suffix.lower() == ".flac":
                    if not expected.fullmatch(utt):
                        listing.problems.append(Problem("flac of another chapter", entry.path))
                    elif utt in listing.flacs:
                        listing.problems.append(Problem("duplicate id", entry.path, utt, "twice here"))
                    else:
                        listing.flacs[utt] = entry.path
    if not listing.chapters:
        listing.problems.append(Problem("no chapter", str(folder)))
    listing.digest = hashlib.blake2b("".join(lines).encode(), digest_size=16).hexdigest()
    return listing


def _folders(path: str | os.PathLike, problems: list[Problem]) -> Iterable[tuple[str, str]]:
    """(name, path) of the folders in one whose names are numbers, as readers' and chapters' are."""
    for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
        if not entry.is_dir() or entry.name.startswith("."):
            continue
        if entry.name.isascii() and entry.name.isdecimal():
            yield entry.name, entry.path
        else:
            problems.append(Problem("folder that is no number", entry.path))


def read_part(listing: Listing, genders: dict[str, str], *, case: str, nj: int, what: str) -> DataDir:
    """Kaldi's tables of a part, by the conventions of Kaldi's own recipe (`local/data_prep.sh`).

    The utterance id is the flac's name; the speaker is `<reader>-<chapter>`, so that statistics by speaker
    are by chapter; genders are `m` or `f`. Durations are those of the flac headers, and each flac's last
    sample is decoded, which shows a file cut short. Problems are appended to `listing.problems`; with any
    the result is not complete.

    Args:
        genders: reader → `m` or `f`.
        case: `lower` or `upper`, of the transcripts.
        nj: threads that read flacs.
        what: how progress calls it.
    """
    problems = listing.problems
    speakers, texts = {}, {}
    for (reader, chapter), folder in listing.chapters.items():
        prefix = f"{reader}-{chapter}"
        if reader in genders:
            speakers[prefix] = genders[reader]
        else:
            problems.append(Problem("reader not in SPEAKERS.TXT", folder, reader))
        path = Path(folder, f"{prefix}.trans.txt")
        if path.is_file():
            texts |= _transcripts(path, prefix, problems)
        else:
            problems.append(Problem("chapter without transcripts", folder, "", f"lacks {path.name}"))
            # Said once for the chapter, not again for each of its flacs.
            texts |= {utt: "" for utt in listing.flacs if utt.startswith(f"{prefix}-")}
    for utt in sorted(set(listing.flacs) - set(texts)):
        problems.append(Problem("flac without transcript line", listing.flacs[utt]))
    for utt in sorted(set(texts) - set(listing.flacs)):
        folder = listing.chapters[tuple(utt.split("-")[:2])]
        problems.append(Problem("transcript line without flac", f"{folder}/{utt}.flac"))
    seconds = {}
    with ThreadPoolExecutor(max(nj, 1)) as pool:
        answers = pool.map(_seconds, listing.flacs.values())
        for utt, answer in track(
            zip(listing.flacs, answers, strict=True), len(listing.flacs), f"{what}: headers"
        ):
            if isinstance(answer, str):
                problems.append(Problem("unreadable flac", listing.flacs[utt], "", answer))
            else:
                seconds[utt] = answer
    cased = str.lower if case == "lower" else str.upper
    return DataDir(
        wav=dict(sorted(listing.flacs.items())),
        utt2spk={utt: utt.rpartition("-")[0] for utt in sorted(listing.flacs)},
        text={utt: cased(text) for utt, text in sorted(texts.items())},
        utt2dur=seconds,
        spk2gender=speakers,
    )


def _transcripts(path: Path, prefix: str, problems: list[Problem]) -> dict[str, str]:
    """Utterance → words of one chapter."""
    texts: dict[str, str] = {}
    content = path.read_bytes()
    if content and not content.endswith(b"\n"):
        problems.append(Problem("transcripts cut short", str(path), "", "the last line has no line end"))
    for number, raw in enumerate(content.splitlines(), 1):
        place = f"{path}:{number}"
        try:
            utt, *words = raw.decode("utf-8").split()
        except UnicodeDecodeError:
            problems.append(Problem("transcript that is not UTF-8", place))
            continue
        except ValueError:
            continue  # an empty line says nothing
        if not re.fullmatch(rf"{prefix}-\d+", utt):
            problems.append(Problem("transcript of another chapter", place, utt))
        elif utt in texts:
            problems.append(Problem("duplicate id", place, utt, "a second transcript"))
        else:
            if not words:
                problems.append(Problem("empty transcript", place, utt))
            texts[utt] = " ".join(words)
    return texts


def _seconds(path: str) -> float | str:
    """Duration of a flac that is whole, or what is wrong with it."""
    import soundfile

    try:
        with soundfile.SoundFile(path) as sound:
            if (sound.samplerate, sound.channels) != (SAMPLE_RATE, 1):
                return f"{sound.samplerate} Hz, {sound.channels} channels; expected {SAMPLE_RATE} Hz, 1"
            if sound.frames < 1:
                return "no samples"
            sound.seek(sound.frames - 1)  # fails where the end is missing
            if len(sound.read(2, dtype="int16")) != 1:
                return "its length is not what its header says"
            return sound.frames / SAMPLE_RATE
    except (soundfile.SoundFileError, RuntimeError) as error:
        return f"truncated or corrupt ({getattr(error, 'error_string', error)})"


def read_genders(path: Path) -> dict[str, str]:
    """Reader → `m` or `f`, from SPEAKERS.TXT (`id | sex | subset | minutes | name`).

    Raises:
        InputError: a line is not of that form.
    """
    genders = {}
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        if line.startswith(";") or not line.strip():
            continue
        fields = [item.strip() for item in line.split("|", 4)]
        if len(fields) < 5 or fields[1].lower() not in ("m", "f"):
            raise InputError(
                f"{path}:{number}: is not 'id | M or F | subset | minutes | name'; copy it again"
            )
        genders[fields[0]] = fields[1].lower()
    return genders


def message(root: Path, problems: list[Problem]) -> str:
    """All problems by kind, the first five of each in full, and the remedy."""
    kinds: dict[str, list[Problem]] = {}
    for problem in problems:
        kinds.setdefault(problem.kind, []).append(problem)
    lines = [f"{root}: {len(problems)} problems in this copy of LibriSpeech"]
    for kind, group in kinds.items():
        lines.append(f"  {kind} ({len(group)}):")
        lines += [f"    {problem}".rstrip(":") for problem in group[:SHOWN_PER_KIND]]
        if len(group) > SHOWN_PER_KIND:
            lines.append(f"    … and {len(group) - SHOWN_PER_KIND} more")
    lines.append(
        "  remedy: copy or unpack these folders again; whole chapters may be left out, files may not"
    )
    return "\n".join(lines)
