"""A pack on disk: plain files in a directory or a zip, and a manifest with the SHA-256 digest of each."""

import hashlib
import json
import lzma
import os
import re
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any

from espnet_sld.errors import InputError
from espnet_sld.files import atomic_write

MANIFEST = "manifest.json"
CARD = "README.md"  # words for people, who may edit them: the one file without a digest
FORMAT, VERSION = "espnet_sld.pack", 1
KINDS = ("model", "tokenizer")
# Nothing here can hold code: tensors, JSON, SentencePiece models, lists.
SUFFIXES = {".json", ".safetensors", ".model", ".vocab", ".txt", ".md", ".jinja"}
MAX_FILES, MAX_BYTES, MAX_MANIFEST = 10_000, 64 << 30, 16 << 20
BLOCK = 1 << 20
EPOCH = (1980, 1, 1, 0, 0, 0)  # the same files give the same zip
PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+=@-]{0,199}")


def safe_name(name: str) -> bool:
    """Whether a name is a plain relative path below the pack, of a kind of file that a pack may hold."""
    return safe_path(name) and PurePosixPath(name).suffix in SUFFIXES


def safe_path(name: str) -> bool:
    """Whether a name is a plain relative path: no `..`, no hidden part, nothing absolute."""
    return all(PART.fullmatch(part) for part in name.split("/"))


def json_bytes(values: Any) -> bytes:
    """JSON with sorted keys and a line end: the same values give the same bytes."""
    return (json.dumps(values, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def write_pack(out: str | Path, kind: str, files: Mapping[str, bytes | Path]) -> str:
    """Write a pack whole: a zip if `out` ends in .zip, else a directory.

    Args:
        files: name in the pack → content, or the file to copy.

    Returns:
        the pack's digest: SHA-256 of its manifest, which has the digests of all other files.

    Raises:
        InputError: a name that a pack cannot have, or `out` exists and is no pack.
    """
    out = Path(out)
    if wrong := sorted(name for name in files if not safe_name(name) or name == MANIFEST):
        raise InputError(f"{wrong[0]}: no file that a pack can hold (only {' '.join(sorted(SUFFIXES))})")
    as_zip = out.suffix == ".zip"
    if out.exists() and (out.is_dir() == as_zip or (out.is_dir() and not (out / MANIFEST).is_file())):
        raise InputError(f"{out}: exists and is not such a pack; choose another name or remove it")
    entries = {}
    for name, content in files.items():
        digest, size = _digest(content)
        if name != CARD:
            entries[name] = {"bytes": size, "sha256": digest}
    manifest = json_bytes({"format": FORMAT, "version": VERSION, "kind": kind, "files": entries})
    if not as_zip and _holds(out, manifest, files):
        return hashlib.sha256(manifest).hexdigest()
    if as_zip:
        with atomic_write(out, "wb") as stream, zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
            for name, content in {MANIFEST: manifest, **dict(sorted(files.items()))}.items():
                info = zipfile.ZipInfo(name, EPOCH)
                info.create_system, info.external_attr = 3, (stat.S_IFREG | 0o644) << 16
                info.file_size = len(content) if isinstance(content, bytes) else content.stat().st_size
                with archive.open(info, "w") as target:
                    _copy(content, target)
    else:
        with whole_directory(out) as folder:
            for name, content in {**files, MANIFEST: manifest}.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                with (folder / name).open("wb") as target:
                    _copy(content, target)
    return hashlib.sha256(manifest).hexdigest()


def _holds(folder: Path, manifest: bytes, files: Mapping[str, bytes | Path]) -> bool:
    """Whether a directory is this pack already, each of its files with the digest that the manifest says."""
    try:
        if (folder / MANIFEST).read_bytes() != manifest:
            return False
        return all(_digest(folder / name) == _digest(content) for name, content in files.items())
    except FileNotFoundError:
        return False


@contextmanager
def whole_directory(out: Path, unless: Callable[[], bool] = lambda: False) -> Iterator[Path]:
    """A folder to fill, renamed to `out` (whose former content goes) only if the block succeeds.

    Args:
        unless: whether another process has made `out` in the meantime: then that one stays.
    """
    out = Path(os.path.abspath(out))
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}.", suffix=".tmp"))
    try:
        folder.chmod(0o755)
        yield folder
        if unless():
            shutil.rmtree(folder)
        elif out.exists():
            former = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}.", suffix=".old.tmp"))
            os.replace(out, former / "old")
            os.replace(folder, out)
            shutil.rmtree(former)
        else:
            os.replace(folder, out)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def read_manifest(content: bytes, where: Path) -> dict[str, Any]:
    """Parse and check a manifest; every name in it is safe."""
    try:
        values = json.loads(content)
        files = {name: (file["bytes"], file["sha256"]) for name, file in values["files"].items()}
        right, version = values["format"] == FORMAT and values["kind"] in KINDS, values["version"]
        if any(type(size) is not int or type(digest) is not str for size, digest in files.values()):
            raise TypeError("bytes is a whole number, sha256 a text")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InputError(
            f"{where}: its {MANIFEST} is damaged or not a pack's; pack or download again"
        ) from None
    if not right:
        raise InputError(f"{where}: not a pack of this toolkit (format {values.get('format')!r})")
    if version != VERSION:
        raise InputError(
            f"{where}: pack version {version}, this toolkit reads {VERSION}; use the toolkit that made it"
        )
    fixed = {*files, MANIFEST, CARD}  # a file is no folder of others
    if bad := [
        name
        for name in files
        if not safe_name(name)
        or name in (MANIFEST, CARD)
        or any(str(folder) in fixed for folder in PurePosixPath(name).parents)
    ]:
        raise InputError(f"{where}: its {MANIFEST} names {bad[0]!r}, which a pack cannot hold; do not use it")
    total = sum(size for size, _ in files.values())
    if len(files) > MAX_FILES or total > MAX_BYTES or min((s for s, _ in files.values()), default=0) < 0:
        raise InputError(f"{where}: {len(files)} files of {total} bytes are more than a pack may hold")
    return values


def check_digest(manifest: bytes, expected: str | None, where: Path) -> str:
    """The pack's digest; InputError if another one was asked for."""
    found = hashlib.sha256(manifest).hexdigest()
    if expected and found != expected.lower():
        raise InputError(
            f"{where}: its digest is {found}, not {expected}; it is another pack than you asked for"
        )
    return found


def verify_directory(root: Path, expected: str | None = None) -> tuple[dict[str, Any], str]:
    """Check every file of a pack's directory against its manifest; nothing else may be in it.

    Files whose names start with a dot (`.gitattributes`, the hub's `.cache`) are left alone, and never read.

    Returns:
        the manifest, and the pack's digest.

    Raises:
        InputError: names the file that is missing, changed or unknown.
    """
    try:
        content = (root / MANIFEST).read_bytes()
    except FileNotFoundError:
        raise InputError(f"{root}: no {MANIFEST} in it; name a pack (see espnet_sld.bin.pack)") from None
    manifest, digest = read_manifest(content, root), check_digest(content, expected, root)
    for name, entry in manifest["files"].items():
        path = root / name
        if not path.is_file():
            raise InputError(f"{path}: is missing; the pack is not whole, pack or download it again")
        if path.stat().st_size != entry["bytes"] or _digest(path)[0] != entry["sha256"]:
            raise InputError(f"{path}: was changed or damaged (its SHA-256 is not the manifest's); refused")
    known = {*manifest["files"], MANIFEST, CARD}
    for path in root.rglob("*"):
        name = path.relative_to(root)
        if not path.is_dir() and str(name) not in known and not any(part[0] == "." for part in name.parts):
            raise InputError(f"{path}: is not part of the pack; remove it, or pack again")
    return manifest, digest


def zip_manifest(path: Path) -> bytes:
    """The manifest's bytes of a zipped pack."""
    with _open_zip(path) as archive:
        return _zip_manifest(archive, path)


def extract_zip(path: Path, folder: Path) -> None:
    """Unpack a zipped pack into an empty folder; it is not verified yet.

    Only what the manifest names comes out, at most as many bytes as it says.

    Raises:
        InputError: encrypted, linked, doubled or unsafe entries, or other entries than the manifest's.
    """
    with _open_zip(path) as archive:
        content = _zip_manifest(archive, path)
        sizes = {name: file["bytes"] for name, file in read_manifest(content, path)["files"].items()}
        (folder / MANIFEST).write_bytes(content)
        for info in archive.infolist():
            name, mode = info.filename, info.external_attr >> 16
            if name == MANIFEST or (name.endswith("/") and safe_name(f"{name}x.json")):
                continue
            limit = MAX_MANIFEST if name == CARD else sizes.pop(name, None)
            if limit is None or stat.S_ISLNK(mode) or info.flag_bits & 1:
                what = (
                    "encrypted"
                    if info.flag_bits & 1
                    else "a link"
                    if stat.S_ISLNK(mode)
                    else "not in the manifest"
                )
                raise InputError(f"{path}: its entry {name!r} is {what}; do not use it")
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(info) as source, target.open("xb") as stream:
                left = limit
                while block := _read(source, min(BLOCK, left + 1)):
                    left -= len(block)
                    if left < 0:
                        raise InputError(
                            f"{path}: its entry {name!r} is longer than the manifest says; refused"
                        )
                    stream.write(block)
        if sizes:
            raise InputError(
                f"{path}: {sorted(sizes)[0]} is missing; the pack is not whole, download it again"
            )


@contextmanager
def _open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if len(set(names)) != len(names) or len(names) > 2 * MAX_FILES:
                raise InputError(f"{path}: entries occur twice or are too many; do not use it")
            yield archive
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise InputError(f"{path}: not a zip, or damaged ({error}); download it again") from None


def _zip_manifest(archive: zipfile.ZipFile, path: Path) -> bytes:
    if MANIFEST not in archive.namelist():
        raise InputError(f"{path}: no {MANIFEST} in it; name a pack (see espnet_sld.bin.pack)")
    with archive.open(MANIFEST) as stream:
        content = _read(stream, MAX_MANIFEST + 1)
    if len(content) > MAX_MANIFEST:
        raise InputError(f"{path}: its {MANIFEST} is too long; do not use it")
    return content


def _read(source: IO[bytes], size: int) -> bytes:
    """At most `size` bytes of an entry; BadZipFile for what its decompressor calls by names of its own."""
    try:
        return source.read(size)
    except (zlib.error, lzma.LZMAError, OSError, ValueError) as error:
        raise zipfile.BadZipFile(str(error)) from None


def _digest(content: bytes | Path) -> tuple[str, int]:
    """(SHA-256, bytes) of a content or a file."""
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest(), len(content)
    with content.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest(), content.stat().st_size


def _copy(content: bytes | Path, target: IO[bytes]) -> None:
    if isinstance(content, bytes):
        target.write(content)
    else:
        with content.open("rb") as stream:
            shutil.copyfileobj(stream, target, BLOCK)
