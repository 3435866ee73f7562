"""A pack opened again: from a directory, a zip or the hub; verified first, and never unpickled."""

import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from espnet_sld.errors import InputError
from espnet_sld.files import atomic_write
from espnet_sld.inference.archive import (
    check_digest,
    extract_zip,
    safe_path,
    verify_directory,
    whole_directory,
    zip_manifest,
)
from espnet_sld.inference.front_end_files import FOLDER, build_packed
from espnet_sld.inference.pack import CONFIG, INFO, KMEANS, LISTS, WEIGHTS
from espnet_sld.units.frontends.base import LAYERED, FrontEnd
from espnet_sld.units.kmeans import KMeans
from espnet_sld.units.train import CHARACTER_LIST
from espnet_sld.units.unit_text import write_character_list

HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*", re.ASCII)
UNIT_LIST = re.compile(r"src_bpe_(unigram|bpe)(\d+)_(?:ts|rm)_")
TEXT_LIST = re.compile(r"tgt_bpe_(unigram|bpe)(\d+)_ts_([\w-]+)", re.ASCII)


@dataclass(frozen=True)
class Pack:
    """A verified pack.

    Attributes:
        root: its directory. kind: "model" or "tokenizer". digest: SHA-256 of its manifest.
        info: pack.json.
    """

    root: Path
    kind: str
    digest: str
    info: dict[str, Any]

    @classmethod
    def open(
        cls,
        source: str | os.PathLike,
        *,
        digest: str | None = None,
        revision: str | None = None,
        endpoint: str | None = None,
        cache_dir: str | Path | None = None,
    ) -> "Pack":
        """Verify a pack and open it.

        Args:
            source: a directory, a zip, or a name on the hub (`user/model`).
            digest: what `pack` printed; another pack is then refused.
            revision, endpoint: for the hub.
            cache_dir: where a zip is unpacked, once; None: $ESPNET_SLD_CACHE, else ~/.cache/espnet_sld.

        Raises:
            InputError: there is no such pack, it was changed or damaged, or is not the one asked for.
        """
        path = Path(source)
        if path.is_dir():
            root = path
        elif path.is_file():
            root = _extracted(path, digest, cache_dir)
        elif HUB_NAME.fullmatch(str(source)):
            from espnet_sld.inference.hub import fetch

            root = fetch(str(source), revision=revision, endpoint=endpoint)
        else:
            raise InputError(f"{source}: no such directory or zip, and no name on the hub (user/model)")
        manifest, found = verify_directory(root, digest)
        try:
            info = json.loads((root / INFO).read_text(encoding="utf-8"))
            if not isinstance(info, dict):
                raise ValueError("no object")
        except (FileNotFoundError, ValueError):
            raise InputError(f"{root}: has no {INFO}, or a damaged one; pack again") from None
        return cls(root, manifest["kind"], found, info)

    @property
    def units(self) -> dict[str, Any]:
        """Number of clusters and case of the units; InputError if the pack's model hears filterbanks."""
        if self.info["units"] is None:
            raise InputError(f"{self.root}: its model hears filterbanks; there are no units in it")
        return self.info["units"]

    def kmeans(self) -> KMeans:
        """The centroids."""
        return KMeans.load(self.root / KMEANS, self.units["num_clusters"])

    def front_end(self, device: str = "cpu", source: str | None = None) -> FrontEnd:
        """The front-end, the same as k-means was fitted with.

        Args:
            source: a local checkpoint, where the pack has none and the hub is not to be asked.
        """
        return build_packed(self.info["frontend"], self.root, device, source)

    def trained(self, device: str = "cpu") -> Any:
        """The `TrainedModel` of a pack of kind "model", or the `TrainedCtc` of a CTC recogniser's."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        from espnet_sld.inference.checkpoint import assemble_model
        from espnet_sld.inference.ctc_checkpoint import CTC_PATHS, assemble_ctc, is_ctc

        if self.kind != "model":
            raise InputError(
                f"{self.root}: holds a tokenizer without a model; name a pack of a trained model"
            )
        weights, config = self.root / WEIGHTS, self.root / CONFIG
        try:
            parameters, conf = load_file(weights), json.loads(config.read_text(encoding="utf-8"))
            paths = self.info["token_paths"]
        except (SafetensorError, OSError, ValueError, KeyError) as error:
            raise InputError(f"{self.root}: its model cannot be read ({error}); pack again") from None
        if bad := [path for path in paths.values() if path and not safe_path(path)]:
            raise InputError(f"{self.root}: names its tokens '{bad[0]}', which is not in it; do not use it")
        paths = {role: path and str(self.root / path) for role, path in paths.items()}
        if is_ctc(conf):
            conf |= {option: paths[role] for role, option in CTC_PATHS.items()}
            return assemble_ctc(conf, parameters, device, checkpoint=weights, config=config)
        conf |= {f"{kind}_token_path": path for kind, path in paths.items()}
        return assemble_model(conf, parameters, device, checkpoint=weights, config=config)


def unpack(source: str | os.PathLike, out_dir: str | Path, **options: Any) -> Pack:
    """A verified copy of a pack as a directory; nothing if `out_dir` is that pack already.

    Args:
        options: as for `Pack.open`.

    Raises:
        InputError: `out_dir` exists and is something else, or as `Pack.open`.
    """
    pack, out_dir = Pack.open(source, **options), Path(out_dir)
    if out_dir.exists():
        try:
            return Pack.open(out_dir, digest=pack.digest)
        except InputError as error:
            raise InputError(
                f"{out_dir}: exists and is not this pack ({error}); choose another name"
            ) from None
    with whole_directory(out_dir) as folder:
        for name, path in _files(pack.root):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / name)
        verify_directory(folder, pack.digest)
    return Pack.open(out_dir)


def lay_out(
    pack: Pack, kmeans_dir: str | Path, token_lists: str | Path, frontend_dir: str | Path | None = None
) -> None:
    """Put a pack's tokenizer where stages 3 and 5 would have put theirs, so that neither has to fit anything.

    Writes `kmeans_dir` (`km_<K>.{safetensors,json,mdl}`), beside it `distinct_cjk_token_lists`, below
    `token_lists` the subword models and lists, and below `frontend_dir` the front-end's weights, where the
    pack has them. What is there already and equal stays as it is.

    Raises:
        InputError: another k-means or subword model stands there; nothing is overwritten.
    """
    kmeans_dir, number = Path(kmeans_dir), pack.units["num_clusters"]
    copies: dict[Path, Path] = {}
    folders = [(KMEANS, kmeans_dir), (LISTS, Path(token_lists))]
    if pack.info["frontend"]["included"]:
        if frontend_dir is None:
            raise InputError(f"{pack.root}: brings its front-end; say where to put it")
        folders.append((FOLDER, Path(frontend_dir)))
    for name, target in folders:
        for inner, path in _files(pack.root / name):
            copies[target / inner] = path
    for target, path in copies.items():
        if target.exists() and target.read_bytes() != path.read_bytes():
            raise InputError(
                f"{target}: is there already, and not the one of {pack.root}; "
                "choose other directories (--expdir, --datadir, --dumpdir), or remove it"
            )
    for target, path in copies.items():
        if not target.exists():
            with atomic_write(target, "wb") as stream, path.open("rb") as source:
                shutil.copyfileobj(source, stream)
    if not (kmeans_dir / f"km_{number}.mdl").exists():
        pack.kmeans().export_mdl(kmeans_dir / f"km_{number}.mdl")
    if not (kmeans_dir.parent / CHARACTER_LIST).exists():
        write_character_list(kmeans_dir.parent / CHARACTER_LIST)


def _files(root: Path) -> list[tuple[Path, Path]]:
    """(name below `root`, path) of a pack's files there; what starts with a dot is none of them."""
    found = [(path.relative_to(root), path) for path in sorted(root.rglob("*")) if path.is_file()]
    return [(name, path) for name, path in found if not any(part[0] == "." for part in name.parts)]


def recipe_options(pack: Pack, frontend_dir: str | Path) -> dict[str, str]:
    """Options of tokenize.sh that follow from a pack; values have no line ends.

    Args:
        frontend_dir: where `lay_out` puts the front-end's weights.
    """
    frontend, lists = pack.info["frontend"], pack.root / LISTS
    name, conf = str(frontend["name"]), dict(frontend["conf"])
    model, _, layer = name.rpartition("/")
    backend = conf.pop("backend", "")
    options = {"kmeans_feature": name, "nclusters": str(pack.units["num_clusters"])}
    options["unit_case"] = str(pack.units["case"])
    if frontend["included"] and model not in LAYERED:
        options["kmeans_feature"] = f"{frontend_dir}/{model}/{layer}"
    elif frontend["included"]:
        options["frontend_source"] = f"{frontend_dir}/{model}"
    if backend:
        options["frontend_backend"] = str(backend)
    options["kmeans_feature_conf"] = " ".join(
        f"{key}={str(value).lower() if isinstance(value, bool) else value}" for key, value in conf.items()
    )
    for folder in sorted(path.name for path in lists.iterdir()) if lists.is_dir() else []:
        if match := UNIT_LIST.match(folder):
            options["unit_nbpe"] = match[2]
            if match[1] == "bpe":  # unit and unigram have one directory
                options["unit_token_type"] = "bpe"
        elif match := TEXT_LIST.fullmatch(folder):
            options["text_nbpe"], options["lang"] = match[2], match[3]
    if bad := [key for key, value in options.items() if not value.isprintable()]:
        raise InputError(f"{pack.root}: its {bad[0]} has characters that no option has; do not use it")
    return options


def _extracted(path: Path, digest: str | None, cache_dir: str | Path | None) -> Path:
    """The directory that a zip was unpacked into, under its digest."""
    content = zip_manifest(path)
    found = check_digest(content, digest, path)
    base = cache_dir or os.environ.get("ESPNET_SLD_CACHE") or Path.home() / ".cache" / "espnet_sld"
    root = Path(base) / "packs" / found

    def there() -> bool:
        try:
            return verify_directory(root, found)[1] == found
        except InputError:  # not there yet, or damaged
            return False

    if not there():
        try:
            with whole_directory(root, unless=there) as folder:
                extract_zip(path, folder)
                verify_directory(folder, found)
        except OSError:  # parallel jobs unpack the same zip: another one may have been quicker by a hair
            if not there():
                raise
    return root
