"""The file that lists an ablation's rows: what each is, the options that make it, and the contrasts."""

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from espnet_sld.errors import InputError
from espnet_sld.scoring.run_info import read_yaml

TASKS = ("asr", "st", "caption")  # what a row may be scored by
KEYS = ("common", "margin", "rows", "contrasts")
ROW_KEYS = ("name", "what", "options", "tasks")
NAME = re.compile(r"[A-Za-z0-9]+(?:_[A-Za-z0-9]+)*")
OWN = (
    *("--stage", "--stop_stage", "--seed", "--dmlm_tag", "--dry_run", "--asr_sets", "--st_sets"),
    *("--tts_sets", "--caption_sets"),
)  # options that the driver sets itself


@dataclass(frozen=True)
class AblationRow:
    """One line of the table.

    Attributes:
        name: part of its runs' names. what: in words. options: of the recipe's run.sh, common ones first.
        tasks: what its model was trained for, of `TASKS`.
    """

    name: str
    what: str
    options: tuple[str, ...]
    tasks: tuple[str, ...] = TASKS


@dataclass(frozen=True)
class Ablations:
    """All rows in order of their importance, contrasts (first, second) that were declared, and the margin in
    percentage points within which two rows count as equal."""

    rows: tuple[AblationRow, ...]
    contrasts: tuple[tuple[str, str], ...]
    margin: float

    def chosen(self, names: Sequence[str]) -> list[AblationRow]:
        """The rows of these names, all without one. Raises InputError: there is none of a name."""
        known = {row.name: row for row in self.rows}
        if unknown := [name for name in names if name not in known]:
            raise InputError(f"no row '{unknown[0]}'; there are: {', '.join(known)}")
        return [row for row in self.rows if not names or row.name in names]

    def contrasts_of(self, rows: Sequence[AblationRow]) -> list[tuple[str, str]]:
        """The contrasts between these rows."""
        names = {row.name for row in rows}
        return [pair for pair in self.contrasts if set(pair) <= names]


def read_ablations(path: str | os.PathLike) -> Ablations:
    """Read a YAML with `rows` (each `name`, `what`, `options`, `tasks`), `contrasts` (`first:second`),
    `common` (options of every row) and `margin` (percentage points).

    Raises:
        InputError: names the file, the row, and what is wrong with it.
    """
    path = Path(path)
    values = read_yaml(path, "give the list of rows")
    if set(values) - set(KEYS) or not (isinstance(values.get("rows"), list) and values["rows"]):
        raise InputError(f"{path}: must be a mapping with the keys {', '.join(KEYS)}, rows a list")
    common = _words(values.get("common") or "", f"{path}, common")
    rows: dict[str, AblationRow] = {}
    for number, entry in enumerate(values["rows"], 1):
        row = _row(entry, common, f"{path}, row {number}")
        if row.name in rows:
            raise InputError(f"{path}: row '{row.name}' comes twice; give every row a name of its own")
        rows[row.name] = row
    margin = values.get("margin", 1.0)
    if isinstance(margin, bool) or not isinstance(margin, int | float) or not 0 < margin < 100:
        raise InputError(f"{path}: margin must be a number of percentage points, not '{margin}'")
    contrasts = tuple(_contrast(item, rows, path) for item in values.get("contrasts") or [])
    return Ablations(tuple(rows.values()), contrasts, float(margin))


def _row(entry: Any, common: tuple[str, ...], place: str) -> AblationRow:
    if (
        not isinstance(entry, dict)
        or not isinstance(entry.get("name"), str)
        or not NAME.fullmatch(entry["name"])
    ):
        raise InputError(f"{place}: needs a name of letters, digits and single underscores")
    place = f"{place} '{entry['name']}'"
    if unknown := sorted(set(entry) - set(ROW_KEYS)):
        raise InputError(f"{place}: no such key: {unknown[0]}; there are: {', '.join(ROW_KEYS)}")
    if re.search(r"_seed\d+$", entry["name"]):
        raise InputError(f"{place}: runs are called <row>_seed<n>; give it a name that does not end so")
    tasks = entry.get("tasks", list(TASKS))
    if not isinstance(tasks, list) or not tasks or set(tasks) - set(TASKS):
        raise InputError(f"{place}: tasks must be a list of {', '.join(TASKS)}")
    own = _words(entry.get("options") or "", place)
    options = (*common, *own)
    return AblationRow(entry["name"], str(entry.get("what") or entry["name"]), options, tuple(tasks))


def _words(text: Any, place: str) -> tuple[str, ...]:
    """Options as the shell would split them."""
    if not isinstance(text, str):
        raise InputError(f"{place}: options must be one text, as on the command line")
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise InputError(f"{place}: options '{text}': {error}") from None
    if words and not words[0].startswith("--"):
        raise InputError(f"{place}: options must begin with --, not with '{words[0]}'")
    for word in words:
        if (name := word.partition("=")[0].replace("-", "_").replace("__", "--", 1)) in OWN:
            raise InputError(f"{place}: {name} is the driver's own; leave it out")
    return words


def _contrast(item: Any, rows: Mapping[str, AblationRow], path: Path) -> tuple[str, str]:
    first, separator, second = str(item).partition(":")
    if not separator or first not in rows or second not in rows or first == second:
        raise InputError(f"{path}: contrast '{item}': expected two different rows as first:second")
    return first, second
