"""How an experiment was made: exact commands, what differs from the default options, where it ran."""

import json
import shlex
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from typing import Any

from espnet_sld.scoring.environment import environment
from espnet_sld.scoring.report import markup
from espnet_sld.scoring.report.experiment import Experiment, read_optional_json, system_of
from espnet_sld.scoring.run_info import read_yaml

# Results of training, not options of it.
DERIVED = (
    "backbone_resolved", "backbone_revision", "vocabulary", "pad_id", "version", "distributed", "required",
    "config", "mixture_tasks", "criterion_weights", "target_vocabulary", "unit_vocabulary",
)  # fmt: skip


@lru_cache
def default_options(ctc: bool = False) -> dict[str, Any]:
    """Default options of `bin.train` or `bin.train_ctc`; a test holds the files equal to the tasks'."""
    name = "train_ctc_defaults.json" if ctc else "train_defaults.json"
    return json.loads(resources.files(__package__).joinpath(name).read_text(encoding="utf-8"))


def defaults_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Default options, flattened, of the command that this configuration is of."""
    return flatten(default_options(system_of(config) == "ctc"))


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"optim_conf": {"lr": 1}}` → `{"optim_conf.lr": 1}`; lists stay whole."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        elif not isinstance(value, Mapping):
            flat[prefix + key] = value
    return flat


def options_set(config: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a training that differ from the defaults, flattened."""
    own = flatten({key: value for key, value in config.items() if key not in DERIVED})
    defaults = defaults_of(config)
    return {key: value for key, value in own.items() if key not in defaults or defaults[key] != value}


def setup_section(experiment: Experiment) -> str:
    """Commands, configuration and environment of one experiment."""
    return markup.section(
        "setup", "How it was made", _commands(experiment), _options(experiment), _environment(experiment)
    )


def commands(experiment: Experiment) -> list[tuple[str, str]]:
    """(what, exact command) of every step that left one: training, then each decoding and scoring."""
    directory = experiment.directory
    paths = [directory / "train.json", *sorted(directory.glob("*/*/log/*.json"))]
    found = []
    for path in paths:
        command = read_optional_json(path).get("command")
        if not isinstance(command, list) or not command:
            continue
        where = path.relative_to(directory).with_suffix("").parts
        found.append((" ".join(part for part in where if part != "log"), shlex.join(map(str, command))))
    return found


def _commands(experiment: Experiment) -> str:
    script = experiment.directory / "run.sh"
    parts = ["<h3>Commands</h3>"]
    if script.is_file():
        parts.append(markup.code(script.read_text(encoding="utf-8").strip()))
    else:
        parts.append(
            markup.paragraph("There is no run.sh: the experiment was not started by a recipe.", "note")
        )
    steps = commands(experiment)
    if steps:
        blocks = "".join(f"<h4>{markup.text(what)}</h4>{markup.code(command)}" for what, command in steps)
        parts.append(markup.folded(f"Commands of the single steps ({len(steps)})", blocks))
    return "".join(parts)


def _options(experiment: Experiment) -> str:
    if not experiment.config:
        return ""
    defaults, given = defaults_of(experiment.config), _given(experiment)
    source = experiment.config.get("config")
    path = experiment.path(source) if source else None
    from_file = flatten(read_yaml(path, "restore it")) if path and path.is_file() else {}
    rows = []
    for key, value in sorted(options_set(experiment.config).items()):
        if key.partition(".")[0] in given or key in given:
            origin = "command line"
        elif key in from_file:
            origin = str(source)
        else:
            origin = "–"
        default = _words(defaults[key]) if key in defaults else "–"
        rows.append((markup.text(key), f"<code>{markup.text(_words(value))}</code>", markup.text(default),
                     markup.text(origin)))  # fmt: skip
    own = flatten(experiment.config)
    same = sum(key in own and own[key] == value for key, value in defaults.items())
    note = f"{same} other options have their default values; all of them are in config.yaml."
    return (
        "<h3>Options that differ from the default</h3>"
        + markup.table(("option", "here", "default", "set by"), rows, left=4, name="options")
        + markup.paragraph(note, "note")
    )


def _given(experiment: Experiment) -> set[str]:
    """Options of the command line, `criterion_conf.objective` for those that set one key."""
    stamp = read_optional_json(experiment.directory / "train.done.json")
    items = (stamp.get("options") or {}).get("given") or []
    names = set()
    for item in items:
        key, _, value = str(item).partition("=")
        names.add(f"{key}.{value.partition('=')[0]}" if key.endswith("_conf") else key)
    return names


def _environment(experiment: Experiment) -> str:
    directory = experiment.directory
    stamp = read_optional_json(directory / "train.done.json")
    results = [scored.result for scored in experiment.scored.values()]
    rows = [("code, as scored", ", ".join(dict.fromkeys(str(result.git) for result in results)))]
    if stamp.get("host"):
        rows.append(("trained on host", f"{stamp['host']}, {float(stamp['seconds']):.0f} s"))
    devices = sorted({str(result.extra.get("device")) for result in results if result.extra.get("device")})
    if devices:
        rows.append(("decoded on", ", ".join(devices)))
    rows += [(f"{name}, now", value) for name, value in environment().items()]
    body = [(markup.text(name), markup.text(value)) for name, value in rows]
    note = "“now”: where this page was made, which need not be where the model was trained."
    return (
        "<h3>Environment</h3>"
        + markup.table(("what", "value"), body, left=2)
        + markup.paragraph(note, "note")
    )


def _words(value: Any) -> str:
    if isinstance(value, (list, dict)):
        return json.dumps(value, ensure_ascii=False)
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
