"""Files over HTTP(S): resumed where they broke off, verified, and whole when they appear under their name."""

import http.client
import json
import logging
import os
import re
import ssl
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from espnet_sld.corpus.checksums import Verified, algorithm, file_checksum, set_aside, verify
from espnet_sld.corpus.disk import lock, need_space
from espnet_sld.errors import InputError
from espnet_sld.files import atomic_write
from espnet_sld.progress import Progress
from espnet_sld.version import __version__

BLOCK = 2**18
MEGABYTE = 10**6
LONGEST_WAIT = 300.0  # seconds that a server's Retry-After is obeyed
BUSY = {408, 425, 429, 500, 502, 503, 504}
CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")


class _Interrupted(Exception):
    """The transfer stopped for a reason that may pass; `wait`: seconds that the server asked for."""

    def __init__(self, reason: str, wait: float = 0.0):
        super().__init__(reason)
        self.wait = wait


@dataclass(frozen=True)
class Patience:
    """How long to go on asking.

    Attributes:
        attempts: this many in a row without a megabyte of progress end the download.
        wait: seconds after an attempt that brought nothing; doubled each time.
        timeout: seconds without a byte that count as an interruption.
    """

    attempts: int = 5
    wait: float = 1.0
    timeout: float = 60.0


def fetch(
    url: str,
    path: str | os.PathLike,
    *,
    checksum: str | None = None,
    patience: Patience | None = None,
    remedy: str = "get the file by other means",
) -> Path:
    """Download `url` to `path` unless it is there.

    Bytes gather in `<path>.part`, with ETag and length in `<path>.part.json`; an interrupted download, also
    one that was killed, goes on from there by a Range request. Where the server cannot resume, or its
    file has changed, it begins again. The name `path` appears only with the whole file.

    Args:
        checksum: MD5 or SHA-256, lower-case hexadecimal; a file that is there already is held against it
            too, once (see `Verified`). Without it only the length is checked, which the server must tell.
        remedy: what else the user can do, for messages.

    Raises:
        InputError: the file cannot be had (what came stays for the next run), or is not the one
            expected (kept aside as `<path>.corrupt`).
    """
    path, patience = Path(path), patience or Patience()
    if urlsplit(url).scheme not in ("http", "https"):
        raise InputError(f"{url}: only http and https addresses can be downloaded from; {remedy}")
    if checksum:
        algorithm(checksum)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_file():
        part = Path(f"{path}.part")
        with part.open("ab", buffering=0) as stream:
            lock(stream, part)
            try:
                if not path.is_file():  # nor has another process just finished it
                    _Download(url, path, part, stream, checksum, patience, remedy).run()
            finally:
                if part.exists() and part.stat().st_size == 0:
                    part.unlink()
    if checksum:
        verify(path, checksum, remedy)
    return path


@dataclass
class _Download:
    """One file on its way: `stream` is the open part, whose size is what has come."""

    url: str
    path: Path
    part: Path
    stream: BinaryIO
    checksum: str | None
    patience: Patience
    remedy: str

    @property
    def size(self) -> int:
        return os.fstat(self.stream.fileno()).st_size

    @property
    def state(self) -> Path:
        """Beside the part: its address, ETag and length."""
        return Path(f"{self.part}.json")

    def run(self) -> None:
        """Complete the part, hold it against the checksum, give it its name."""
        certain = self.transfer()
        if self.checksum:
            found = file_checksum(self.part, self.checksum)
            if found != self.checksum and not certain:
                logging.warning(f"{self.part}: its checksum is wrong, perhaps by resuming; beginning again")
                self.stream.truncate(0)
                self.transfer()
                found = file_checksum(self.part, self.checksum)
            if found != self.checksum:
                self.state.unlink(missing_ok=True)
                raise set_aside(self.part, self.path, found, self.checksum, self.remedy)
        os.fsync(self.stream.fileno())
        self.part.replace(self.path)
        self.state.unlink(missing_ok=True)
        if self.checksum:
            Verified(self.path.parent).note(self.path, self.checksum)

    def transfer(self) -> bool:
        """Ask until the part is complete; True if it is one answer, of the length that the server told."""
        failures, furthest = 0, self.size
        while True:
            before = self.size
            try:
                return self.attempt()
            except _Interrupted as reason:
                size = self.size
                # Only new ground counts: a server that cannot resume would else be asked for ever.
                failures = 0 if size >= furthest + MEGABYTE else failures + 1
                furthest = max(furthest, size)
                if failures >= self.patience.attempts:
                    raise InputError(
                        f"{self.url}: {failures} attempts failed, the last so: {reason}. {size} bytes are "
                        f"kept in {self.part}: run the same command again to go on, or {self.remedy}"
                    ) from None
                pause = 0.0 if size > before else self.patience.wait * 2 ** (failures - 1)
                pause = max(pause, min(reason.wait, LONGEST_WAIT))
                logging.warning(f"{self.url}: {reason}; going on from byte {size} in {pause:.0f} s")
                time.sleep(pause)

    def attempt(self) -> bool:
        """One request, from the first missing byte on where that is safe; see `transfer`."""
        length, etag = self.earlier()
        have = self.size
        if have and have == length:
            return False
        response = self.ask(have, etag)
        if response is None:
            return False
        with response:
            start, total = 0, response.length
            if response.status == 206:
                start, total = _content_range(response)
                total = total or length
            new_etag = response.headers.get("ETag")
            if new_etag and new_etag.startswith("W/"):  # a weak tag does not vouch for bytes
                new_etag = None
            changed = (length or total) != total or (etag and new_etag and etag != new_etag)
            if start and (start != have or changed):
                self.stream.truncate(0)
                raise _Interrupted("the file has changed on the server")
            self.check(response, total)
            if have and not start:
                logging.warning(f"{self.url}: sent from its start (the server cannot resume, or it changed)")
            self.stream.truncate(start)
            with atomic_write(self.state) as state_stream:
                json.dump({"url": self.url, "etag": new_etag, "length": total}, state_stream)
            need_space(self.part.parent, (total or 0) - start, self.path.name)
            self.copy(response, start, total)
        return not start and total is not None

    def earlier(self) -> tuple[int | None, str | None]:
        """Length and ETag that an earlier answer gave; bytes that cannot be trusted are thrown away."""
        try:
            state = json.loads(self.state.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            state = {}
        # Another address may be another mirror: then ETags say nothing, the checksum all.
        length, etag = state.get("length"), state.get("etag") if state.get("url") == self.url else None
        if not (self.checksum or etag) or (length is not None and self.size > length):
            self.stream.truncate(0)  # nothing would tell whether old and new bytes are of one file
        return length, etag

    def ask(self, have: int, etag: str | None) -> http.client.HTTPResponse | None:
        """The answer to a request for the bytes from `have` on; None where the server says that is all."""
        headers = {"User-Agent": f"espnet_sld/{__version__}"}
        if have:
            headers["Range"] = f"bytes={have}-"
            if etag:
                headers["If-Range"] = etag
        request = urllib.request.Request(self.url, headers=headers)
        try:
            return urllib.request.urlopen(request, timeout=self.patience.timeout)
        except urllib.error.HTTPError as error:
            with error:
                if error.code != 416 or not have:
                    raise _refusal(error, self.url, self.remedy) from None
                if _content_range(error)[1] == have:
                    return None
                self.stream.truncate(0)
                raise _Interrupted("the part is longer than the file on the server") from None
        except (OSError, http.client.HTTPException) as error:
            raise _failure(error, self.url) from None

    def check(self, response: http.client.HTTPResponse, total: int | None) -> None:
        """Refuse answers that cannot be the file."""
        page = response.headers.get_content_type() == "text/html"
        if page and self.path.suffix not in (".html", ".htm"):
            raise InputError(f"{self.url}: answered with a web page; check the address, or {self.remedy}")
        if total is None and not self.checksum:
            raise InputError(
                f"{self.url}: the server tells no length and no checksum is known; {self.remedy}"
            )

    def copy(self, response: http.client.HTTPResponse, start: int, total: int | None) -> None:
        """Append the answer's body; every block is in the file before the next is read."""
        what = f"{self.path.name} from {start / 1e6:.1f} MB on" if start else self.path.name
        progress, got = Progress(max(((total or 0) - start) // MEGABYTE, 1), what, unit="MB"), 0
        while True:
            try:
                block = response.read1(BLOCK)
            except (OSError, http.client.HTTPException) as error:
                raise _failure(error, self.url) from None
            if not block:
                break
            view = memoryview(block)
            while view:  # an unbuffered write may take less than all
                view = view[self.stream.write(view) :]
            progress.update((got + len(block)) // MEGABYTE - got // MEGABYTE)
            got += len(block)
        if total is not None and start + got != total:
            raise _Interrupted(f"the connection ended after {start + got} of {total} bytes")
        progress.update(progress.total - progress.done)  # a megabyte begun
        progress.close()


def _content_range(answer: http.client.HTTPResponse | urllib.error.HTTPError) -> tuple[int, int | None]:
    """First byte and total length (None if unknown) of `Content-Range: bytes 5-9/10` or `bytes */10`."""
    match = CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", "").strip())
    if not match:
        return -1, None
    return int(match[1] or -1), None if match[2] == "*" else int(match[2])


def _refusal(error: urllib.error.HTTPError, url: str, remedy: str) -> Exception:
    """What to raise for an HTTP status that is no success."""
    if error.code in BUSY:
        wait = error.headers.get("Retry-After", "")
        return _Interrupted(f"HTTP {error.code} {error.reason}", float(wait) if wait.isdecimal() else 0.0)
    return InputError(f"{url}: HTTP {error.code} {error.reason}; check the address, or {remedy}")


def _failure(error: OSError | http.client.HTTPException, url: str) -> Exception:
    """What to raise where there is no answer, or no end of it."""
    reason = getattr(error, "reason", error)
    if isinstance(reason, ssl.SSLCertVerificationError):
        return InputError(
            f"{url}: its certificate is not trusted ({reason.verify_message}); where a proxy "
            "has its own, name its authority's file in SSL_CERT_FILE"
        )
    return _Interrupted(f"{type(reason).__name__}: {reason}".rstrip(": "))
