"""k-means of a data directory: one pass for the sample, then the fit; files as ESPnet's asr2 names them."""

import logging
from dataclasses import asdict
from pathlib import Path

from espnet_sld.corpus.data_dir import DataDir
from espnet_sld.errors import InputError
from espnet_sld.progress import track
from espnet_sld.stamps import Stamp
from espnet_sld.units.frontends.base import FrontEnd
from espnet_sld.units.kmeans import FitOptions, KMeans, files_of
from espnet_sld.units.sample import FrameSample, select_utterances
from espnet_sld.units.source import audio_digest, audio_tables, stream_features
from espnet_sld.units.unit_text import check_num_clusters, write_character_list

CHARACTER_LIST = "distinct_cjk_token_lists"


def fit_data_dir(
    data_dir: str | Path,
    out_dir: str | Path,
    front_end: FrontEnd,
    options: FitOptions,
    *,
    max_frames: int | None,
    portion: float = 1.0,
    allow_pipes: bool = False,
    channels: str = "mono",
) -> KMeans:
    """Fit k-means on a random sample of the set's frames; a fit that is up to date is read back.

    Writes `<out_dir>/km_<K>.{safetensors,json,mdl}` and, beside `out_dir`, `distinct_cjk_token_lists`.

    Args:
        options: how to fit.
        max_frames: size of the sample; None takes every frame.
        portion: share of the utterances that are read at all.

    Raises:
        InputError: audio that cannot be read, too few frames, or wrong options.
    """
    out_dir, k = Path(out_dir), options.num_clusters
    check_num_clusters(k)
    if not 0 < portion <= 1 or (max_frames is not None and max_frames < k):
        raise InputError(f"portion {portion} must be in (0, 1], and max_frames at least the {k} clusters")
    data = DataDir.read(data_dir, text=False, allow_pipes=allow_pipes)
    data = data.select(select_utterances(data.utterances, portion, options.seed))
    source = {
        "frontend": front_end.describe(),
        "max_frames": max_frames,
        "portion": portion,
        "channels": channels,
        "audio": audio_digest(data),
    }
    fit_options = {key: value for key, value in asdict(options).items() if key != "device"}
    mdl = out_dir / f"km_{k}.mdl"
    stamp = Stamp(
        out_dir / f"km_{k}.done.json",
        inputs=audio_tables(data_dir),
        options={**source, **fit_options},
        outputs=[*files_of(out_dir, k), mdl],
    )
    write_character_list(out_dir.parent / CHARACTER_LIST)
    if stamp.fresh():
        logging.info("%s is up to date", out_dir)
        return KMeans.load(out_dir, k)
    stamp.path.unlink(missing_ok=True)

    from espnet_sld.units.kmeans_fit import fit  # torch, only where it is needed

    sample = FrameSample(max_frames, options.seed)
    stream = stream_features(data, front_end, allow_pipes=allow_pipes, channels=channels)
    seconds = 0.0
    for item in track(stream, len(data), "k-means sample"):
        sample.add(item.utterance, item.frames)
        seconds += item.num_samples / front_end.sample_rate
    kmeans = fit(sample.result(), options)
    kmeans.info |= {
        **source,
        "data_dir": str(data_dir),
        "inputs": stamp.inputs,
        "utterances": len(data),
        "seconds": round(seconds, 3),
        "frames_seen": sample.seen,
    }
    kmeans.save(out_dir)
    kmeans.export_mdl(mdl)
    stamp.write(inertia=kmeans.info["inertia"][-1], frames=kmeans.info["frames"])
    return kmeans
