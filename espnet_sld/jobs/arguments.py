"""The command line of Kaldi's run.pl and slurm.pl: options, an optional JOB=1:32, a log file, a command."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from espnet_sld.errors import InputError

# Options of every back-end: name → kind of value. A back-end ignores what it has no use for.
OPTIONS = {
    "max_jobs_run": "count",
    "gpu": "gpus",
    "num_threads": "count",
    "num_nodes": "count",
    "mem": "text",
    "time": "text",
    "config": "text",
    "retries": "number",
    "grace": "number",
    "poll_seconds": "count",
}
# What clusters add; free text, so that one cmd.sh line serves every back-end.
CLUSTER_OPTIONS = ("account", "constraint", "name", "partition", "qos", "signal")
KINDS = {  # kind of value → what it must look like, and in words
    "number": (re.compile(r"\d+"), "a whole number"),
    "count": (re.compile(r"0*[1-9]\d*"), "a whole number from 1"),
    "gpus": (re.compile(r"([\w.-]+:)?\d+"), "a whole number, or TYPE:NUMBER such as a100:4"),
}
ARRAY = re.compile(r"([A-Za-z_]\w*)=(\d+)(?::(\d+))?")


@dataclass(frozen=True)
class Task:
    """One command of an array, its placeholders replaced."""

    index: int
    log: Path
    command: list[str]

    @property
    def result(self) -> Path:
        """The JSON beside the log: `x.3.log` → `x.3.json`."""
        stem = self.log.name[:-4] if self.log.name.endswith(".log") else self.log.name
        return self.log.with_name(stem + ".json")


@dataclass(frozen=True)
class Request:
    """A parsed command line.

    `variable` is the array's placeholder (`JOB`), None for a single task, whose index is then 1.
    """

    options: dict[str, str]
    variable: str | None
    first: int
    last: int
    log: str
    command: list[str] = field(default_factory=list)

    def number(self, name: str, default: int) -> int:
        """A numeric option; of `--gpu a100:4` the 4."""
        return int(str(self.options.get(name, default)).rpartition(":")[2])

    def tasks(self) -> list[Task]:
        """Every task; the placeholder is replaced in the log's name and in each argument, as run.pl does."""
        return [
            Task(index, Path(self._fill(self.log, index)), [self._fill(word, index) for word in self.command])
            for index in range(self.first, self.last + 1)
        ]

    def _fill(self, text: str, index: int) -> str:
        return text if self.variable is None else text.replace(self.variable, str(index))

    @property
    def name(self) -> str:
        """What to call the array in messages: `log/units.JOB.log` → `units`."""
        name = Path(self.log).name
        name = name[:-4] if name.endswith(".log") else name
        if self.variable is not None:
            name = name.replace(self.variable, "")
        return re.sub(r"[._-]{2,}", ".", name).strip("._-") or "tasks"


def prepare(tasks: Iterable[Task]) -> None:
    """Make the folders of the logs, and remove results of earlier runs. InputError where that cannot be."""
    for task in tasks:
        try:
            task.log.parent.mkdir(parents=True, exist_ok=True)
            task.result.unlink(missing_ok=True)
        except OSError as error:
            raise InputError(f"{error.filename}: {error.strerror}; logs cannot be written there") from None


def command(name: str, usage: str | None, start: Callable[[list[str]], int]) -> int:
    """What a back-end's command does with its words: help, `start`, or one message for bad input."""
    words = sys.argv[1:]
    if not words or words[0] in {"--help", "-h"}:
        print(usage)
        return 0 if words else 1
    try:
        return start(words)
    except InputError as error:
        print(f"error: {name}: {error}", file=sys.stderr)
        return 1


def parse(argv: list[str], *, extra_options: tuple[str, ...] | None = CLUSTER_OPTIONS) -> Request:
    """Read a submitter's arguments.

    Args:
        argv: `[--option value]… [JOB=1:32] log command…`; options may also follow JOB=…,
            and `--name=value` is read too. `-p value` is kept as it is (`options["-p"]`): sbatch's own.
        extra_options: names accepted beside `OPTIONS`; None: any, since a site's file may define more.

    Raises:
        InputError: an unknown option, a bad number or range, no command, or an array without its
            placeholder in the log's name (all tasks would write one file).
    """
    options: dict[str, str] = {}
    variable, first, last = None, 1, 1
    position = 0
    while position < len(argv):
        word = argv[position]
        array = ARRAY.fullmatch(word)
        if word.startswith("-"):
            position += 1
            name, separator, value = word.lstrip("-").partition("=")
            if not separator:
                if position >= len(argv):
                    raise InputError(f"{word} needs a value")
                value = argv[position]
                position += 1
            options.update([_option(word, name, value, extra_options)])
        elif array and variable is None:
            variable, first, last = array[1], int(array[2]), int(array[3] or array[2])
            if last < first:
                raise InputError(f"{word}: the range is empty; write {variable}=1:N")
            position += 1
        else:
            break
    rest = argv[position:]
    if len(rest) < 2:
        raise InputError("expected: [--option value]… [JOB=1:N] LOG COMMAND…; see --help")
    if variable is not None and last > first and variable not in rest[0]:
        raise InputError(f"the log's name '{rest[0]}' lacks {variable}: every task would write the same file")
    return Request(options, variable, first, last, rest[0], rest[1:])


def _option(word: str, name: str, value: str, extra: tuple[str, ...] | None) -> tuple[str, str]:
    if re.fullmatch(r"-[A-Za-z]", word):
        return word, value
    key = name.replace("-", "_")
    if key not in OPTIONS and extra is not None and key not in extra:
        known = " ".join("--" + option.replace("_", "-") for option in (*OPTIONS, *sorted(extra)))
        raise InputError(f"unknown option {word.partition('=')[0]}; known: {known}")
    check_value(key, value)
    return key, value


def check_value(key: str, value: str) -> None:
    """InputError where an option of `OPTIONS` cannot have this value."""
    pattern, words = KINDS.get(OPTIONS.get(key, "text"), (None, ""))
    if pattern and not pattern.fullmatch(value):
        raise InputError(f"--{key.replace('_', '-')} takes {words}, not '{value}'")
