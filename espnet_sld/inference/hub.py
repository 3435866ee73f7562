"""Packs on the Hugging Face hub, by its own client: fetched by name, uploaded as they are."""

from pathlib import Path

from espnet_sld.errors import InputError
from espnet_sld.inference.archive import CARD, MANIFEST, verify_directory


def fetch(name: str, *, revision: str | None = None, endpoint: str | None = None) -> Path:
    """A repository's snapshot in the hub's local cache, downloaded at most once; not verified yet.

    Args:
        name: `user/model`. revision: branch, tag or commit; None: main.
        endpoint: another hub's address; None: the client's own ($HF_ENDPOINT).

    Raises:
        InputError: there is no such repository, or the hub cannot be reached.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import EntryNotFoundError, HTTPError, RevisionResolutionError

    try:
        folder = snapshot_download(name, revision=revision, endpoint=endpoint)
    except (OSError, ValueError, EntryNotFoundError, HTTPError, RevisionResolutionError) as error:
        raise InputError(
            f"{name}: is no directory or zip here, and cannot be had from the hub ({_reason(error)}); check "
            f"name, network and token, or fetch it elsewhere by `hf download {name} --local-dir DIR`"
        ) from None
    return Path(folder)


def upload(
    folder: Path,
    name: str,
    *,
    private: bool = False,
    dry_run: bool = False,
    endpoint: str | None = None,
    token: str | None = None,
) -> list[tuple[str, int]]:
    """Put a verified pack into a repository of the hub as one commit; what was there before is replaced.

    Args:
        name: `user/model`; made if it does not exist.
        dry_run: send nothing.
        token: None: the client's own (`hf auth login`, or $HF_TOKEN).

    Returns:
        (file, bytes) of all that is, or would be, sent.

    Raises:
        InputError: the pack is damaged, the name impossible, or the hub refuses.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HTTPError
    from huggingface_hub.utils import validate_repo_id

    manifest, digest = verify_directory(folder)
    names = sorted([*manifest["files"], MANIFEST, *([CARD] if (folder / CARD).is_file() else [])])
    try:
        validate_repo_id(name)
        if not dry_run:
            api = HfApi(endpoint=endpoint, token=token)
            api.create_repo(name, private=private, exist_ok=True)
            api.upload_folder(
                repo_id=name,
                folder_path=folder,
                commit_message=f"Pack {digest[:12]}",
                allow_patterns=names,
                delete_patterns="*",
            )
    except (OSError, ValueError, HTTPError) as error:
        raise InputError(
            f"{name}: the hub did not take it ({_reason(error)}); check name and token"
        ) from None
    return [(file, (folder / file).stat().st_size) for file in names]


def _reason(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
