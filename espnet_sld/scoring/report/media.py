"""What a page's audio and images are read from, what of it fits, and the sentences about that at its foot."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from espnet_sld.files import read_table
from espnet_sld.scoring.markdown import counted
from espnet_sld.scoring.report import markup
from espnet_sld.scoring.report.audio import (
    SPEECH,
    Audio,
    Pictures,
    Reader,
    Source,
    embed_audio,
    embed_pictures,
)
from espnet_sld.scoring.report.experiment import Experiment
from espnet_sld.scoring.report.payload import SetTable, System

NAMED = 3  # left-out utterances that the page names


@dataclass(frozen=True)
class Limits:
    """How large a page may become.

    Attributes:
        audio: utterances that can be played. audio_bytes, text_bytes, attention_bytes: of these parts.
        resamples: of every bootstrap.
        pictures: images that can be seen. picture_bytes: of all of them.
    """

    audio: int = 60
    audio_bytes: int = 6_000_000
    text_bytes: int = 8_000_000
    attention_bytes: int = 4_000_000
    resamples: int = 10_000
    pictures: int = 1000
    picture_bytes: int = 1_000_000


@dataclass
class Embedded:
    """What was put into the page: audio, and place of a table → image → `data:` address."""

    audio: Audio
    pictures: dict[int, dict[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Media:
    """Readers of the recordings, of what was synthesised, and of images.

    Attributes:
        recorded: None: no audio is wanted. spoken: (system, set) → reads what it synthesised.
    """

    systems: Sequence[System]
    tables: Sequence[SetTable]
    recorded: Reader | None
    spoken: Mapping[tuple[int, str], Reader]
    pictures: Pictures | None

    @classmethod
    def of(
        cls,
        systems: Sequence[System],
        tables: Sequence[SetTable],
        read: Source | None,
        pictures: Pictures | None,
    ) -> "Media":
        """Readers where each set's audio is found."""
        recorded = None if read is None else _recorded(systems, tables, read)
        spoken = {} if read is None else _spoken(systems, tables, read)
        return cls(systems, tables, recorded, spoken, pictures)

    def embed(self, limits: Limits, spent: int = 0) -> Embedded:
        """Audio and images within the limits, of which `spent` bytes of audio are used already."""
        room = max(limits.audio_bytes - spent, 0)
        audio = embed_audio(self.tables, self.recorded, self.spoken, number=limits.audio, max_bytes=room)
        found = Embedded(audio)
        places = [place for place, table in enumerate(self.tables) if table.kind.name == "caption"]
        if self.pictures is None or not places:
            return found
        each, share = limits.pictures // len(places), limits.picture_bytes // len(places)
        for place in places:
            table = self.tables[place]
            members = [self.systems[index].experiment for index in table.systems]
            found.pictures[place] = embed_pictures(
                table,
                lambda ids, name=table.name, members=members: self._images(members, name, ids),
                number=each,
                max_bytes=share,
            )
        return found

    def _images(self, members: Sequence[Experiment], name: str, ids: Sequence[str]) -> Mapping[str, str]:
        """From the first experiment that still has the set's images."""
        there = (one for one in members if one.recipe is not None)
        return next(
            (some for one in there if (some := self.pictures(one.set_folders, one.recipe, name, ids))), {}
        )


def _recorded(systems: Sequence[System], tables: Sequence[SetTable], read: Source) -> Reader:
    """Reads a set's audio where the first experiment that scored it, and still has its data, had it."""
    places: dict[str, dict[tuple[Path, Path], None]] = {}
    for table in tables:
        members = (systems[index].experiment for index in table.systems)
        found = {(one.raw_dir, one.recipe): None for one in members if one.recipe and one.raw_dir}
        places.setdefault(table.name, {}).update(found)

    def samples(name: str, utterances: Sequence[str]) -> Mapping[str, Any]:
        return next((some for place in places[name] if (some := read(*place, name, utterances))), {})

    return samples


def _spoken(
    systems: Sequence[System], tables: Sequence[SetTable], read: Source
) -> dict[tuple[int, str], Reader]:
    """Readers of the data directories that `bin.synthesise` left beside the results."""
    found: dict[tuple[int, str], Reader] = {}
    for table in tables:
        for index in table.systems if table.kind.name == "synthesis" else ():
            recipe, folder = systems[index].experiment.recipe, systems[index].scored(table.name).directory
            if recipe is None or not (folder / SPEECH / "wav.scp").is_file():
                continue

            def samples(_: str, utterances: Sequence[str], folder=folder, recipe=recipe) -> Mapping[str, Any]:
                return read(folder, recipe, SPEECH, utterances)

            found[index, table.name] = samples
    return found


def about_utterances(experiment: Experiment, name: str) -> tuple[dict[str, float], dict[str, str]]:
    """Seconds and speakers of a set, where its data is still there."""
    folder = experiment.raw_dir / name if experiment.raw_dir else None
    durations, speakers = {}, {}
    if folder and (folder / "utt2dur").is_file():
        durations = {key: float(value) for key, value in read_table(folder / "utt2dur").items()}
    if folder and (folder / "utt2spk").is_file():
        speakers = read_table(folder / "utt2spk")
    return durations, speakers


def notes(total: int, kept: int, found: Embedded, limits: Limits, wanted: bool, spoken: bool) -> list[str]:
    """What is in the page and why not all. `spoken`: some of it is synthesised speech."""
    audio, said = found.audio, []
    if kept < total:
        said.append(
            f"The words of {counted(kept)} of {counted(total)} utterances are in the page: those with most "
            f"errors or differences, up to {markup.size_words(limits.text_bytes)} of text (--text_mb). "
            "Counts, filters and significance cover all of them."
        )
    else:
        said.append(f"All {counted(total)} utterances are in the page.")
    if not wanted:
        said.append("No audio is in the page: it was not asked for, or the data was not found.")
    elif audio.count:
        synthesised = ", synthesised speech beside the recording" if spoken else ""
        said.append(
            f"{audio.count} utterances can be played ({audio.format}, 16 kHz, "
            f"{markup.size_words(audio.size)}{synthesised}): two thirds those with most errors or "
            f"differences, the rest a fixed sample; at most {limits.audio} (--max_audio) and "
            f"{markup.size_words(limits.audio_bytes)} (--audio_mb), so that the page stays small."
        )
    if found.pictures:
        number = sum(map(len, found.pictures.values()))
        said.append(
            f"{number} images can be seen, chosen likewise: at most {limits.pictures} and "
            f"{markup.size_words(limits.picture_bytes)}."
        )
    if audio.dropped:
        more = f" and {len(audio.dropped) - NAMED} more" if len(audio.dropped) > NAMED else ""
        said.append(
            f"Chosen, but without audio, for lack of room or since it cannot be read: "
            f"{', '.join(audio.dropped[:NAMED])}{more}."
        )
    return said
