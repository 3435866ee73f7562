"""Where an experiment's data lies: the files that its configuration or its mixture names."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from espnet_sld.scoring.run_info import read_yaml

FIELDS = ("speech", "text", "target_text", "image")  # files of a mixture's entry
DATA = "valid_data_path_and_name_and_type"
MIXTURE = "mixture.yaml"  # the copy in the experiment: the original may have been edited since


def find_recipe(directory: Path, config: Mapping[str, Any]) -> Path | None:
    """The folder above the experiment, or here, from which the configuration's paths lead to files."""
    marks = [item[0] for item in (config.get(DATA) or [])[:1]]
    if config.get("mixture"):
        own = _read(directory / MIXTURE)
        marks += [path for _, path in development_files({}, own)[:1]] + [str(config["mixture"])]
    for folder in (*directory.resolve().parents, Path.cwd()):
        if any((folder / mark).exists() for mark in marks):
            return folder
    return None


def read_mixture_file(directory: Path, config: Mapping[str, Any], recipe: Path | None) -> dict[str, Any]:
    """The mixture that a model was trained on; {} without one. Raises InputError if it is not YAML."""
    if not config.get("mixture"):
        return {}
    return _read(directory / MIXTURE) or _read((recipe or Path()) / str(config["mixture"]))


def development_files(config: Mapping[str, Any], mixture: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(field, path) of the development data: the configuration's, then the mixture's."""
    found = [(str(item[1]), str(item[0])) for item in config.get(DATA) or []]
    for entry in entries(mixture, "valid"):
        found += [(field, str(entry[field])) for field in FIELDS if entry.get(field)]
    return found


def entries(mixture: Mapping[str, Any], role: str) -> list[Mapping[str, Any]]:
    """The data sets of `train` or `valid`; an unlabelled entry of several files is one data set a file."""
    listed = mixture.get(role)
    found: list[Mapping[str, Any]] = []
    for item in listed if isinstance(listed, list) else []:
        if not isinstance(item, Mapping) or not item.get("name"):
            continue
        files = [field for field in FIELDS if item.get(field)]
        if not item.get("unlabelled") or len(files) < 2:
            found.append(item)
            continue
        common = {key: value for key, value in item.items() if key not in FIELDS}
        found += [{**common, "name": f"{item['name']}_{field}", field: item[field]} for field in files]
    return found


def folders_of_sets(files: list[tuple[str, str]]) -> list[Path]:
    """Folders that hold a set's folder each, `dump/raw` first: that of transcripts, else of unit text.

    A CTC model's speech may be a wav.scp in `dump/raw/org`, a caption's text lies in `data`.
    """
    order = {"speech": 1, "text": 0} if ("image" not in dict(files)) else {"speech": 0, "text": 2}
    ranked = sorted(files, key=lambda item: order.get(item[0], 1))
    return list(dict.fromkeys(Path(path).parent.parent for _, path in ranked))


def _read(path: Path) -> dict[str, Any]:
    return read_yaml(path, "train again (stage 10 of dmlm.sh)") if path.is_file() else {}
