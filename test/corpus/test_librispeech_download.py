"""LibriSpeech's archives from a web server on loopback: resumed, refused, unpacked once."""

import hashlib
import io
import os
import signal
import subprocess
import sys
import tarfile
from collections import namedtuple
from pathlib import Path

import pytest

from espnet_sld.bin import prepare_librispeech
from espnet_sld.corpus import checksums, disk, librispeech
from espnet_sld.corpus.data_dir import DataDir
from espnet_sld.corpus.download import Patience
from espnet_sld.errors import InputError

TRAIN, DEV, TEST = "train-clean-100", "test-other", "test-clean"
PUBLISHED = """\
42e2234ba48799c1f50f24a7926300a1  dev-clean.tar.gz
c8d0bcc9cca99d4f8b62fcc847357931  dev-other.tar.gz
32fa31d27d2e1cad72775fee3f4849a9  test-clean.tar.gz
fb5a50374b501bb3bac4815ee91d3135  test-other.tar.gz
2a93770f6d5c6c964bc36631d331a522  train-clean-100.tar.gz
c0e676e450a7ff2f54aeade5171606fa  train-clean-360.tar.gz
d1a0fd59409feb2c614ce4d30c387708  train-other-500.tar.gz
"""  # https://www.openslr.org/resources/12/md5sum.txt


def pack(root: Path, part: str) -> bytes:
    """An archive in the published layout: LibriSpeech/*.TXT and LibriSpeech/<part>."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz", compresslevel=1) as tar:
        for path in sorted(root.glob("*.TXT")):
            tar.add(path, f"LibriSpeech/{path.name}")
        tar.add(root / part, f"LibriSpeech/{part}")
    return content.getvalue()


@pytest.fixture(scope="module")
def archives(small_librispeech) -> dict[str, bytes]:
    return {f"{part}.tar.gz": pack(small_librispeech, part) for part in (TRAIN, DEV, TEST)}


@pytest.fixture
def mirror(server, archives, tmp_path):
    """The server, and the command against it, in a folder of its own."""
    server.files |= archives
    write_sums(server, tmp_path)
    return server


def write_sums(server, folder: Path) -> None:
    lines = [f"{hashlib.md5(data).hexdigest()}  {name}\n" for name, data in server.files.items()]
    (folder / "md5sum.txt").write_text("".join(lines))


def arguments(server, folder: Path) -> list[str]:
    parts = [
        "--train_parts",
        TRAIN,
        "--train_set",
        "train_clean_100",
        "--dev_parts",
        DEV,
        "--test_parts",
        TEST,
    ]
    where = ["--data_url", server.url(), "--md5_file", str(folder / "md5sum.txt")]
    where += ["--download_dir", str(folder / "downloads"), "--data_dir", str(folder / "data")]
    return [*where, *parts]


def run(server, folder: Path, *options: str) -> int:
    return prepare_librispeech.main([*arguments(server, folder), *options])


def state(*folders: Path) -> dict[str, tuple[int, int]]:
    found = {path: path.stat() for folder in folders for path in [folder, *folder.rglob("*")]}
    return {str(path): (s.st_mtime_ns, s.st_ino) for path, s in found.items()}


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_the_published_checksums_are_the_default(tmp_path):
    (tmp_path / "md5sum.txt").write_text(PUBLISHED)
    listed = checksums.read_checksums(tmp_path / "md5sum.txt")
    assert {f"{name}.tar.gz": part.md5 for name, part in librispeech.PARTS.items()} == listed
    args = prepare_librispeech.get_parser().parse_args([])
    assert args.data_url == librispeech.URL and args.md5_file is None


def test_archives_become_the_corpus_and_its_sets(mirror, small_librispeech, tmp_path):
    assert run(mirror, tmp_path) == 0
    root = tmp_path / "downloads/LibriSpeech"
    assert files(root) == files(small_librispeech)
    data = DataDir.read(tmp_path / "data/train_clean_100", check_files=True)
    assert len(data) == 4 and all(path.startswith(str(root)) for path in data.wav.values())
    expected = {"LibriSpeech", ".verified.json", *mirror.files}
    assert {path.name for path in (tmp_path / "downloads").iterdir()} == expected
    assert mirror.sent == sum(map(len, mirror.files.values()))


def test_a_second_run_asks_for_nothing_and_changes_nothing(mirror, tmp_path, monkeypatch):
    run(mirror, tmp_path)
    before, asked = state(tmp_path / "downloads", tmp_path / "data"), len(mirror.requests)
    monkeypatch.setattr(checksums, "file_checksum", None)
    (tmp_path / "md5sum.txt").unlink()
    run(mirror, tmp_path)
    assert state(tmp_path / "downloads", tmp_path / "data") == before and len(mirror.requests) == asked == 3


def test_an_interrupted_download_goes_on_and_no_byte_is_sent_twice(mirror, tmp_path):
    mirror.cuts = [10_000, 50_000, 1]
    run(mirror, tmp_path)
    sizes = sorted(map(len, mirror.files.values()))
    assert len(mirror.requests) == 6 and mirror.sent == sum(sizes)
    assert {request.range for request in mirror.requests} >= {"bytes=10000-", "bytes=60000-"}


KILLED = {
    "after the last byte": "download.file_checksum = die",
    "before unpacking": "librispeech.unpack = die",
    "while unpacking": "archive.os.utime = die",
    "before the part is moved": "librispeech.unpack = die_after(librispeech.unpack)",
    "when the part was moved": "rm = shutil.rmtree; shutil.rmtree = lambda path, **k: "
    "die() if path.name.endswith('.unpacked') and path.is_dir() else rm(path, **k)",
    "while the sets are written": "data_dir.write_table = die",
}


@pytest.mark.slow
@pytest.mark.parametrize("moment", KILLED)
def test_a_run_that_was_killed_goes_on_and_no_byte_is_sent_twice(moment, mirror, tmp_path):
    code = (
        "import os, shutil, signal, sys\n"
        "from espnet_sld.corpus import archive, data_dir, download, librispeech\n"
        "from espnet_sld.bin import prepare_librispeech\n"
        "die = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)\n"
        "die_after = lambda f: lambda *a, **k: die(f(*a, **k))\n"
        f"{KILLED[moment]}\n"
        "prepare_librispeech.main(sys.argv[1:])"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments(mirror, tmp_path)], capture_output=True)
    assert done.returncode == -signal.SIGKILL
    run(mirror, tmp_path)
    assert mirror.sent == sum(map(len, mirror.files.values())) and len(mirror.requests) == 3
    assert len(DataDir.read(tmp_path / "data/test_clean", check_files=True)) == 4
    left = {path.name for path in (tmp_path / "downloads").iterdir()}
    assert left == {"LibriSpeech", ".verified.json", *mirror.files}


def test_a_corrupt_archive_is_refused_kept_aside_and_fetched_again(mirror, archives, tmp_path):
    name = f"{TEST}.tar.gz"
    mirror.files[name] = archives[name][:-100] + bytes(100)
    with pytest.raises(
        InputError, match=rf"{name}: the md5 is .*, expected .*{name}\.corrupt.*librispeech_dir"
    ):
        run(mirror, tmp_path)
    assert not (tmp_path / f"downloads/LibriSpeech/{TEST}").exists() and not (tmp_path / "data").exists()
    mirror.files[name] = archives[name]
    run(mirror, tmp_path)
    assert (tmp_path / f"downloads/LibriSpeech/{TEST}").is_dir()


@pytest.mark.parametrize(
    ("name", "attributes"),
    [
        ("../escaped", {}),
        ("LibriSpeech/../../../escaped", {}),
        ("ABSOLUTE/escaped", {}),
        ("LibriSpeech/link", {"type": tarfile.SYMTYPE, "linkname": "../../.."}),
    ],
)
def test_an_archive_that_writes_elsewhere_is_refused(name, attributes, mirror, tmp_path):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        info = tarfile.TarInfo(name.replace("ABSOLUTE", str(tmp_path)))
        info.size = 0 if attributes else 1
        for key, value in attributes.items():
            setattr(info, key, value)
        tar.addfile(info, io.BytesIO(b"x"))
    mirror.files = {f"{part}.tar.gz": content.getvalue() for part in (TRAIN, DEV, TEST)}
    write_sums(mirror, tmp_path)
    with pytest.raises(InputError, match="refused, nothing is unpacked"):
        run(mirror, tmp_path)
    assert not list(tmp_path.parent.rglob("escaped")) and not list(tmp_path.rglob("link"))
    assert not (tmp_path / "downloads/LibriSpeech").exists()


def test_an_archive_without_the_part_is_refused(mirror, archives, tmp_path):
    mirror.files = dict.fromkeys(mirror.files, archives[f"{TRAIN}.tar.gz"])
    write_sums(mirror, tmp_path)
    with pytest.raises(InputError, match=r"holds LibriSpeech/train-clean-100, not LibriSpeech/test-"):
        run(mirror, tmp_path)
    assert not (tmp_path / "data").exists()


def test_archives_may_be_removed_and_are_not_missed(mirror, tmp_path):
    run(mirror, tmp_path, "--remove_archives", "true")
    assert not list((tmp_path / "downloads").glob("*.tar.gz*"))
    run(mirror, tmp_path, "--remove_archives", "true")
    assert len(mirror.requests) == 3
    (tmp_path / f"downloads/{TEST}.tar.gz").write_bytes(b"x")  # of a run without the option
    run(mirror, tmp_path, "--remove_archives", "true")
    assert not list((tmp_path / "downloads").glob("*.tar.gz*"))


def test_archives_that_are_there_are_not_downloaded(mirror, archives, tmp_path):
    (tmp_path / "downloads").mkdir()
    for name, content in archives.items():
        (tmp_path / "downloads" / name).write_bytes(content)
    run(mirror, tmp_path)
    assert not mirror.requests


def test_a_copy_of_the_corpus_needs_no_download(mirror, small_librispeech, tmp_path):
    run(mirror, tmp_path, "--librispeech_dir", str(small_librispeech.parent))
    assert not mirror.requests and not (tmp_path / "downloads").exists()


def test_a_list_of_checksums_must_have_every_archive(mirror, tmp_path):
    (tmp_path / "md5sum.txt").write_text(f"{'0' * 32}  {TEST}.tar.gz\n")
    with pytest.raises(InputError, match=rf"md5sum\.txt: lacks {DEV}\.tar\.gz, {TRAIN}\.tar\.gz"):
        run(mirror, tmp_path)
    assert not mirror.requests


def test_a_disk_too_small_for_the_corpus_is_told_at_once(mirror, tmp_path, monkeypatch):
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda folder: namedtuple("usage", "free")(100e9))
    everything = list(librispeech.PARTS)
    with pytest.raises(InputError, match=r"needs 122\.72 GB more, 100\.00 GB are free"):
        librispeech.download(everything, tmp_path, url=mirror.url())
    with pytest.raises(InputError, match=r"HTTP 404 .* put it into .*librispeech_dir"):
        librispeech.download(everything, tmp_path, url=mirror.url("none"), remove_archives=True)


def test_a_server_that_stays_away_is_told_with_what_to_do(mirror, tmp_path):
    mirror.statuses = [503] * 9
    with pytest.raises(InputError, match=r"2 attempts failed.*HTTP 503.*--librispeech_dir"):
        librispeech.download(
            [TEST],
            tmp_path / "downloads",
            url=mirror.url(),
            md5_file=tmp_path / "md5sum.txt",
            patience=Patience(attempts=2, wait=0.0),
        )
    assert os.listdir(tmp_path / "downloads") == []
