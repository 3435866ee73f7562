"""The commands of units on a few real recordings: k-means, shards, gathering."""

from pathlib import Path

from espnet_sld.bin import extract_units, fit_kmeans, gather_units
from espnet_sld.corpus.data_dir import DataDir, Span

K = 16


def make_data(fsdd_dir: Path, folder: Path) -> Path:
    """12 utterances; one has the id of a unit, two are segments of one recording, one is sped up."""
    paths = sorted((fsdd_dir / "recordings").glob("[0-5]_*_0.wav"))[:11]
    wav = {f"rec{i:02d}": str(path) for i, path in enumerate(paths)}
    spans = {f"utt{i:02d}": Span(f"rec{i:02d}") for i in range(1, 10)}
    spans |= {"7": Span("rec00"), "utt10a": Span("rec10", 0.0, 0.2), "utt10b": Span("rec10", 0.2, -1.0)}
    utterances = sorted(spans)
    data = DataDir(
        wav=wav,
        utt2spk=dict.fromkeys(utterances, "spk"),
        text={utterance: f"word{index}" for index, utterance in enumerate(utterances)},
        segments=spans,
        utt2speed={utterance: 1.1 if utterance == "utt03" else 1.0 for utterance in utterances},
    )
    return data.write(folder)


def fit(data_dir: Path, out: Path, *more: str) -> int:
    """K centroids of 200 frames."""
    options = f"--data_dir {data_dir} --out_dir {out} --num_clusters {K} --max_frames 200".split()
    return fit_kmeans.main([*options, *more])


def extract(data_dir: Path, kmeans_dir: Path, out: Path, num_shards: int, shards=None) -> None:
    """Units of `shards`, None = all."""
    for shard in shards or range(1, num_shards + 1):
        extract_units.main(
            f"--data_dir {data_dir} --kmeans_dir {kmeans_dir} --out_dir {out} "
            f"--num_shards {num_shards} --shard {shard}".split()
        )


def gather(data_dir: Path, out: Path, dump: Path, num_shards: int, *more: str) -> int:
    """asr2's files in `dump`."""
    return gather_units.main(
        f"--data_dir {data_dir} --out_dir {out} --dump_dir {dump} --num_shards {num_shards} "
        f"--suffix mfcc_km{K}".split()
        + list(more)
    )


def labels(out: Path, shard: int, num_shards: int, ending: str = "txt") -> Path:
    """The file of a shard's units, or its stamp (`ending` = done.json)."""
    return out / "shards" / f"pseudo_labels_km{K}.{shard}of{num_shards}.{ending}"
