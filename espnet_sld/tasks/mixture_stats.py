"""Lengths of every sequence of a mixture, and what is cut, unknown or long in each data set. No torch."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from espnet_sld.errors import InputError
from espnet_sld.files import atomic_write, read_table, write_json
from espnet_sld.progress import track
from espnet_sld.stamps import Stamp
from espnet_sld.tasks.mixture_file import ROLES, DataSet, read_mixture, task_name
from espnet_sld.tasks.preprocess import SequencePreprocessor
from espnet_sld.tokens.shapes import Lengths


def collect_mixture(
    mixture: str | Path, preprocess: SequencePreprocessor, out_dir: str | Path
) -> dict[str, dict[str, Any]]:
    """Write `<role>/<set>/{sequence_shape,length_stats.json}`; data sets that are up to date stay.

    In length_stats.json, `max_target_per_condition` is the largest ratio of target to condition tokens, and
    `target.max` the longest target: they bound what is generated. The end token is not counted.
    `task_name` has the generate token too, by which `bin.generate --mixture_stats` finds a task's data sets.

    Args:
        mixture: a file for `read_mixture`.
        preprocess: tokenizers, limits and vocabulary, as in training.

    Returns:
        `<role>/<set>` → the statistics.

    Raises:
        InputError: a file is missing or does not fit its task; names the data set.
    """
    reports = {}
    read = read_mixture(mixture)
    for role in ROLES:
        for entry in read.sets(role):
            try:
                reports[f"{role}/{entry.name}"] = _collect(
                    entry, preprocess.with_template(entry.template), Path(out_dir) / role / entry.name
                )
            except InputError as error:
                raise InputError(f"{mixture}, {role} data set '{entry.name}': {error}") from None
    return reports


def _collect(entry: DataSet, preprocess: SequencePreprocessor, out_dir: Path) -> dict[str, Any]:
    """One data set."""
    template = entry.template
    limits = preprocess.limits
    options = {
        "task": template.name,
        "task_name": task_name(template),
        "specials": list(template.specials),
        **entry.choice,
        "limits": vars(limits),
        "vocabulary": preprocess.vocabulary.as_dict(),
        "tokenizers": {kind: tokenizer.describe() for kind, tokenizer in preprocess.tokenizers.items()},
    }
    outputs = [out_dir / name for name in ("sequence_shape", "length_stats.json")]
    stamp = Stamp(out_dir / "shapes.done.json", inputs=entry.files.values(), options=options, outputs=outputs)
    if stamp.fresh():
        return stamp.result()
    stamp.withdraw()

    tables = {field: read_table(path) for field, path in entry.files.items()}
    utterances = _common(tables, entry.files)
    used = sorted(entry.choose(utterances))
    if not used:
        only = "" if entry.only is None else f", of which only those with '{entry.only}',"
        raise InputError(f"portion {entry.portion} of {len(utterances)} utterances{only} is none; widen it")
    lengths = {name: Lengths() for name in (*template.fields, "sequence")}
    counts = {"cut_utterances": 0, "cut_tokens": 0, "cut_targets": 0}
    unknown = {f"unknown_{field}": 0 for field in template.fields}
    ratio = 0.0
    with ExitStack() as stack:
        stream = stack.enter_context(atomic_write(outputs[0]))
        for utterance in track(used, len(used), f"lengths of {entry.name}"):
            sample = {field: table[utterance] for field, table in tables.items()}
            sequence = preprocess(utterance, sample)
            sizes = {}
            for field, value in sample.items():
                tokenizer = preprocess.tokenizers[template.fields[field]]
                ids = tokenizer.encode(value)
                sizes[field] = len(ids)
                if tokenizer.unknown_id is not None and tokenizer.unknown_id in ids:
                    unknown[f"unknown_{field}"] += tokenizer.count_unknown(value)
                lengths[field].add(len(ids))
            counts["cut_utterances"] += sequence.cut > 0
            counts["cut_tokens"] += sequence.cut
            counts["cut_targets"] += sequence.cut_target > 0
            if template.source is not None:
                ratio = max(ratio, sizes[template.target] / max(1, sizes[template.source] - sequence.cut))
            lengths["sequence"].add(len(sequence.tokens))
            stream.write(f"{utterance} {len(sequence.tokens)}\n")
    report = {
        **options,
        "utterances": len(used),
        "utterances_left_out": len(utterances) - len(used),
        **{name: tally.report() for name, tally in lengths.items()},
        "target": lengths[template.target].report(),
        **counts,
        **unknown,
        **({} if template.source is None else {"max_target_per_condition": ratio}),
    }
    write_json(outputs[1], report, sort_keys=True)
    stamp.write(**report)
    return report


def _common(tables: Mapping[str, Mapping[str, str]], files: Mapping[str, str]) -> list[str]:
    """The utterances, which all files must have."""
    first = next(iter(tables))
    for field in tables:
        for one, other in ((first, field), (field, first)):
            absent = [utterance for utterance in tables[one] if utterance not in tables[other]]
            if absent:
                raise InputError(
                    f"{files[other]}: utterance {absent[0]} of {files[one]} is missing "
                    f"({len(absent)} in all); both files must have the same utterances"
                )
    return list(tables[first])
