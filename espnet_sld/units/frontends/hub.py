"""Where a named model comes from: a local file, or the Hugging Face hub, once."""

import os
from dataclasses import dataclass
from pathlib import Path

from espnet_sld.errors import InputError

# s3prl's own copies of the published checkpoints, in the formats that need no fairseq.
CONVERTED = "s3prl/converted_ckpts"
SSL_FILES = {
    "wavlm_base": "wavlm_base.pt",
    "wavlm_base_plus": "wavlm_base_plus.pt",
    "wavlm_large": "wavlm_large.pt",
    "hubert_base": "hubert_base_ls960.pt",
    "hubert_large_ll60k": "hubert_large_ll60k.pt",
}
HUB = "https://huggingface.co"


@dataclass(frozen=True)
class Located:
    """A checkpoint on this machine; `provenance` says where it came from (source, and of the hub repository
    and revision, the commit)."""

    path: Path
    provenance: dict[str, str]


def locate(model: str, source: str, revision: str) -> Located:
    """The checkpoint of a named model or path.

    Args:
        model: a name of `base.LAYERED`, or a path.
        source: a local checkpoint of the named model; empty: the hub's, downloaded once into its cache.
        revision: branch, tag or commit of the hub's repository; empty: main.

    Raises:
        InputError: no such file, nothing published under the name, or the hub cannot be reached.
    """
    named = model in SSL_FILES or model.startswith("whisper_") or model == "hubert_large_ll160k"
    local = source if named else model
    if not named and source:
        raise InputError(f"{model}: source={source} is for named models; a path is its own source")
    if local:
        if revision:
            raise InputError(f"{local}: revision={revision} is for downloads; a local checkpoint has none")
        if not Path(local).exists():
            raise InputError(f"{local}: no such checkpoint; give a file or a Hugging Face directory")
        return Located(Path(local), {"source": str(Path(local).resolve())})
    if model in SSL_FILES:
        path = _download(model, CONVERTED, SSL_FILES[model], revision)
        return Located(path, _provenance(CONVERTED, path))
    if model.startswith("whisper_"):
        return _whisper(model, revision)
    raise InputError(
        f"{model}: no public checkpoint is known; give yours by source=PATH (--frontend_conf, or "
        "--frontend_source of a recipe), or take hubert_large_ll60k, which the paper's released code uses"
    )


def _whisper(model: str, revision: str) -> Located:
    """A Whisper repository's configuration and weights, all of one commit."""
    size = model.removeprefix("whisper_").replace("_", "-").replace("-en", ".en")
    repository = f"openai/whisper-{size}"
    config = _download(model, repository, "config.json", revision)
    provenance = _provenance(repository, config)
    commit = provenance["revision"] or revision
    for file in ("preprocessor_config.json", "model.safetensors"):
        _download(model, repository, file, commit)
    return Located(config.parent, provenance)


def _download(model: str, repository: str, file: str, revision: str) -> Path:
    """Path of a hub file in the local cache."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HTTPError, RevisionResolutionError

    try:
        return Path(hf_hub_download(repository, file, revision=revision or None))
    except (OSError, ValueError, EntryNotFoundError, RevisionResolutionError, HTTPError) as error:
        offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}
        why = "HF_HUB_OFFLINE is set and it is not in the cache" if offline else _first_line(error)
        url = f"{os.environ.get('HF_ENDPOINT', HUB)}/{repository}/resolve/{revision or 'main'}/{file}"
        raise InputError(
            f"{model}: cannot get {file} of {repository} from the Hugging Face hub ({why}); where there is a "
            f"network, fetch {url} (for a directory, all its files) and give source=PATH (--frontend_conf, "
            "or --frontend_source of a recipe), or fill the cache there and point HF_HOME to it"
        ) from None


def _provenance(repository: str, path: Path) -> dict[str, str]:
    """The cache keeps a file at …/snapshots/<commit>/<file>."""
    parts = path.parts
    commit = parts[parts.index("snapshots") + 1] if "snapshots" in parts else ""
    return {"source": str(path), "repository": repository, "revision": commit}


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
