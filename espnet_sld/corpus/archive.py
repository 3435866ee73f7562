"""Tar archives, unpacked as what a stranger wrote: nothing outside the folder, and all of it or nothing."""

import bz2
import contextlib
import gzip
import lzma
import os
import shutil
import tarfile
import zlib
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from espnet_sld.corpus.disk import lock, need_space
from espnet_sld.errors import InputError
from espnet_sld.progress import Progress

BLOCK = 2**20
MEGABYTE = 10**6
OPENERS = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
KINDS = {
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.LNKTYPE: "a hard link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a named pipe",
}


class _Header(tarfile.TarInfo):
    """Reads headers strictly: tarfile takes a damaged or missing one for the archive's end."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> tarfile.TarInfo:
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:  # blocks of zeros: the end
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"{error}; no mark of its end has come before") from None


def unpack(archive: str | os.PathLike, folder: str | os.PathLike, *, remedy: str = "get it again") -> Path:
    """Unpack a tar archive (plain, gzip, bzip2, xz) into a new folder, which appears with all its files.

    Members may be regular files and folders only: absolute names, `..`, links of any kind, devices and
    names that occur twice are refused. Owners and modes are not taken over, modification times are.
    Until the end, files are in a hidden folder beside, which is removed if anything fails and begun anew
    after a kill.

    Args:
        folder: must not exist.
        remedy: what the user can do about a bad archive, for messages.

    Raises:
        InputError: the archive is missing, damaged, unsafe or too big for the disk. Nothing is left of it.
    """
    archive, folder = Path(archive), Path(folder)
    if folder.exists():
        raise InputError(f"{folder}: exists already; move it away to unpack {archive} there")
    partial = folder.with_name(f".{folder.name}.unpacking")
    try:
        stream = archive.open("rb")
    except FileNotFoundError:
        raise InputError(f"{archive}: no such file; {remedy}") from None
    with stream:
        lock(stream, archive)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            need_space(partial, archive.stat().st_size, f"unpacking {archive.name}")
            _extract(stream, partial, archive, remedy)
            partial.rename(folder)
        except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
            raise InputError(f"{archive}: is damaged or no tar archive ({error}); {remedy}") from None
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return folder


def _extract(stream: BinaryIO, root: Path, archive: Path, remedy: str) -> None:
    """Write the members below `root`, an empty folder of ours: so no link of theirs can be on the way."""
    head = stream.read(6)
    stream.seek(0)
    opener = next((opener for magic, opener in OPENERS.items() if head.startswith(magic)), None)
    total = archive.stat().st_size
    progress, shown = Progress(max(total // MEGABYTE, 1), f"unpacking {archive.name}", unit="MB"), 0
    content = opener(stream, "rb") if opener else stream
    try:
        with tarfile.open(fileobj=content, mode="r|", tarinfo=_Header) as members:
            for member in members:
                path = root.joinpath(*_safe_parts(member, archive, remedy))
                if member.isdir():
                    path.mkdir(parents=True, exist_ok=True)
                    continue
                path.parent.mkdir(parents=True, exist_ok=True)
                _write(members.extractfile(member), path, member)
                progress.update(stream.tell() // MEGABYTE - shown)
                shown = stream.tell() // MEGABYTE
        while content.read(BLOCK):  # to the end, where the compressed stream has its own checksum
            pass
    except (FileExistsError, NotADirectoryError) as error:
        name = Path(error.filename).relative_to(root)
        raise InputError(f"{archive}: {name} occurs twice in it: refused; {remedy}") from None
    finally:
        if opener:
            content.close()
    progress.update(progress.total - progress.done)  # a megabyte begun
    progress.close()


def _safe_parts(member: tarfile.TarInfo, archive: Path, remedy: str) -> tuple[str, ...]:
    """Components of a member's name.

    Raises:
        InputError: it would be written elsewhere, or is neither file nor folder.
    """
    name = PurePosixPath(member.name)
    reason = None
    if name.is_absolute():
        reason = "has an absolute name"
    elif ".." in name.parts:
        reason = "leads out of the folder"
    elif member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE):
        reason = f"is {KINDS.get(member.type, 'of an unknown kind')}"
    elif not name.parts and not member.isdir():
        reason = "has no name"
    if reason:
        raise InputError(f"{archive}: '{member.name}' {reason}: refused, nothing is unpacked; {remedy}")
    return name.parts


def _write(source: BinaryIO, path: Path, member: tarfile.TarInfo) -> None:
    """One file, with the member's modification time.

    Raises:
        tarfile.ReadError: the archive ends within it.
    """
    with path.open("xb") as target:
        shutil.copyfileobj(source, target, BLOCK)
        if target.tell() != member.size:
            raise tarfile.ReadError(f"ends within {member.name}")
    with contextlib.suppress(ValueError, OverflowError):  # a time that no clock shows
        os.utime(path, (member.mtime, member.mtime))
