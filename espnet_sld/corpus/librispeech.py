"""LibriSpeech (Panayotov et al. 2015, openslr.org/12): download, and Kaldi data directories of its parts."""

import logging
import os
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from espnet_sld.corpus.archive import unpack
from espnet_sld.corpus.checksums import read_checksums
from espnet_sld.corpus.data_dir import DataDir
from espnet_sld.corpus.disk import need_space
from espnet_sld.corpus.download import Patience, fetch
from espnet_sld.corpus.librispeech_parts import list_part, message, read_genders, read_part
from espnet_sld.corpus.partition import combine
from espnet_sld.errors import InputError
from espnet_sld.stamps import Stamp

URL = "https://www.openslr.org/resources/12"
FOLDER = "LibriSpeech"
SPEAKERS = "SPEAKERS.TXT"
VERSION = 1  # raise it when the same corpus would give other tables
TABLES = ("wav.scp", "text", "utt2spk", "spk2utt", "spk2gender", "utt2dur")


class Part(NamedTuple):
    """What was published: MD5 and bytes of `<part>.tar.gz`, and how many utterances it holds."""

    md5: str
    archive_bytes: int
    utterances: int


PARTS = {
    "train-clean-100": Part("2a93770f6d5c6c964bc36631d331a522", 6_387_309_499, 28_539),
    "train-clean-360": Part("c0e676e450a7ff2f54aeade5171606fa", 23_049_477_885, 104_014),
    "train-other-500": Part("d1a0fd59409feb2c614ce4d30c387708", 30_593_501_606, 148_688),
    "dev-clean": Part("42e2234ba48799c1f50f24a7926300a1", 337_926_286, 2_703),
    "dev-other": Part("c8d0bcc9cca99d4f8b62fcc847357931", 314_305_928, 2_864),
    "test-clean": Part("32fa31d27d2e1cad72775fee3f4849a9", 346_663_984, 2_620),
    "test-other": Part("fb5a50374b501bb3bac4815ee91d3135", 328_757_843, 2_939),
}


def set_name(part: str) -> str:
    """`test-clean` → `test_clean`."""
    return part.replace("-", "_")


@dataclass(frozen=True)
class Selection:
    """Which parts serve for what; parts of train and of dev are also joined under `train_set` and `dev_set`.

    Raises:
        InputError: no part at all, an unknown one, one twice in a list, or a name that means two sets.
    """

    train: tuple[str, ...]
    dev: tuple[str, ...]
    test: tuple[str, ...]
    train_set: str = "train_960"
    dev_set: str = "dev"

    def __post_init__(self) -> None:
        for option, parts in self.lists.items():
            for part, count in Counter(parts).items():
                if part not in PARTS:
                    raise InputError(
                        f"{option}: '{part}' is no part of LibriSpeech; choose of {', '.join(PARTS)}"
                    )
                if count > 1:
                    raise InputError(f"{option}: '{part}' occurs {count} times; name it once")
        if not self.parts:
            raise InputError(
                "--train_parts, --dev_parts, --test_parts: all are empty; name one part at least"
            )
        owners = {set_name(part): (part,) for part in PARTS}
        for option, name, parts in (
            ("--train_set", self.train_set, self.train),
            ("--dev_set", self.dev_set, self.dev),
        ):
            if not name or "/" in name or name.startswith("."):
                raise InputError(f"{option} '{name}': is no name of a set")
            if owners.setdefault(name, parts) != parts:
                raise InputError(
                    f"{option} {name}: means {' '.join(owners[name])} already; choose another name"
                )

    @property
    def lists(self) -> dict[str, tuple[str, ...]]:
        """Option → parts."""
        return {"--train_parts": self.train, "--dev_parts": self.dev, "--test_parts": self.test}

    @property
    def parts(self) -> list[str]:
        """All parts once, in the corpus's order."""
        named = {*self.train, *self.dev, *self.test}
        return [part for part in PARTS if part in named]

    @property
    def unions(self) -> dict[str, tuple[str, ...]]:
        """Set → parts that it joins, where that is not one of the parts' own sets."""
        unions = {self.train_set: self.train, self.dev_set: self.dev}
        return {name: parts for name, parts in unions.items() if parts and set_name(parts[0]) != name}

    def warnings(self) -> list[str]:
        """What may be meant but must be known when figures are read."""
        found = []
        for one, other, why in (
            ("--train_parts", "--dev_parts", "the model is chosen on what it was trained on"),
            ("--train_parts", "--test_parts", "the model is tested on what it was trained on"),
            ("--dev_parts", "--test_parts", "what the model is chosen on is no unseen test"),
        ):
            if both := [part for part in self.lists[one] if part in self.lists[other]]:
                found.append(f"OVERLAP: {', '.join(both)} in {one} and in {other}: {why}")
        whole = [part for part in PARTS if part.startswith("train")]
        if self.train and self.train_set == "train_960" and sorted(self.train) != sorted(whole):
            found.append(f"--train_set train_960 is not the 960 hours but {' '.join(self.train)}: rename it")
        return found


def find(librispeech_dir: str | os.PathLike) -> Path:
    """The folder that holds SPEAKERS.TXT: the one given or the one below it.

    Raises:
        InputError: neither is.
    """
    given = Path(librispeech_dir)
    if (given / SPEAKERS).is_file():
        return given
    below = sorted(path.parent for path in given.glob(f"*/{SPEAKERS}"))
    if given / FOLDER in below or len(below) == 1:
        return given / FOLDER if given / FOLDER in below else below[0]
    hint = ": give the folder that holds it, or the one above that"
    if below:
        hint = f", but several folders in it have: {', '.join(path.name for path in below)}; give one of them"
    elif any((parent / SPEAKERS).is_file() for parent in list(given.absolute().parents)[:3]):
        hint = "; give the folder above, which has"
    raise InputError(f"{given}: has no {SPEAKERS}{hint}")


def download(
    parts: list[str],
    download_dir: str | os.PathLike,
    *,
    url: str = URL,
    md5_file: str | os.PathLike | None = None,
    remove_archives: bool = False,
    patience: Patience | None = None,
) -> Path:
    """Make `download_dir/LibriSpeech` have these parts; those that it has cost nothing.

    Archives are `download_dir/<part>.tar.gz`: one that is there is used if its MD5 is right. A part's folder
    appears when all of it is unpacked, so that a run that was killed anywhere can be repeated.

    Args:
        url: where `<part>.tar.gz` are.
        md5_file: other checksums than the published ones, as md5sum writes them.
        remove_archives: delete an archive when its part is unpacked.

    Raises:
        InputError: an archive cannot be had, is not the one expected or unsafe, or the disk is too small.
    """
    folder = Path(download_dir)
    root, missing = folder / FOLDER, sorted(parts, key=lambda part: PARTS[part].archive_bytes)
    missing = [part for part in missing if not (root / part).is_dir()]
    folder.mkdir(parents=True, exist_ok=True)
    if missing and md5_file:
        sums = read_checksums(md5_file)
        if unlisted := [name for part in missing if (name := f"{part}.tar.gz") not in sums]:
            raise InputError(f"{md5_file}: lacks {', '.join(unlisted)}; add what md5sum prints for them")
    elif missing:
        sums = {f"{part}.tar.gz": PARTS[part].md5 for part in missing}
        _need_space(folder, missing, remove_archives)
    for part in missing:
        name = f"{part}.tar.gz"
        remedy = f"get {name} by other means and put it into {folder}, or give --librispeech_dir"
        archive = fetch(
            f"{url.rstrip('/')}/{name}",
            folder / name,
            checksum=sums[name],
            patience=patience,
            remedy=remedy,
        )
        _install(archive, root, part, remedy)
        if remove_archives:
            archive.unlink()
    for part in parts:  # what earlier runs left
        shutil.rmtree(_stage(folder, part), ignore_errors=True)
        if remove_archives:
            (folder / f"{part}.tar.gz").unlink(missing_ok=True)
    return root


def _stage(folder: Path, part: str) -> Path:
    """Where a part lies unpacked until it is moved to its place."""
    return folder / f".{part}.unpacked"


def _need_space(folder: Path, missing: list[str], remove_archives: bool) -> None:
    """Tell before hours of download that the disk is too small: flac fills as much unpacked as packed."""
    sizes = [PARTS[part].archive_bytes for part in missing]
    there = [
        path.stat().st_size
        for part in missing
        for path in (folder / f"{part}.tar.gz", folder / f"{part}.tar.gz.part")
        if path.is_file()
    ]
    needed = sum(sizes) + (max(sizes) if remove_archives else sum(sizes)) - sum(there)
    kept = "one archive at a time" if remove_archives else "the archives (less with --remove_archives true)"
    need_space(folder, needed, f"LibriSpeech's {', '.join(missing)} with {kept}")


def _install(archive: Path, root: Path, part: str, remedy: str) -> None:
    """Unpack `LibriSpeech/<part>` beside, and move it to its place when all of it is there."""
    stage = _stage(archive.parent, part)
    if not stage.is_dir():  # else a run was killed just before it moved the part
        unpack(archive, stage, remedy=remedy)
    source = stage / FOLDER / part
    if not source.is_dir():
        names = [str(path.relative_to(stage)) for path in stage.glob("*/*") if path.is_dir()]
        held = ", ".join(sorted(names or os.listdir(stage))[:5]) or "nothing"
        shutil.rmtree(stage)
        raise InputError(f"{archive}: holds {held}, not {FOLDER}/{part}; {remedy}")
    root.mkdir(exist_ok=True)
    for path in sorted((stage / FOLDER).iterdir()):
        if path.is_file() and not (root / path.name).exists():
            path.replace(root / path.name)
    source.rename(root / part)
    shutil.rmtree(stage)


def prepare(
    librispeech_dir: str | os.PathLike,
    data_dir: str | os.PathLike,
    selection: Selection,
    *,
    case: str = "lower",
    nj: int = 8,
) -> dict[str, DataDir]:
    """Write `data_dir/<part>` for every part (`test_clean`, …) and the unions; `read_part` has the tables.

    Parts may be slices: the chapters that are there are used. Sets whose files have not changed are read,
    not made again.

    Raises:
        InputError: a part is missing, or files of one are: all problems in one message, nothing is written.
    """
    root, data_dir = find(librispeech_dir), Path(data_dir)
    if absent := [part for part in selection.parts if not (root / part).is_dir()]:
        present = ", ".join(part for part in PARTS if (root / part).is_dir()) or "none"
        raise InputError(
            f"{root}: lacks {', '.join(absent)} (parts there: {present}); add them, or leave them out of "
            "--train_parts, --dev_parts and --test_parts"
        )
    for warning in selection.warnings():
        logging.warning(warning)
    genders = read_genders(root / SPEAKERS)
    listings = {part: list_part(root / part) for part in selection.parts}

    def stamp(name: str, parts: tuple[str, ...]) -> Stamp:
        files = {part: listings[part].digest for part in parts}
        return Stamp(
            data_dir / name / "prepare.done.json",
            inputs=[root / SPEAKERS],
            options={"version": VERSION, "case": case, "root": str(root), "parts": files},
            outputs=[data_dir / name / table for table in TABLES],
        )

    sets, stamps = {}, {}
    for part, listing in listings.items():
        name = set_name(part)
        stamps[name] = stamp(name, (part,))
        if stamps[name].fresh() and not listing.problems:
            sets[name] = DataDir.read(data_dir / name)
        else:
            sets[name] = read_part(listing, genders, case=case, nj=nj, what=part)
    problems = [problem for listing in listings.values() for problem in listing.problems]
    if problems:
        raise InputError(message(root, problems))
    for part in selection.parts:
        if (found := len(sets[set_name(part)])) != PARTS[part].utterances:
            logging.warning(
                f"{root / part}: a slice, {found} of the {PARTS[part].utterances} utterances published"
            )
    for name, parts in selection.unions.items():
        stamps[name] = stamp(name, parts)
        sets[name] = combine([sets[set_name(part)] for part in parts])
    for name, data in sets.items():
        if not stamps[name].fresh():
            stamps[name].withdraw()
            data.write(data_dir / name)
            stamps[name].write(utterances=len(data))
    return sets
