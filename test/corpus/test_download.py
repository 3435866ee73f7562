"""Downloads: resumed, verified, whole; and what cannot be had is told without leaving a wrong file."""

import fcntl
import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import pytest

from espnet_sld.corpus import checksums, disk, download
from espnet_sld.corpus.checksums import read_checksums
from espnet_sld.corpus.download import Patience, fetch
from espnet_sld.errors import InputError

CONTENT = random.Random(0).randbytes(300_000)
MD5 = hashlib.md5(CONTENT).hexdigest()
SHA256 = hashlib.sha256(CONTENT).hexdigest()
QUICK = Patience(attempts=3, wait=0.0, timeout=10.0)
ONCE = Patience(attempts=1)


@pytest.fixture
def web(server):
    server.files["a.bin"] = CONTENT
    return server


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def get(web, folder: Path, **kwargs) -> Path:
    return fetch(web.url("a.bin"), folder / "a.bin", patience=kwargs.pop("patience", QUICK), **kwargs)


@pytest.mark.parametrize("checksum", [None, MD5, SHA256])
def test_a_file_arrives_whole_by_one_request(checksum, web, tmp_path):
    path = get(web, tmp_path / "new/folder", checksum=checksum)
    assert path.read_bytes() == CONTENT
    assert names(path.parent) == {"a.bin"} | ({".verified.json"} if checksum else set())
    assert [request.range for request in web.requests] == [None]


def test_a_broken_connection_is_resumed_and_no_byte_is_sent_twice(web, tmp_path):
    web.cuts = [100_000, 50_000]
    assert get(web, tmp_path, checksum=MD5).read_bytes() == CONTENT
    assert [request.range for request in web.requests] == [None, "bytes=100000-", "bytes=150000-"]
    assert web.sent == len(CONTENT)


@pytest.mark.parametrize("checksum", [None, MD5])
def test_another_run_goes_on_where_the_last_one_broke_off(checksum, web, tmp_path):
    web.cuts = [120_000]
    with pytest.raises(InputError, match=r"120000 of 300000 bytes.*a\.bin\.part.*same command again"):
        get(web, tmp_path, checksum=checksum, patience=ONCE)
    assert (tmp_path / "a.bin.part").read_bytes() == CONTENT[:120_000] and not (tmp_path / "a.bin").exists()
    assert get(web, tmp_path, checksum=checksum).read_bytes() == CONTENT
    assert web.requests[1].range == "bytes=120000-" and web.requests[1].if_range == f'"{MD5}"'
    assert web.sent == len(CONTENT)


def test_a_killed_download_is_resumed(web, tmp_path):
    web.block, web.pause = 10_000, 0.05
    code = (
        "from espnet_sld.corpus.download import fetch; import sys; "
        f"fetch(sys.argv[1], sys.argv[2], checksum='{MD5}')"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, web.url("a.bin"), str(tmp_path / "a.bin")], stderr=subprocess.DEVNULL
    )
    part, deadline = tmp_path / "a.bin.part", time.monotonic() + 60
    while not (part.exists() and part.stat().st_size >= 50_000):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    kept, web.pause = part.stat().st_size, 0.0
    assert 50_000 <= kept < len(CONTENT) and part.read_bytes() == CONTENT[:kept]
    assert get(web, tmp_path, checksum=MD5).read_bytes() == CONTENT
    assert web.requests[-1].range == f"bytes={kept}-" and web.requests[-1].sent == len(CONTENT) - kept


def test_a_server_without_ranges_sends_all_again_and_the_file_is_right(web, tmp_path):
    web.ranges, web.cuts = False, [100_000]
    assert get(web, tmp_path, checksum=MD5).read_bytes() == CONTENT
    assert [request.status for request in web.requests] == [200, 200]
    assert web.sent == 100_000 + len(CONTENT)


def test_a_server_without_ranges_that_always_breaks_off_is_given_up(web, tmp_path):
    web.ranges, web.cuts = False, [100_000] * 10
    with pytest.raises(InputError, match="3 attempts failed"):
        get(web, tmp_path, checksum=MD5)
    assert len(web.requests) == 3


@pytest.mark.parametrize("if_ranges", [True, False], ids=["If-Range obeyed", "If-Range ignored"])
@pytest.mark.parametrize("checksum", [True, False], ids=["checksum", "no checksum"])
def test_a_file_that_changed_meanwhile_is_fetched_anew(if_ranges, checksum, web, tmp_path):
    web.cuts, web.if_ranges = [100_000], if_ranges
    newer = CONTENT[::-1]
    with pytest.raises(InputError):
        get(web, tmp_path, checksum=MD5 if checksum else None, patience=ONCE)
    web.files["a.bin"] = newer
    expected = hashlib.md5(newer).hexdigest() if checksum else None
    assert get(web, tmp_path, checksum=expected).read_bytes() == newer


@pytest.mark.parametrize("tags", ["none", "weak"])
def test_without_etag_and_checksum_nothing_is_joined(tags, web, tmp_path):
    web.etags, web.weak, web.cuts = tags != "none", tags == "weak", [100_000]
    assert get(web, tmp_path).read_bytes() == CONTENT
    assert [request.range for request in web.requests] == [None, None]


def test_another_mirror_may_finish_what_one_began(web, tmp_path):
    web.cuts, web.files["mirror/a.bin"] = [100_000], CONTENT
    with pytest.raises(InputError):
        get(web, tmp_path, checksum=MD5, patience=ONCE)
    fetch(web.url("mirror/a.bin"), tmp_path / "a.bin", checksum=MD5, patience=QUICK)
    assert web.requests[1].range == "bytes=100000-" and web.requests[1].if_range is None
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("size", [1000, len(CONTENT), len(CONTENT) + 5], ids=["short", "full", "too long"])
def test_a_part_of_unknown_origin_is_made_good(size, web, tmp_path):
    (tmp_path / "a.bin.part").write_bytes(b"?" * size)
    assert get(web, tmp_path, checksum=MD5).read_bytes() == CONTENT
    assert names(tmp_path) == {"a.bin", ".verified.json"}


def test_a_download_killed_before_it_got_its_name_is_not_fetched_again(web, tmp_path):
    web.cuts = [100_000]
    with pytest.raises(InputError):
        get(web, tmp_path, checksum=MD5, patience=ONCE)
    (tmp_path / "a.bin.part").write_bytes(CONTENT)
    assert get(web, tmp_path, checksum=MD5).read_bytes() == CONTENT and len(web.requests) == 1


def test_a_corrupt_file_is_refused_and_kept_aside(web, tmp_path):
    web.files["a.bin"] = CONTENT[:-1] + b"?"
    with pytest.raises(InputError) as caught:
        get(web, tmp_path, checksum=MD5)
    wrong = hashlib.md5(web.files["a.bin"]).hexdigest()
    assert MD5 in str(caught.value) and wrong in str(caught.value) and "a.bin.corrupt" in str(caught.value)
    assert names(tmp_path) == {"a.bin.corrupt"}
    web.files["a.bin"] = CONTENT
    assert get(web, tmp_path, checksum=MD5).read_bytes() == CONTENT


def test_a_file_that_is_there_is_verified_once_and_not_downloaded(web, tmp_path, monkeypatch):
    (tmp_path / "a.bin").write_bytes(CONTENT)
    hashed = []
    real = checksums.file_checksum
    monkeypatch.setattr(checksums, "file_checksum", lambda *args: hashed.append(args) or real(*args))
    get(web, tmp_path, checksum=MD5)
    get(web, tmp_path, checksum=MD5)
    assert len(hashed) == 1 and not web.requests
    (tmp_path / "a.bin").write_bytes(CONTENT[::-1])
    with pytest.raises(InputError, match=r"kept as .*a\.bin\.corrupt"):
        get(web, tmp_path, checksum=MD5)
    assert len(hashed) == 2 and not web.requests


def test_a_downloaded_file_is_hashed_once(web, tmp_path, monkeypatch):
    get(web, tmp_path, checksum=MD5)
    monkeypatch.setattr(checksums, "file_checksum", None)
    get(web, tmp_path, checksum=MD5)
    assert len(web.requests) == 1


def test_a_busy_server_is_asked_again_and_a_refusal_is_final(web, tmp_path):
    web.statuses = [503, 500]
    assert get(web, tmp_path, checksum=MD5).read_bytes() == CONTENT
    web.requests.clear()
    with pytest.raises(InputError, match=r"nothing: HTTP 404 .*mirror"):
        fetch(web.url("nothing"), tmp_path / "b.bin", patience=QUICK, remedy="use a mirror")
    assert len(web.requests) == 1 and "b.bin.part" not in names(tmp_path)


def test_asking_ends_and_the_message_says_why(web, tmp_path):
    web.statuses = [503] * 10
    with pytest.raises(InputError, match=r"3 attempts failed, the last so: HTTP 503"):
        get(web, tmp_path, checksum=MD5)
    assert len(web.requests) == 3
    with pytest.raises(InputError, match="ConnectionRefusedError"):
        fetch("http://127.0.0.1:9/a.bin", tmp_path / "a.bin", patience=QUICK)
    assert names(tmp_path) == set()


def test_progress_renews_the_patience(web, tmp_path):
    web.files["a.bin"] = content = CONTENT * 20
    web.cuts = [1_000_000] * 5
    path = get(web, tmp_path, checksum=hashlib.md5(content).hexdigest(), patience=ONCE)
    assert path.read_bytes() == content and len(web.requests) == 6


def test_a_full_disk_is_told_before_the_bytes_come(web, tmp_path, monkeypatch):
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda folder: usage(1000))
    with pytest.raises(InputError, match=r"a\.bin needs 0\.00 GB more"):
        get(web, tmp_path, checksum=MD5)
    assert not (tmp_path / "a.bin").exists()


def test_a_web_page_is_not_taken_for_the_file(web, tmp_path):
    web.content_type = "text/html; charset=utf-8"
    with pytest.raises(InputError, match="web page"):
        get(web, tmp_path)
    assert "a.bin" not in names(tmp_path)


def test_without_length_the_checksum_decides(web, tmp_path):
    web.lengths = False
    with pytest.raises(InputError, match="no length and no checksum"):
        get(web, tmp_path)
    web.cuts = [100_000]
    assert get(web, tmp_path, checksum=MD5).read_bytes() == CONTENT


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://example.org/x", "a.bin"])
def test_only_web_addresses_are_taken(url, tmp_path):
    with pytest.raises(InputError, match="only http and https"):
        fetch(url, tmp_path / "a.bin")


def test_two_processes_do_not_write_one_file(web, tmp_path):
    with (tmp_path / "a.bin.part").open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="another process"):
            get(web, tmp_path, checksum=MD5)
    assert get(web, tmp_path, checksum=MD5).read_bytes() == CONTENT


def test_a_certificate_that_is_not_trusted_is_not_asked_again(tmp_path, monkeypatch):
    error = download.ssl.SSLCertVerificationError("self-signed")
    error.verify_message = "self-signed certificate"
    asked = []

    def refuse(*args, **kwargs):
        asked.append(args)
        raise download.urllib.error.URLError(error)

    monkeypatch.setattr(download.urllib.request, "urlopen", refuse)
    with pytest.raises(InputError, match=r"not trusted \(self-signed certificate\).*SSL_CERT_FILE"):
        fetch("https://example.org/a.bin", tmp_path / "a.bin", patience=QUICK)
    assert len(asked) == 1


def test_checksum_lists_are_read_as_md5sum_writes_them(tmp_path):
    listed = tmp_path / "md5sum.txt"
    listed.write_text(f"{MD5}  ./a.bin\n{MD5.upper()} *b c.bin\n\n{SHA256}  d\n")
    assert read_checksums(listed) == {"a.bin": MD5, "b c.bin": MD5, "d": SHA256}
    for wrong in (f"{MD5[:-1]}  a\n", "<html>\n", f"{MD5}  a\n{'0' * 32}  a\n"):
        listed.write_text(wrong)
        with pytest.raises(InputError, match=r"md5sum\.txt:\d"):
            read_checksums(listed)
    with pytest.raises(InputError, match="no such file"):
        read_checksums(tmp_path / "nothing")


def test_a_checksum_of_another_kind_is_refused_before_anything_is_asked(web, tmp_path):
    with pytest.raises(InputError, match="no checksum"):
        get(web, tmp_path, checksum="abc")
    assert not web.requests
