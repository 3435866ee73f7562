"""Reports from experiment directories: what goes on the page, how large it may be, and what is left out."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from espnet_sld.errors import InputError
from espnet_sld.files import atomic_write, read_table
from espnet_sld.scoring.markdown import counted
from espnet_sld.scoring.report import markup
from espnet_sld.scoring.report.attention_data import read_attention
from espnet_sld.scoring.report.audio import Audio, Reader, Source, embed_audio
from espnet_sld.scoring.report.curves_section import curves_section, recipe_curves
from espnet_sld.scoring.report.experiment import Experiment, find_experiments, read_experiment
from espnet_sld.scoring.report.page import ATTENTION, UTTERANCES, render
from espnet_sld.scoring.report.payload import (
    SetTable,
    System,
    check_names,
    list_systems,
    set_payload,
    set_tables,
)
from espnet_sld.scoring.report.results_section import decodings_table, experiments_table
from espnet_sld.scoring.report.setup_section import options_set, setup_section
from espnet_sld.scoring.report.studies_section import studies_section
from espnet_sld.scoring.report.token_section import token_section

NAME = "report.html"
NAMED = 3  # left-out utterances that the page names


@dataclass(frozen=True)
class Limits:
    """How large a page may become.

    Attributes:
        audio: utterances that can be played. audio_bytes, text_bytes, attention_bytes: of these parts.
        resamples: of every bootstrap.
    """

    audio: int = 60
    audio_bytes: int = 6_000_000
    text_bytes: int = 8_000_000
    attention_bytes: int = 4_000_000
    resamples: int = 10_000


@dataclass(frozen=True)
class Written:
    """What was written: for a summary line."""

    path: Path
    size: int
    systems: int
    utterances: int
    audio: int


def write_experiment_report(
    directory: str | Path,
    read: Source | None = None,
    limits: Limits | None = None,
    recipe: str | Path | None = None,
) -> Written:
    """Write `<directory>/report.html`.

    Args:
        recipe: folder whose report.html, over all experiments, this page points to.
        read: reads audio, see `audio.Source`; None: the page has none.

    Raises:
        InputError: nothing is scored, or files do not belong together.
    """
    limits, experiment = limits or Limits(), read_experiment(directory)
    systems = list_systems([experiment])
    tables, problems = set_tables(systems)
    attention = read_attention(experiment.directory, limits.attention_bytes)
    first = next(iter(experiment.scored.values())).result
    facts = (
        ("objective", first.objective),
        ("model", first.model),
        ("parameters", None if first.n_params is None else counted(first.n_params)),
        ("seed", first.seed),
        ("checkpoint", first.checkpoint),
        ("code", first.git and first.git[:10] + first.git[40:]),
    )
    lead = "".join(
        f"<span class=fact>{markup.text(name)} <b>{markup.text(value)}</b></span>"
        for name, value in facts
        if value is not None
    )
    if recipe is not None:
        target = Path(os.path.relpath(Path(recipe).resolve(), experiment.directory.resolve()), NAME)
        lead += f'<a href="{markup.text(target.as_posix())}">all experiments</a>'
    attention_html = markup.section("attending", "Attention from text to speech tokens", ATTENTION)
    sections = [
        ("errors", "results", _results(decodings_table(systems, tables, resamples=limits.resamples))),
        ("curves", "training", curves_section(experiment)),
        ("tokens", "tokens", token_section(experiment)),
        ("listing", "utterances", markup.section("listing", "Utterances", UTTERANCES)),
        ("attending", "attention", attention_html if attention else ""),
        ("setup", "commands, options, environment", setup_section(experiment)),
    ]
    return _write(
        experiment.directory / NAME, experiment.name, lead, sections, systems, tables,
        [*experiment.problems, *problems], read, limits, attention,
    )  # fmt: skip


def write_recipe_report(
    recipe: str | Path, read: Source | None = None, limits: Limits | None = None
) -> Written:
    """Write `<recipe>/report.html` over all scored experiments below `<recipe>/exp*`.

    Raises:
        InputError: there is none.
    """
    limits, recipe = limits or Limits(), Path(recipe)
    found = find_experiments(recipe)
    if not found:
        raise InputError(f"{recipe}: no exp*/<experiment>/<decode_tag>/<set>/result.json; run a recipe first")
    experiments, problems = [], []
    for name, directory in found:
        try:
            experiments.append(read_experiment(directory, name))
        except InputError as error:
            problems.append(f"left out: {error}")
    if not experiments:
        raise InputError(f"{recipe}: no experiment can be read; {problems[0]}")
    problems += [f"{one.name}: {problem}" for one in experiments for problem in one.problems]
    systems = list_systems(experiments)
    check_names(systems)
    tables, mismatches = set_tables(systems)
    number, sets = len(experiments), len(tables)
    lead = f"<span class=fact>experiments <b>{number}</b></span><span class=fact>sets <b>{sets}</b></span>"
    sections = [
        ("errors", "results", _results(experiments_table(systems, tables, resamples=limits.resamples))),
        ("studies", "studies", studies_section(experiments)),
        ("curves", "training", recipe_curves(experiments)),
        ("listing", "compare", markup.section("listing", "Compare experiments by utterance", UTTERANCES)),
    ]
    title = "/".join(recipe.resolve().parts[-2:])
    return _write(
        recipe / NAME, f"Experiments of {title}", lead, sections, systems, tables, [*problems, *mismatches],
        read, limits, [],
    )  # fmt: skip


def _results(table: str) -> str:
    return markup.section("errors", "Error rates", table)


def _write(
    path: Path,
    title: str,
    lead: str,
    sections: Sequence[tuple[str, str, str]],
    systems: Sequence[System],
    tables: Sequence[SetTable],
    problems: Sequence[str],
    read: Source | None,
    limits: Limits,
    attention: Sequence[Mapping[str, Any]],
) -> Written:
    audio = embed_audio(
        tables, _reader(systems, tables, read), number=limits.audio, max_bytes=limits.audio_bytes
    )
    sets, total, kept, room = [], 0, 0, limits.text_bytes
    for place, table in enumerate(tables):
        durations, speakers = _about_utterances(systems[table.systems[0]].experiment, table.name)
        part, words = set_payload(
            table, systems, text_bytes=room // (len(tables) - place), durations=durations, speakers=speakers
        )
        room -= sum(len(text.encode()) for text in part["refs"] if text)
        part["audio"] = audio.addresses.get(table.name, {})
        sets.append(part)
        total, kept = total + len(table.utterances), kept + words
    payload = {
        "systems": [{"name": one.name, "options": _shown(one)} for one in systems],
        "sets": sets,
        "attention": list(attention),
        "resamples": limits.resamples,
    }
    notes = _notes(total, kept, audio, limits, read is not None)
    if problems:
        shown = "".join(f"<li>{markup.text(problem)}</li>" for problem in problems)
        inside = markup.folded(
            f"Not on this page ({len(problems)})", f"<ul>{shown}</ul>", opened=len(problems) < 4
        )
        sections = [*sections, ("problems", "not on this page", f"<section id=problems>{inside}</section>")]
    html = render(title=title, lead=lead, sections=sections, payload=payload, notes=notes)
    # The size is stated on the page itself: of the page without this sentence.
    size = len(html.encode())
    html = html.replace(
        "<footer>",
        f"<footer>{markup.paragraph(f'This page: {markup.size_words(size)}, one file, no network.')}",
    )
    with atomic_write(path) as stream:
        stream.write(html)
    return Written(path, len(html.encode()), len(systems), total, audio.count)


def _reader(systems: Sequence[System], tables: Sequence[SetTable], read: Source | None) -> Reader | None:
    """Reads a set's audio where the first experiment that scored it, and still has its data, had it."""
    if read is None:
        return None
    places: dict[str, list[tuple[Path, Path]]] = {}
    for table in tables:
        members = (systems[index].experiment for index in table.systems)
        found = [(one.raw_dir, one.recipe) for one in members if one.recipe and one.raw_dir]
        places[table.name] = list(dict.fromkeys(found))

    def samples(name: str, utterances: Sequence[str]) -> Mapping[str, Any]:
        return next((some for place in places[name] if (some := read(*place, name, utterances))), {})

    return samples


def _shown(system: System) -> dict[str, str]:
    """Options that differ from the default, for the comparison of two systems; paths of data are left out."""
    options = options_set(system.experiment.config)
    return {
        key: str(value)
        for key, value in options.items()
        if not key.startswith(("train_", "valid_", "output_dir", "resume"))
    }


def _about_utterances(experiment: Experiment, name: str) -> tuple[dict[str, float], dict[str, str]]:
    """Seconds and speakers of a set, where its data is still there."""
    folder = experiment.raw_dir / name if experiment.raw_dir else None
    durations, speakers = {}, {}
    if folder and (folder / "utt2dur").is_file():
        durations = {key: float(value) for key, value in read_table(folder / "utt2dur").items()}
    if folder and (folder / "utt2spk").is_file():
        speakers = read_table(folder / "utt2spk")
    return durations, speakers


def _notes(total: int, kept: int, audio: Audio, limits: Limits, wanted: bool) -> list[str]:
    notes = []
    if kept < total:
        notes.append(
            f"The words of {counted(kept)} of {counted(total)} utterances are in the page: those with most "
            f"errors or differences, up to {markup.size_words(limits.text_bytes)} of text (--text_mb). "
            "Counts, filters and significance cover all of them."
        )
    else:
        notes.append(f"All {counted(total)} utterances are in the page.")
    if not wanted:
        notes.append("No audio is in the page: it was not asked for, or the data was not found.")
    elif audio.count:
        notes.append(
            f"{audio.count} utterances can be played ({audio.format}, 16 kHz, "
            f"{markup.size_words(audio.size)}): two thirds those with most errors or differences, the rest a "
            f"fixed sample; at most {limits.audio} (--max_audio) and "
            f"{markup.size_words(limits.audio_bytes)} (--audio_mb), so that the page stays small."
        )
    if audio.dropped:
        more = f" and {len(audio.dropped) - NAMED} more" if len(audio.dropped) > NAMED else ""
        notes.append(
            f"Chosen, but without audio, for lack of room or since it cannot be read: "
            f"{', '.join(audio.dropped[:NAMED])}{more}."
        )
    return notes
