"""Named models: from a local file, from the hub's cache, from a hub; and what is said when there is none."""

import hashlib
import http.server
import os
import shutil
import subprocess
import sys
import threading
from typing import ClassVar

import pytest

from espnet_sld.errors import InputError
from espnet_sld.units.frontends import build_frontend

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CODE = (
    "import sys; from espnet_sld.errors import InputError\n"
    "from espnet_sld.units.frontends import build_frontend\n"
    "try: print(build_frontend(sys.argv[1]).provenance)\n"
    "except InputError as error: print('InputError:', error)"
)


def build_elsewhere(name, repo_root, **environment):
    """The provenance or the error of a front-end built in another process, where the hub's settings hold."""
    keep = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    environment = {**keep, "NO_PROXY": "*", "no_proxy": "*", "HF_HUB_DISABLE_TELEMETRY": "1", **environment}
    done = subprocess.run(
        [sys.executable, "-c", CODE, name],
        cwd=repo_root,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_a_named_model_from_a_local_source(checkpoint, tmp_path):
    path = checkpoint("wavlm")
    front_end = build_frontend("wavlm_large/2", source=str(path))
    assert front_end.name == "wavlm_large_2"
    assert front_end.describe() == build_frontend(f"{path}/2").describe()
    assert build_frontend("hubert_large_ll160k/1", source=str(checkpoint("hubert"))).layer == 1
    with pytest.raises(InputError, match="holds a wavlm model, but the front-end is hubert_base"):
        build_frontend("hubert_base/1", source=str(path))
    with pytest.raises(InputError, match=r"nothing\.pt: no such checkpoint"):
        build_frontend("hubert_base/1", source=str(tmp_path / "nothing.pt"))
    with pytest.raises(InputError, match="revision=main is for downloads"):
        build_frontend("wavlm_large/1", source=str(path), revision="main")


def test_a_model_that_nobody_publishes_needs_a_source():
    with pytest.raises(InputError, match=r"hubert_large_ll160k: no public checkpoint.* source=PATH"):
        build_frontend("hubert_large_ll160k/23")


@pytest.mark.slow
def test_offline_the_file_the_address_and_the_ways_out_are_named(repo_root, tmp_path):
    said = build_elsewhere("wavlm_large/23", repo_root, HF_HOME=str(tmp_path), HF_HUB_OFFLINE="1")
    for part in (
        "InputError: wavlm_large: cannot get wavlm_large.pt of s3prl/converted_ckpts",
        "HF_HUB_OFFLINE is set",
        "https://huggingface.co/s3prl/converted_ckpts/resolve/main/wavlm_large.pt",
        "source=PATH",
        "HF_HOME",
    ):
        assert part in said


@pytest.mark.slow
def test_what_is_in_the_hubs_cache_serves_offline_with_its_revision(repo_root, checkpoint, tmp_path):
    repository = tmp_path / "hub" / "models--s3prl--converted_ckpts"
    (repository / "snapshots" / COMMIT).mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    shutil.copy(checkpoint("hubert"), repository / "snapshots" / COMMIT / "hubert_large_ll60k.pt")
    said = build_elsewhere("hubert_large_ll60k/2", repo_root, HF_HOME=str(tmp_path), HF_HUB_OFFLINE="1")
    assert f"'repository': 's3prl/converted_ckpts', 'revision': '{COMMIT}', 'format': 's3prl'" in said


class Hub(http.server.BaseHTTPRequestHandler):
    """Files as the hub serves them: a commit, an ETag and a length for each."""

    files: ClassVar[dict[str, bytes]] = {}
    bodies: ClassVar[list[str]] = []

    def do_HEAD(self):
        content = self.files.get(self.path)
        if content is None:
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None
        self.send_response(200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        return content

    def do_GET(self):
        content = self.do_HEAD()
        if content is not None:
            self.bodies.append(self.path)
            self.wfile.write(content)

    def log_message(self, *args):
        pass


@pytest.fixture
def hub():
    Hub.files, Hub.bodies = {}, []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.slow
def test_a_model_is_downloaded_once_and_its_revision_recorded(hub, repo_root, checkpoint, tmp_path):
    path = "/s3prl/converted_ckpts/resolve/main/wavlm_base_plus.pt"
    Hub.files[path] = checkpoint("wavlm", "base").read_bytes()
    for _ in range(2):
        said = build_elsewhere("wavlm_base_plus/2", repo_root, HF_HOME=str(tmp_path), HF_ENDPOINT=hub)
        assert f"'revision': '{COMMIT}', 'format': 'microsoft'" in said
    assert Hub.bodies == [path]
    said = build_elsewhere("wavlm_large/2", repo_root, HF_HOME=str(tmp_path), HF_ENDPOINT=hub)
    assert "InputError: wavlm_large: cannot get wavlm_large.pt" in said and hub in said


@pytest.mark.slow
def test_whisper_comes_as_a_directory_of_one_commit(hub, repo_root, whisper_dir, tmp_path):
    for file, revision in (
        ("config.json", "main"),
        ("preprocessor_config.json", COMMIT),
        ("model.safetensors", COMMIT),
    ):
        address = f"/openai/whisper-tiny.en/resolve/{revision}/{file}"
        Hub.files[address] = (whisper_dir / file).read_bytes()
    said = build_elsewhere("whisper_tiny_en/2", repo_root, HF_HOME=str(tmp_path), HF_ENDPOINT=hub)
    assert f"'repository': 'openai/whisper-tiny.en', 'revision': '{COMMIT}'" in said
    assert len(Hub.bodies) == 3
