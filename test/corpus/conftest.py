"""Shared by the corpus tests: a small data directory, a small LibriSpeech, a web server on loopback."""

import hashlib
import re
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import soundfile

from espnet_sld.corpus.data_dir import DataDir


@pytest.fixture
def wavs(tmp_path: Path) -> Path:
    folder = tmp_path / "wavs"
    folder.mkdir()
    for index in range(6):
        soundfile.write(folder / f"{index}.wav", 0.1 * np.ones(1600 * (index + 1), np.float32), 16000)
    return folder


@pytest.fixture
def data(wavs: Path) -> DataDir:
    utts = [f"spk{index % 2}-utt{index}" for index in range(6)]
    return DataDir(
        wav={utt: str(wavs / f"{index}.wav") for index, utt in enumerate(utts)},
        utt2spk={utt: utt[:4] for utt in utts},
        text={utt: f"number {index}" for index, utt in enumerate(utts)},
        utt2dur={utt: 0.1 * (index + 1) for index, utt in enumerate(utts)},
    )


@pytest.fixture(scope="session")
def small_librispeech(librispeech_dir: Path, tmp_path_factory) -> Path:
    """Three parts of the real corpus: two chapters each, with the two shortest recordings of each."""
    root = tmp_path_factory.mktemp("small") / "LibriSpeech"
    root.mkdir()
    for path in librispeech_dir.glob("*.TXT"):
        shutil.copyfile(path, root / path.name)
    for part in ("train-clean-100", "test-clean", "test-other"):
        for chapter in sorted((librispeech_dir / part).glob("*/*"))[:2]:
            target = root / chapter.relative_to(librispeech_dir)
            target.mkdir(parents=True)
            flacs = sorted(chapter.glob("*.flac"), key=lambda path: path.stat().st_size)[:2]
            (trans,) = chapter.glob("*.trans.txt")
            lines = trans.read_text().splitlines(keepends=True)
            kept = {path.stem for path in flacs}
            (target / trans.name).write_text("".join(line for line in lines if line.split()[0] in kept))
            for path in flacs:
                shutil.copyfile(path, target / path.name)
    return root


@dataclass
class Request:
    """One request that the server answered."""

    path: str
    range: str | None
    if_range: str | None
    status: int = 0
    sent: int = 0


class Server(ThreadingHTTPServer):
    """Serves `files` (path → content) and remembers `requests`; the attributes make it misbehave.

    Attributes:
        cuts: body bytes after which the connection is closed, one for each of the next answers.
        statuses: what to answer instead, one for each of the next requests.
        ranges, etags, if_ranges, lengths: whether it does Range, ETag, If-Range, Content-Length.
        weak: whether its ETags are weak.
        block, pause: body bytes written at a time, and seconds between them.
    """

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.requests: list[Request] = []
        self.cuts: list[int] = []
        self.statuses: list[int] = []
        self.ranges = self.etags = self.if_ranges = self.lengths = True
        self.weak = False
        self.content_type = "application/gzip"
        self.block, self.pause = 2**16, 0.0

    def url(self, path: str = "") -> str:
        return f"http://127.0.0.1:{self.server_port}/{path}".rstrip("/")

    @property
    def sent(self) -> int:
        """Body bytes of all files so far."""
        return sum(request.sent for request in self.requests)

    def handle_error(self, request, client_address) -> None:
        """A client that went away is what some tests are about."""


class Handler(BaseHTTPRequestHandler):
    def log_message(self, format, *args) -> None:
        pass

    def do_GET(self) -> None:
        server, path = self.server, self.path.lstrip("/")
        request = Request(path, self.headers["Range"], self.headers["If-Range"])
        server.requests.append(request)
        content = server.files.get(path)
        status = server.statuses.pop(0) if server.statuses else 404 if content is None else 200
        if status != 200:
            request.status = status
            self.send_error(status)
            return
        etag, first = f'"{hashlib.md5(content).hexdigest()}"', 0
        asked = re.fullmatch(r"bytes=(\d+)-", request.range or "")
        if asked and server.ranges and not (server.if_ranges and request.if_range not in (None, etag)):
            first, status = int(asked[1]), 206
        request.status = status = 416 if first >= len(content) > 0 else status
        last = min(len(content), first + server.cuts.pop(0)) if server.cuts else len(content)
        self.send_response(status)
        if status == 416:
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if status == 206:
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        if server.lengths:
            self.send_header("Content-Length", str(len(content) - first))
        if server.etags:
            self.send_header("ETag", f"W/{etag}" if server.weak else etag)
        self.send_header("Content-Type", server.content_type)
        self.end_headers()
        for start in range(first, last, server.block):
            block = content[start : min(start + server.block, last)]
            self.wfile.write(block)
            request.sent += len(block)
            threading.Event().wait(server.pause)


@pytest.fixture
def server(monkeypatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as httpd:
        thread = threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield httpd
        httpd.shutdown()
        thread.join()
