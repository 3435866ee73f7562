"""To the hub and back by its own client, over a hub of a few lines on this machine."""

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import pytest

from espnet_sld import Speech2Text
from espnet_sld.bin import upload as upload_command
from espnet_sld.errors import InputError
from espnet_sld.inference.hub import fetch, upload
from espnet_sld.inference.unpack import Pack

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class FakeHub(BaseHTTPRequestHandler):
    """As much of the hub's API as its client needs for model repositories of regular files."""

    def log_message(self, *args) -> None:
        pass

    def answer(self, code: int, content=b"", **headers) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(code)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        path, repos = urlsplit(self.path).path, self.server.repos
        self.server.seen.append((self.command, path, self.headers.get("Authorization")))
        if path == "/api/repos/create":
            values = json.loads(body)
            name = f"{values.get('organization') or 'user'}/{values['name']}"
            repos.setdefault(name, {})
            self.answer(200, {"url": f"http://{self.headers['Host']}/{name}", "id": name})
        elif match := re.fullmatch(r"/api/models/(.+)/preupload/main", path):
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(body)["files"]
            ]
            self.answer(200, {"files": files})
        elif match := re.fullmatch(r"/api/models/(.+)/commit/main", path):
            for line in body.splitlines():
                row = json.loads(line)
                if row["key"] == "file":
                    repos[match[1]][row["value"]["path"]] = base64.b64decode(row["value"]["content"])
                elif row["key"] == "deletedFile":
                    del repos[match[1]][row["value"]["path"]]
            url = f"http://{self.headers['Host']}/{match[1]}/commit/{COMMIT}"
            self.answer(200, {"commitUrl": url, "commitOid": COMMIT, "success": True})
        else:
            self.answer(200, {})

    def do_GET(self) -> None:
        path, repos = unquote(urlsplit(self.path).path), self.server.repos
        self.server.seen.append((self.command, path, self.headers.get("Authorization")))
        resolve = re.fullmatch(r"/(?:api/models/)?([^/]+/[^/]+)/resolve(?:-cache)?/[^/]+/(.+)", path)
        model = re.fullmatch(r"/api/models/([^/]+/[^/]+)(/revision/[^/]+|/tree/.*)?", path)
        name = (resolve or model) and (resolve or model)[1]
        if name not in repos:
            self.answer(404, {"error": "no"}, X_Error_Code="RepoNotFound")
        elif resolve:
            data = repos[name].get(resolve[2])
            if data is None:
                self.answer(404, {"error": "no"}, X_Error_Code="EntryNotFound")
                return
            etag = hashlib.sha1(data).hexdigest()
            self.answer(200, data, ETag=f'"{etag}"', X_Repo_Commit=COMMIT)
        elif "/tree/" in path:
            rows = [
                {"type": "file", "path": file, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                for file, data in sorted(repos[name].items())
            ]
            self.answer(200, rows)
        else:
            files = [{"rfilename": file} for file in sorted(repos[name])]
            self.answer(200, {"id": name, "modelId": name, "sha": COMMIT, "siblings": files, "tags": []})

    do_HEAD = do_GET


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Address and contents of a fake hub; the client's cache is the test's own."""
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    server = ThreadingHTTPServer(("127.0.0.1", 0), FakeHub)
    server.repos, server.seen = {}, []
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.slow
def test_a_pack_goes_to_the_hub_and_comes_back_by_name(packed, recipe, hub):
    folder = packed("plain")
    sent = upload(folder, "user/digits", endpoint=hub.url, token="hf_test")
    files = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert hub.repos == {"user/digits": files}
    assert dict(sent) == {name: len(data) for name, data in files.items()}
    assert {token for method, _, token in hub.seen if method == "POST"} == {"Bearer hf_test"}
    root = fetch("user/digits", endpoint=hub.url)
    assert Pack.open(root).digest == Pack.open(folder).digest
    recordings = list(recipe.wavs().values())[:3]
    ours, theirs = (
        Speech2Text.from_pretrained(source, endpoint=hub.url)(recordings)
        for source in (folder, "user/digits")
    )
    assert [result.text for result in ours] == [result.text for result in theirs]


@pytest.mark.slow
def test_what_the_hub_changed_is_refused(packed, hub):
    upload(packed("plain"), "user/digits", endpoint=hub.url, token="hf_test")
    hub.repos["user/digits"]["config.json"] += b" "
    with pytest.raises(InputError, match=r"config.json: was changed or damaged"):
        Speech2Text.from_pretrained("user/digits", endpoint=hub.url)


def test_an_upload_replaces_what_was_there(packed, hub):
    hub.repos["user/digits"] = {"old.safetensors": b"1", "README.md": b"old"}
    upload(packed("plain"), "user/digits", endpoint=hub.url, token="hf_test")
    assert "old.safetensors" not in hub.repos["user/digits"]
    assert hub.repos["user/digits"]["README.md"] != b"old"


def test_a_dry_run_sends_nothing(packed, hub, capsys):
    arguments = ["--pack", str(packed("plain")), "--repo_id", "user/digits", "--endpoint", hub.url]
    upload_command.main([*arguments, "--dry_run", "true"])
    out = capsys.readouterr().out
    assert "model.safetensors" in out and "would send" in out
    assert hub.seen == [] and hub.repos == {}


def test_what_the_hub_refuses_is_one_message(packed, hub, tmp_path):
    with pytest.raises(InputError, match=r"user/none: is no directory .*, and cannot be had from the hub"):
        fetch("user/none", endpoint=hub.url)
    with pytest.raises(InputError, match="the hub did not take it"):
        upload(packed("plain"), "a/b/c", dry_run=True)
    address = hub.url
    hub.shutdown()
    hub.server_close()
    with pytest.raises(InputError, match="cannot be had from the hub"):
        fetch("user/digits", endpoint=address)
    (tmp_path / "x.zip").touch()
    with pytest.raises(InputError, match="unpack it first"):
        upload_command.main(["--pack", str(tmp_path / "x.zip"), "--repo_id", "user/x"])
