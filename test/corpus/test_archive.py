"""Unpacking: a folder appears with all its files or not at all, and nothing is written elsewhere."""

import fcntl
import gzip
import io
import os
import stat
import subprocess
import tarfile
from collections import namedtuple
from pathlib import Path

import pytest

from espnet_sld.corpus import disk
from espnet_sld.corpus.archive import unpack
from espnet_sld.errors import InputError

FILES = {"top/a.txt": b"a" * 5000, "top/deep/er/b.bin": bytes(range(256)) * 100, "top/empty": b""}
Member = tuple[str, bytes, dict]


def make(path: Path, members: list[Member], mode: str = "w:gz") -> Path:
    """A tar archive of (name, content, attributes of its TarInfo)."""
    with tarfile.open(path, mode) as tar:
        for name, content, attributes in members:
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(content), 1_000_000_000
            for key, value in attributes.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(content))
    return path


def good() -> list[Member]:
    return [("top", b"", {"type": tarfile.DIRTYPE}), *((name, data, {}) for name, data in FILES.items())]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_an_archive_is_unpacked_whole(mode, tmp_path):
    folder = unpack(make(tmp_path / "x.tar", good(), mode), tmp_path / "out")
    assert contents(folder) == FILES
    assert (folder / "top/a.txt").stat().st_mtime == 1_000_000_000
    assert {path.name for path in tmp_path.iterdir()} == {"x.tar", "out"}


def test_an_archive_of_the_system_s_tar_is_read(tmp_path):
    for name, data in FILES.items():
        (tmp_path / "src" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "src" / name).write_bytes(data)
    subprocess.run(["tar", "czf", tmp_path / "x.tgz", "-C", tmp_path / "src", "."], check=True)
    assert contents(unpack(tmp_path / "x.tgz", tmp_path / "out")) == FILES


EVIL = {
    "parent": [("../outside", b"x", {})],
    "parent further in": [("top/../../outside", b"x", {})],
    "absolute": [("ABSOLUTE", b"x", {})],
    "symbolic link": [("top/link", b"", {"type": tarfile.SYMTYPE, "linkname": "../.."})],
    "through a link": [
        ("link", b"", {"type": tarfile.SYMTYPE, "linkname": ".."}),
        ("link/outside", b"x", {}),
    ],
    "hard link": [("link", b"", {"type": tarfile.LNKTYPE, "linkname": "../x.tgz"})],
    "device": [("null", b"", {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3})],
    "named pipe": [("pipe", b"", {"type": tarfile.FIFOTYPE})],
    "twice": [("top/a.txt", b"other", {})],
    "file and folder": [("top/a.txt/b", b"other", {})],
    "nameless": [("./.", b"x", {})],
}


@pytest.mark.parametrize("case", EVIL)
def test_an_unsafe_member_is_refused_and_nothing_is_written(case, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    evil = [(name.replace("ABSOLUTE", f"{tmp_path}/outside"), *rest) for name, *rest in EVIL[case]]
    archive = make(folder / "x.tgz", good() + evil)
    before = archive.read_bytes()
    with pytest.raises(InputError, match=r"x\.tgz: .*refused.*; ask the author"):
        unpack(archive, folder / "out", remedy="ask the author")
    assert contents(tmp_path) == {"in/x.tgz": before} and os.listdir(folder) == ["x.tgz"]


def test_modes_and_owners_of_the_archive_are_not_taken_over(tmp_path):
    members = [("run", b"x", {"mode": 0o6777, "uid": 0}), ("d", b"", {"type": tarfile.DIRTYPE, "mode": 0})]
    folder = unpack(make(tmp_path / "x.tgz", [*members, ("d/f", b"y", {"mode": 0})]), tmp_path / "out")
    mode = (folder / "run").stat().st_mode
    assert not mode & (stat.S_ISUID | stat.S_ISGID | stat.S_IXUSR)
    assert (folder / "d/f").read_bytes() == b"y"


def damage(content: bytes, how: str) -> bytes:
    match how:
        case "cut":
            return content[: len(content) // 2]
        case "last bytes missing":
            return content[:-8]
        case "bit flipped":
            middle = len(content) // 2
            return content[:middle] + bytes([content[middle] ^ 64]) + content[middle + 1 :]
        case "wrong sum":
            return content[:-8] + bytes(4) + content[-4:]
        case "empty":
            return b""
        case _:
            return b"<html>not found</html>" * 100


@pytest.mark.parametrize("how", ["cut", "last bytes missing", "bit flipped", "wrong sum", "empty", "a page"])
def test_a_damaged_archive_leaves_nothing_behind(how, tmp_path):
    archive = make(tmp_path / "x.tgz", [*good(), ("noise", os.urandom(50_000), {})])
    archive.write_bytes(damage(archive.read_bytes(), how))
    with pytest.raises(InputError, match=r"x\.tgz: is damaged or no tar archive"):
        unpack(archive, tmp_path / "out")
    assert os.listdir(tmp_path) == ["x.tgz"]


def test_a_plain_archive_cut_within_a_file_is_damaged(tmp_path):
    archive = make(tmp_path / "x.tar", good(), "w")
    archive.write_bytes(archive.read_bytes()[:4000])
    with pytest.raises(InputError, match="damaged"):
        unpack(archive, tmp_path / "out")
    assert os.listdir(tmp_path) == ["x.tar"]


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
@pytest.mark.parametrize("how", ["cut between files", "cut in a header", "damaged header"])
def test_files_behind_a_bad_header_are_not_dropped_silently(how, compress, tmp_path):
    members = [(name, b"x" * 600, {}) for name in "abc"]
    content = bytearray(make(tmp_path / "x.tar", members, "w").read_bytes())
    second = 512 + 1024  # bytes of a header, and of a file in whole blocks
    if how == "damaged header":
        content[second + 3] ^= 1
    else:
        content = content[: second + (100 if how == "cut in a header" else 0)]
    (tmp_path / "x.tar").write_bytes(compress(content))
    with pytest.raises(InputError, match=r"x\.tar: is damaged or no tar archive .*no mark of its end"):
        unpack(tmp_path / "x.tar", tmp_path / "out")
    assert os.listdir(tmp_path) == ["x.tar"]


def test_what_a_kill_left_is_begun_anew(tmp_path):
    left = tmp_path / ".out.unpacking"
    left.mkdir()
    (left / "half").write_bytes(b"x")
    assert contents(unpack(make(tmp_path / "x.tgz", good()), tmp_path / "out")) == FILES
    assert not left.exists()


def test_a_folder_that_exists_is_not_touched(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine").write_bytes(b"x")
    with pytest.raises(InputError, match="exists already"):
        unpack(make(tmp_path / "x.tgz", good()), tmp_path / "out")
    assert contents(tmp_path / "out") == {"mine": b"x"}
    with pytest.raises(InputError, match="no such file"):
        unpack(tmp_path / "nothing.tgz", tmp_path / "new")


def test_two_processes_do_not_unpack_into_one_folder(tmp_path):
    archive = make(tmp_path / "x.tgz", good())
    (tmp_path / ".out.unpacking").mkdir()
    (tmp_path / ".out.unpacking/theirs").write_bytes(b"x")
    with archive.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="another process"):
            unpack(archive, tmp_path / "out")
    assert contents(tmp_path / ".out.unpacking") == {"theirs": b"x"}


def test_a_full_disk_is_told_first(tmp_path, monkeypatch):
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda folder: namedtuple("usage", "free")(1000))
    with pytest.raises(InputError, match=r"unpacking x\.tgz needs"):
        unpack(make(tmp_path / "x.tgz", good()), tmp_path / "out")
    assert os.listdir(tmp_path) == ["x.tgz"]
