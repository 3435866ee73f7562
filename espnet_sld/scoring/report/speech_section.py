"""Examples of synthesised speech: to hear beside the recording of the same words, and to look at."""

from collections.abc import Mapping, Sequence

import numpy as np

from espnet_sld.scoring.report import markup
from espnet_sld.scoring.report.audio import Reader, by_hash, encode
from espnet_sld.scoring.report.mel_picture import BANDS, RANGE, mel_svg
from espnet_sld.scoring.report.payload import SetTable, System
from espnet_sld.scoring.results_md import is_development

EXAMPLES = 4
SYSTEMS = 3  # most decodings beside each other
NOTE = (
    "Drawn from {name} by a hash of the utterance's id: not by how they sound. Pictures: power in {bands} "
    "mel bands, brighter is louder, dark is {range:.0f} dB below each sound's loudest point and less; both "
    "on the same time axis."
)


def speech_section(
    systems: Sequence[System],
    tables: Sequence[SetTable],
    read: Reader | None,
    spoken: Mapping[tuple[int, str], Reader],
    *,
    max_bytes: int,
) -> tuple[str, int]:
    """HTML of a few utterances of the first test set that was synthesised, and the bytes of it.

    Empty without audio, or if a single example would not fit `max_bytes`.
    """
    made = [table for table in tables if table.kind.name == "synthesis"]
    if read is None or not made:
        return "", 0
    table = next((one for one in made if not is_development(one.name)), made[0])
    members = [index for index in table.systems if (index, table.name) in spoken][:SYSTEMS]
    candidates = sorted(table.utterances, key=by_hash)[: 3 * EXAMPLES]
    sounds = {index: spoken[index, table.name](table.name, candidates) for index in members}
    there = [name for name in candidates if any(name in found for found in sounds.values())][:EXAMPLES]
    recorded = read(table.name, there) if there else {}
    figures, room = [], max_bytes
    for name in there:
        figure = _example(systems, table, name, recorded, sounds)
        if len(figure) > room:
            break
        room -= len(figure)
        figures.append(figure)
    if not figures:
        return "", 0
    html = markup.section(
        "speech",
        "Examples of synthesised speech",
        markup.paragraph(NOTE.format(name=table.name, bands=BANDS, range=RANGE), "note"),
        f'<div class="charts pairs">{"".join(figures)}</div>',
    )
    return html, max_bytes - room


def _example(
    systems: Sequence[System],
    table: SetTable,
    name: str,
    recorded: Mapping[str, np.ndarray],
    sounds: Mapping[int, Mapping[str, np.ndarray]],
) -> str:
    """A figure with what was to be said, what was heard, players, and the spectra."""
    place = table.utterances.index(name)
    shown = [("recorded", recorded[name])] if name in recorded else []
    heard, several = [], len(sounds) > 1
    for index, found in sounds.items():
        if name not in found:
            continue
        label = f"synthesised, {systems[index].tag}" if several else "synthesised"
        shown.append((label, found[name]))
        words = systems[index].scored(table.name).hypotheses[place] or "nothing"
        heard.append(f"{f'{systems[index].tag}: ' if several else ''}<b>{markup.text(words)}</b>")
    players = "".join(
        f"<label>{markup.text(label)} "
        f'<audio controls preload=metadata src="{encode(samples)[0]}"></audio></label>'
        for label, samples in shown
    )
    text = table.references[place]
    picture = mel_svg(shown, f"mel spectra of {name}: {', '.join(label for label, _ in shown)}")
    return (
        f"<figure class=chart><figcaption>{markup.text(text)} <small>{markup.text(name)}</small></figcaption>"
        f"<p class=heard>heard in it: {', '.join(heard)}</p><div class=players>{players}</div>"
        f"{picture}</figure>"
    )
