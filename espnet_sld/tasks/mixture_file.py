"""The YAML that lists data sets, their task, weight and files. No torch, no ESPnet."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from espnet_sld.errors import InputError
from espnet_sld.tokens.dmlm_templates import UNLABELLED, TaskTemplate, vocabulary_specials
from espnet_sld.tokens.templates import Template, get_template

FIELDS = ("speech", "text", "target_text", "image")
OPTIONS = (
    *("name", "task", "unlabelled", "weight", "only", "portion", "portion_seed", "portion_group"),
    *("language", "generate_token"),
)
# A copy at another speed goes where its recording goes.
ANY_SPEED = r"^(?:sp[0-9.]+-)?(.*)$"
ROLES = ("train", "valid")


@dataclass(frozen=True)
class DataSet:
    """One entry of a mixture, used by one template.

    Attributes:
        name: unique within its role; a directory's name.
        template: task.
        files: the template's fields → token or text files (`utterance …`).
        weight: how often an utterance is seen in a pass over the mixture, on average.
        only: regular expression that the ids of used utterances contain, e.g. those of short recordings;
            None: all are used.
        portion: share of what was recorded that is used, [begin, end) of its order by hash.
        portion_seed: of that order.
        portion_group: regular expression whose first group is what utterances of one origin (copies at other
            speeds, shifted images, several captions) have in common. All of them are used, or none: else
            an item that has its label in one data set would be without in the complementary one.
    """

    name: str
    template: Template
    files: dict[str, str]
    weight: float = 1.0
    portion: tuple[float, float] = (0.0, 1.0)
    portion_seed: int = 0
    portion_group: str = ANY_SPEED
    only: str | None = None

    @property
    def choice(self) -> dict[str, Any]:
        """What decides which utterances are used, as JSON values."""
        return {
            "only": self.only,
            "portion": list(self.portion),
            "portion_seed": self.portion_seed,
            "portion_group": self.portion_group,
        }

    def choose(self, utterances: Sequence[str]) -> list[str]:
        """The utterances of this portion, of which those that `only` fits: the same for all files with the
        same ids. Complements fit, whatever `only` is.

        Raises:
            InputError: `portion_group` does not fit an utterance.
        """
        portion = self._portion(utterances)
        return portion if self.only is None else [name for name in portion if re.search(self.only, name)]

    def _portion(self, utterances: Sequence[str]) -> list[str]:
        if self.portion == (0.0, 1.0):
            return list(utterances)

        groups: dict[str, list[str]] = {}
        for utterance in sorted(utterances):
            found = re.match(self.portion_group, utterance)
            if found is None or found[1] is None:
                raise InputError(f"portion_group '{self.portion_group}' does not fit utterance {utterance}")
            groups.setdefault(found[1], []).append(utterance)

        def place(group: str) -> bytes:
            return hashlib.blake2b(f"{self.portion_seed} {group}".encode(), digest_size=8).digest()

        order = sorted(groups, key=lambda group: (place(group), group))
        begin, end = (round(share * len(order)) for share in self.portion)
        return [utterance for group in order[begin:end] for utterance in groups[group]]


@dataclass(frozen=True)
class Mixture:
    """All data sets of a training.

    Attributes:
        train, valid: data sets by role. specials: special tokens of the vocabulary, in order of their ids.
    """

    train: tuple[DataSet, ...]
    valid: tuple[DataSet, ...]
    specials: tuple[str, ...]

    def sets(self, role: str) -> tuple[DataSet, ...]:
        """The data sets of "train" or "valid"."""
        return getattr(self, role)

    @property
    def tasks(self) -> list[str]:
        """What the training sets teach, each once: `task` or `task generate-token`."""
        return list(dict.fromkeys(task_name(entry.template) for entry in self.train))

    @property
    def files(self) -> list[str]:
        """Every file that is read, once."""
        entries = (*self.train, *self.valid)
        return list(dict.fromkeys(path for entry in entries for path in entry.files.values()))


def task_name(template: Template) -> str:
    """A template's name and, where it has one, its generate token."""
    return " ".join([template.name, *filter(None, [getattr(template, "generate", None)])])


def read_mixture(path: str | Path) -> Mixture:
    """Read a mixture.

    `train` and `valid` are lists of entries with `name`, `task` (a template) or `unlabelled: true` (each of
    its files is used alone), the files of the task's fields, and `weight`, `only`, `portion` (P or [P, Q]),
    `portion_seed`, `portion_group`, `language` or `generate_token` where they are not the defaults.
    `specials` keeps room for more task tokens.

    Raises:
        InputError: names the file, the entry, and what is wrong with it.
    """
    path = Path(path)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such mixture; write it first") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not YAML ({str(error).splitlines()[0]})") from None
    known = (*ROLES, "specials")
    if not isinstance(values, dict) or set(values) - set(known):
        raise InputError(f"{path}: must be a mapping with the keys {', '.join(known)}")
    sets = {}
    for role in ROLES:
        entries = values.get(role)
        if not isinstance(entries, list) or not entries:
            raise InputError(f"{path}: '{role}' must be a list of at least one data set")
        found: list[DataSet] = []
        for number, entry in enumerate(entries, 1):
            try:
                found += _entry(entry)
            except InputError as error:
                name = f" ('{entry['name']}')" if isinstance(entry, dict) and "name" in entry else ""
                raise InputError(f"{path}: {role} {number}{name}: {error}") from None
        sets[role] = tuple(found)
        names = [item.name for item in sets[role]]
        if doubled := sorted({name for name in names if names.count(name) > 1}):
            raise InputError(f"{path}: two data sets of {role} are called '{doubled[0]}'; rename one")
    more = values.get("specials") or []
    if not isinstance(more, list) or not all(isinstance(name, str) for name in more):
        raise InputError(f"{path}: 'specials' must be a list of token names")
    templates = [item.template for role in ROLES for item in sets[role]]
    return Mixture(**sets, specials=vocabulary_specials(templates, more))


def _entry(values: Any) -> list[DataSet]:
    """The data set of one entry; several for an unlabelled one with several files."""
    if not isinstance(values, Mapping) or not isinstance(values.get("name"), str) or not values["name"]:
        raise InputError("a data set is a mapping with at least a 'name'")
    name = values["name"]
    if "/" in name or name.startswith("."):
        raise InputError("the name must be usable as a directory's")
    unknown = sorted(str(key) for key in set(values) - {*OPTIONS, *FIELDS})
    if unknown:
        raise InputError(f"unknown key {', '.join(unknown)}; known: {', '.join((*OPTIONS, *FIELDS))}")
    files = {field: str(values[field]) for field in FIELDS if values.get(field)}
    only, group = values.get("only"), values.get("portion_group", ANY_SPEED)
    common = {
        "weight": _weight(values.get("weight", 1.0)),
        "only": None if only is None else _expression("only", only),
        "portion": _portion(values.get("portion", 1.0)),
        "portion_seed": int(values.get("portion_seed", 0)),
        "portion_group": _expression("portion_group", group, with_group=True),
    }
    if not values.get("unlabelled", False):
        if "task" not in values:
            raise InputError("give a 'task', or 'unlabelled: true'")
        template = _template(get_template(str(values["task"])), values)
        if set(files) != set(template.fields):
            raise InputError(
                f"task {template.name} needs exactly the files {', '.join(template.fields)}, "
                f"got {', '.join(files) or 'none'}"
            )
        return [DataSet(name, template, {field: files[field] for field in template.fields}, **common)]
    if "task" in values or set(files) - set(UNLABELLED) or not files:
        raise InputError(
            f"an unlabelled data set has no task, and at least one file of {', '.join(UNLABELLED)}"
        )
    if len(files) > 1 and "generate_token" in values:
        raise InputError("a generate_token is for one file; make an entry of each")
    sets = []
    for field, file in files.items():
        template = get_template(UNLABELLED[field])
        if len(files) == 1 or field == "text":  # of several files, a language is the text's
            template = _template(template, values)
        sets.append(
            DataSet(name if len(files) == 1 else f"{name}_{field}", template, {field: file}, **common)
        )
    return sets


def _template(template: Template, values: Mapping[str, Any]) -> Template:
    """The template with the entry's generate token or language."""
    token, language = values.get("generate_token"), values.get("language")
    if token is None and language is None:
        return template
    if not isinstance(template, TaskTemplate) or (token is not None and language is not None):
        raise InputError("give a language or a generate_token, not both, and only to a task that has one")
    return template.generating(str(token)) if token is not None else template.in_language(str(language))


def _weight(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e6:
        raise InputError(f"weight must be a positive number, not '{value}'")
    return float(value)


def _portion(value: Any) -> tuple[float, float]:
    pair = value if isinstance(value, list) else [0.0, value]
    numbers = all(isinstance(number, int | float) and not isinstance(number, bool) for number in pair)
    if len(pair) != 2 or not numbers or not 0 <= pair[0] < pair[1] <= 1:
        raise InputError("portion must be a share P in (0, 1], or [P, Q] with 0 <= P < Q <= 1")
    return float(pair[0]), float(pair[1])


def _expression(key: str, value: Any, with_group: bool = False) -> str:
    """The value of a key that must be a regular expression, and have a group where one is needed."""
    try:
        if isinstance(value, str) and value and (re.compile(value).groups or not with_group):
            return value
    except re.error as error:
        raise InputError(f"{key} '{value}': no regular expression ({error})") from None
    wanted = "a regular expression with a group" if with_group else "a regular expression"
    raise InputError(f"{key} must be {wanted}, not '{value}'")
