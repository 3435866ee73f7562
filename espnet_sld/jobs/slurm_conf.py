"""ESPnet's and Kaldi's conf/slurm.conf: how options of the command line become options of sbatch."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from espnet_sld.errors import InputError
from espnet_sld.jobs.arguments import check_value

DEFAULT_PATH = Path("conf/slurm.conf")
# For the submitter itself; never sbatch's.
OURS = {"config", "grace", "max_jobs_run", "poll_seconds", "retries"}
# Where the file says nothing about an option: (name, value) → words, None for any other value.
BUILT_IN: dict[tuple[str, str | None], str] = {
    ("name", None): "--job-name $0",
    ("time", None): "--time $0",
    ("mem", "0"): "",
    ("mem", None): "--mem-per-cpu $0",
    ("num_threads", None): "--cpus-per-task $0",
    ("num_nodes", "1"): "",
    ("num_nodes", None): "--nodes $0",
    ("gpu", "0"): "",
    ("gpu", None): "--gres=gpu:$0",
    ("account", None): "--account $0",
    ("constraint", None): "--constraint $0",
    ("partition", None): "--partition $0",
    ("qos", None): "--qos $0",
    ("signal", None): "--signal $0",
}


@dataclass
class SlurmConf:
    """The rules of one file.

    Lines (`#` begins a comment):
        command sbatch WORDS…         how to submit
        option NAME=VALUE WORDS…      what `--NAME VALUE` adds; VALUE * is any other, $0 stands for it
        default NAME=VALUE            as if `--NAME VALUE` were given
        prologue SHELL COMMAND        run on the node before the task, e.g. module load cuda (not Kaldi's)
        wrapper WORDS…                put before the task's command, e.g. apptainer exec (not Kaldi's)
    """

    source: str = "the built-in rules"
    command: list[str] = field(default_factory=lambda: ["sbatch"])
    rules: dict[tuple[str, str | None], str] = field(default_factory=dict)
    defaults: dict[str, str] = field(default_factory=dict)
    prologue: list[str] = field(default_factory=list)
    wrapper: list[str] = field(default_factory=list)

    def values(self, options: Mapping[str, str]) -> dict[str, str]:
        """The options with the file's defaults; the command line wins."""
        return {**self.defaults, **options}

    def with_ours(self, options: Mapping[str, str]) -> dict[str, str]:
        """The options with the file's defaults of those that are the submitter's own."""
        return {**{name: value for name, value in self.defaults.items() if name in OURS}, **options}

    def sbatch_words(self, options: Mapping[str, str]) -> list[str]:
        """sbatch's options for a command line.

        Raises:
            InputError: neither the file nor the built-in rules know what to do with an option.
        """
        words = []
        values = self.values(options)
        # --num-threads last: where a rule of gpu asks for CPUs too, the explicit number wins.
        for name in sorted(values, key=lambda name: name == "num_threads"):
            value = values[name]
            if name in OURS:
                continue
            added = [name, value] if name.startswith("-") else self._apply(name, value)
            if name == "num_threads" and added:
                words = _without(words, "--cpus-per-gpu")  # sbatch refuses both
            words += added
        return words

    def _apply(self, name: str, value: str) -> list[str]:
        for key in ((name, value), (name, None)):
            for rules in (self.rules, BUILT_IN):
                # A file that has rules for a name is not mixed with ours.
                if rules is BUILT_IN and any(known == name for known, _ in self.rules):
                    continue
                if key in rules:
                    return _fill(rules[key], name, value)
        raise InputError(
            f"--{name.replace('_', '-')} {value}: {self.source} has no rule for it;"
            f" add a line: option {name}=* --sbatch-option $0"
        )


def _fill(template: str, name: str, value: str) -> list[str]:
    """Put the value for $0. Of a typed GPU, `a100:4`, only `gpu:$0` gets the type, `-c $0` the number."""
    if name == "gpu" and ":" in value:
        template = template.replace("gpu:$0", f"gpu:{value}").replace("$0", value.rpartition(":")[2])
    return [word.replace("$0", value) for word in shlex.split(template)]


def _without(words: list[str], option: str) -> list[str]:
    """The words less `option=VALUE` and `option VALUE`."""
    kept = [word for before, word in zip(["", *words], words, strict=False) if option not in (before, word)]
    return [word for word in kept if not word.startswith(option + "=")]


def read_slurm_conf(path: Path | None = None) -> SlurmConf:
    """Read a file; without a name conf/slurm.conf, and where that is missing the built-in rules.

    Raises:
        InputError: the named file is missing, a line is not understood, or `command` is missing.
    """
    try:
        lines = (path or DEFAULT_PATH).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        if path is None and not DEFAULT_PATH.is_symlink():
            return SlurmConf()
        raise InputError(f"{path or DEFAULT_PATH}: no such file; name one after --config") from None
    return _parse(lines, str(path or DEFAULT_PATH))


def _parse(lines: Iterable[str], source: str) -> SlurmConf:
    conf = SlurmConf(source=source, command=[])
    for number, line in enumerate(lines, 1):
        text = re.sub(r"\s*#.*", "", line).strip()
        if not text:
            continue
        kind, _, rest = text.partition(" ")
        rest = rest.strip()
        pair = re.match(r"(\w[\w-]*)=(\S+)\s*(.*)", rest)
        try:
            if kind != "prologue":  # that is for the shell
                shlex.split(rest)
            if kind == "default" and pair:
                check_value(pair[1].replace("-", "_"), pair[2])
        except (ValueError, InputError) as error:
            raise InputError(f"{source}:{number}: cannot read '{text}'; {error}") from None
        if kind == "command" and rest:
            conf.command = shlex.split(rest)
        elif kind == "option" and pair:
            name, value, words = pair.groups()
            conf.rules[name.replace("-", "_"), None if value == "*" else value] = words
        elif kind == "default" and pair:
            conf.defaults[pair[1].replace("-", "_")] = pair[2]
        elif kind == "prologue" and rest:
            conf.prologue.append(rest)
        elif kind == "wrapper" and rest:
            conf.wrapper = shlex.split(rest)
        else:
            remedy = "put options that always hold into the line 'command sbatch …'"
            if not (kind == "option" and rest.startswith("-")):
                remedy = "expected: command …, option NAME=VALUE …, default NAME=VALUE, prologue …, wrapper …"
            raise InputError(f"{source}:{number}: cannot read '{text}'; {remedy}")
    if not conf.command:
        raise InputError(f"{source}: no line 'command sbatch …'; add one")
    return conf
