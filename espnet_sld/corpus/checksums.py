"""Checksums of big files: computed, read from md5sum's lists, and remembered so that none is hashed twice."""

import hashlib
import json
import logging
import os
import re
from pathlib import Path

from espnet_sld.errors import InputError
from espnet_sld.files import write_json

ALGORITHMS = {32: "md5", 64: "sha256"}  # by hexadecimal digits
CHECKSUM = re.compile(r"[0-9a-f]{32}|[0-9a-f]{64}")
SUM_LINE = re.compile(r"\\?([0-9a-fA-F]+) [ *](.+)")
CORRUPT = ".corrupt"  # the suffix of files kept aside


def algorithm(checksum: str) -> str:
    """`md5` or `sha256`, by the length of a lower-case hexadecimal checksum.

    Raises:
        InputError: it is neither.
    """
    if not CHECKSUM.fullmatch(checksum):
        raise InputError(f"'{checksum}' is no checksum: give an MD5 or SHA-256 in lower-case hexadecimal")
    return ALGORITHMS[len(checksum)]


def file_checksum(path: Path, like: str) -> str:
    """Checksum of a file by the algorithm of the checksum `like`."""
    name = algorithm(like)
    logging.info(f"{path}: computing the {name} of {path.stat().st_size / 1e6:.1f} MB")
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.new(name, usedforsecurity=False)).hexdigest()


def read_checksums(path: str | os.PathLike) -> dict[str, str]:
    """File name → checksum, from the output of md5sum or sha256sum; folders before the names are dropped.

    Raises:
        InputError: the file is missing, has other lines, or two checksums for one name.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; write one with md5sum") from None
    result: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        match = SUM_LINE.fullmatch(line)
        if not match or not CHECKSUM.fullmatch(match[1].lower()):
            raise InputError(f"{path}:{number}: is not '<MD5 or SHA-256>  <file>', as md5sum writes it")
        name, checksum = Path(match[2]).name, match[1].lower()
        if result.setdefault(name, checksum) != checksum:
            raise InputError(f"{path}:{number}: a second checksum of {name}; delete one")
    return result


class Verified:
    """Remembers in `<folder>/.verified.json` what was verified, by size and modification time."""

    def __init__(self, folder: Path):
        self.path = folder / ".verified.json"

    def _read(self) -> dict[str, dict]:
        try:
            return json.loads(self.path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return {}

    @staticmethod
    def _row(path: Path, checksum: str) -> dict:
        found = path.stat()
        return {"size": found.st_size, "mtime_ns": found.st_mtime_ns, algorithm(checksum): checksum}

    def holds(self, path: Path, checksum: str) -> bool:
        """Whether this file, unchanged since, was found to have this checksum."""
        return self._read().get(path.name) == self._row(path, checksum)

    def note(self, path: Path, checksum: str) -> None:
        """Remember that it has."""
        rows = {**self._read(), path.name: self._row(path, checksum)}
        write_json(self.path, rows, sort_keys=True)


def verify(path: Path, checksum: str, remedy: str) -> None:
    """Hold a file against its checksum, unless that was done before.

    Raises:
        InputError: it differs; the file is kept aside as `<path>.corrupt`.
    """
    known = Verified(path.parent)
    if known.holds(path, checksum):
        return
    found = file_checksum(path, checksum)
    if found != checksum:
        raise set_aside(path, path, found, checksum, remedy)
    known.note(path, checksum)


def set_aside(source: Path, path: Path, found: str, expected: str, remedy: str) -> InputError:
    """Rename a damaged file to `<path>.corrupt`; returns what to raise."""
    aside = source.replace(f"{path}{CORRUPT}")
    return InputError(
        f"{path}: the {algorithm(expected)} is {found}, expected {expected}: damaged, or another version "
        f"({aside.stat().st_size} bytes, kept as {aside}); run the same command again to download it "
        f"anew, or {remedy}"
    )
