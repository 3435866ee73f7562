"""Reports from experiment directories: what goes on the page, how large it may be, and what is left out."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from espnet_sld.errors import InputError
from espnet_sld.files import atomic_write
from espnet_sld.scoring.environment import short_revision
from espnet_sld.scoring.markdown import counted
from espnet_sld.scoring.report import markup
from espnet_sld.scoring.report.attention_data import read_attention
from espnet_sld.scoring.report.audio import Pictures, Source
from espnet_sld.scoring.report.curves_section import curves_section, recipe_curves
from espnet_sld.scoring.report.experiment import find_experiments, read_experiment
from espnet_sld.scoring.report.media import Limits, Media, about_utterances, notes
from espnet_sld.scoring.report.page import ATTENTION, UTTERANCES, render
from espnet_sld.scoring.report.payload import (
    SetTable,
    System,
    check_names,
    list_systems,
    set_payload,
    set_tables,
)
from espnet_sld.scoring.report.results_section import decodings_tables, experiments_tables, results_title
from espnet_sld.scoring.report.setup_section import options_set, setup_section
from espnet_sld.scoring.report.speech_section import speech_section
from espnet_sld.scoring.report.studies_section import studies_section
from espnet_sld.scoring.report.token_section import token_section

NAME = "report.html"


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
    pictures: Pictures | None = None,
) -> Written:
    """Write `<directory>/report.html`.

    Args:
        recipe: folder whose report.html, over all experiments, this page points to.
        read: reads audio, see `audio.Source`; None: the page has none. pictures: likewise images.

    Raises:
        InputError: nothing is scored, or files do not belong together.
    """
    limits, experiment = limits or Limits(), read_experiment(directory)
    systems = list_systems([experiment])
    tables, problems = set_tables(systems)
    attention = read_attention(experiment.directory, limits.attention_bytes)
    media = Media.of(systems, tables, read, pictures)
    spoken, spent = speech_section(
        systems, tables, media.recorded, media.spoken, max_bytes=limits.audio_bytes // 2
    )
    first = next(iter(experiment.scored.values())).result
    tasks = experiment.config.get("mixture_tasks") or ()
    facts = (
        ("tasks", ", ".join(dict.fromkeys(name.split()[0] for name in tasks)) or None),
        ("objective", first.objective),
        ("model", first.model),
        ("parameters", None if first.n_params is None else counted(first.n_params)),
        ("seed", first.seed),
        ("checkpoint", first.checkpoint),
        ("code", first.git and short_revision(first.git)),
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
        (
            "errors",
            "results",
            _results(tables, decodings_tables(systems, tables, resamples=limits.resamples)),
        ),
        ("speech", "synthesised speech", spoken),
        ("curves", "training", curves_section(experiment)),
        ("tokens", "tokens", token_section(experiment)),
        ("listing", "utterances", markup.section("listing", "Utterances", UTTERANCES)),
        ("attending", "attention", attention_html if attention else ""),
        ("setup", "commands, options, environment", setup_section(experiment)),
    ]
    return _write(
        experiment.directory / NAME, experiment.name, lead, sections, systems, tables,
        [*experiment.problems, *problems], media, limits, attention, spent,
    )  # fmt: skip


def write_recipe_report(
    recipe: str | Path,
    read: Source | None = None,
    limits: Limits | None = None,
    pictures: Pictures | None = None,
) -> Written:
    """Write `<recipe>/report.html` over all scored experiments below `<recipe>/exp*`.

    Args: as of `write_experiment_report`.

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
    number, sets = len(experiments), len({table.name for table in tables})
    lead = f"<span class=fact>experiments <b>{number}</b></span><span class=fact>sets <b>{sets}</b></span>"
    sections = [
        (
            "errors",
            "results",
            _results(tables, experiments_tables(systems, tables, resamples=limits.resamples)),
        ),
        ("studies", "studies", studies_section(experiments)),
        ("curves", "training", recipe_curves(experiments)),
        ("listing", "compare", markup.section("listing", "Compare experiments by utterance", UTTERANCES)),
    ]
    title = "/".join(recipe.resolve().parts[-2:])
    return _write(
        recipe / NAME, f"Experiments of {title}", lead, sections, systems, tables, [*problems, *mismatches],
        Media.of(systems, tables, read, pictures), limits, [],
    )  # fmt: skip


def _results(tables: Sequence[SetTable], inside: str) -> str:
    return markup.section("errors", results_title(tables), inside)


def _write(
    path: Path,
    title: str,
    lead: str,
    sections: Sequence[tuple[str, str, str]],
    systems: Sequence[System],
    tables: Sequence[SetTable],
    problems: Sequence[str],
    media: Media,
    limits: Limits,
    attention: Sequence[Mapping[str, Any]],
    spent: int = 0,
) -> Written:
    """Render and write a page; `spent`: bytes of audio that its sections have already."""
    found = media.embed(limits, spent)
    several = len({table.kind.name for table in tables}) > 1
    sets, total, kept, room = [], 0, 0, limits.text_bytes
    for place, table in enumerate(tables):
        durations, speakers = about_utterances(systems[table.systems[0]].experiment, table.name)
        part, words = set_payload(
            table, systems, text_bytes=room // (len(tables) - place), durations=durations, speakers=speakers
        )
        room -= sum(len(text.encode()) for text in part["refs"] if text)
        part["title"] = f"{table.name}: {table.kind.title.lower()}" if several else table.name
        part["audio"] = found.audio.addresses.get(place, {})
        part["spoken"] = found.audio.spoken.get(place, {})
        part["pictures"] = found.pictures.get(place, {})
        sets.append(part)
        total, kept = total + len(table.utterances), kept + words
    payload = {
        "systems": [{"name": one.name, "options": _shown(one)} for one in systems],
        "sets": sets,
        "attention": list(attention),
        "resamples": limits.resamples,
    }
    foot = notes(total, kept, found, limits, media.recorded is not None, bool(media.spoken))
    if problems:
        shown = "".join(f"<li>{markup.text(problem)}</li>" for problem in problems)
        inside = markup.folded(
            f"Not on this page ({len(problems)})", f"<ul>{shown}</ul>", opened=len(problems) < 4
        )
        sections = [*sections, ("problems", "not on this page", f"<section id=problems>{inside}</section>")]
    html = render(title=title, lead=lead, sections=sections, payload=payload, notes=foot)
    # The size is stated on the page itself: of the page without this sentence.
    size = len(html.encode())
    html = html.replace(
        "<footer>",
        f"<footer>{markup.paragraph(f'This page: {markup.size_words(size)}, one file, no network.')}",
    )
    with atomic_write(path) as stream:
        stream.write(html)
    return Written(path, len(html.encode()), len(systems), total, found.audio.count)


def _shown(system: System) -> dict[str, str]:
    """Options that differ from the default, for the comparison of two systems; paths of data are left out."""
    options = options_set(system.experiment.config)
    return {
        key: str(value)
        for key, value in options.items()
        if not key.startswith(("train_", "valid_", "output_dir", "resume"))
    }
