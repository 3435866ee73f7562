"""What a corpus holds, as a table for people: utterances, hours, words, vocabulary, speakers."""

from collections.abc import Mapping

from espnet_sld.corpus.data_dir import DataDir


def describe(data: DataDir) -> dict[str, float | int]:
    """Counts of one set; hours and seconds are of the audio as heard."""
    words = [len(sentence.split()) for sentence in data.text.values()]
    seconds = sum((data.utt2dur or {}).values())
    return {
        "utterances": len(data),
        "speakers": len(set(data.utt2spk.values())),
        "hours": seconds / 3600,
        "mean_seconds": seconds / max(len(data), 1),
        "words": sum(words),
        "mean_words": sum(words) / max(len(words), 1),
        "vocabulary": len({word for sentence in data.text.values() for word in sentence.split()}),
    }


def table(sets: Mapping[str, DataDir]) -> str:
    """One line a set, in columns."""
    rows = [("set", "utterances", "speakers", "hours", "s/utt", "words", "words/utt", "vocabulary")]
    for name, data in sets.items():
        d = describe(data)
        rows.append(
            (
                name,
                str(d["utterances"]),
                str(d["speakers"]),
                f"{d['hours']:.2f}",
                f"{d['mean_seconds']:.2f}",
                str(d["words"]),
                f"{d['mean_words']:.2f}",
                str(d["vocabulary"]),
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    )
