"""k-means of a data directory: a pass for the sample, the fit, passes over every frame where asked for."""

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from espnet_sld.corpus.data_dir import DataDir
from espnet_sld.errors import InputError
from espnet_sld.progress import track
from espnet_sld.stamps import Stamp
from espnet_sld.units.devices import check_device
from espnet_sld.units.frontends.base import FrontEnd
from espnet_sld.units.kmeans import FitOptions, KMeans, files_of
from espnet_sld.units.sample import FrameSample, draw_hours
from espnet_sld.units.source import Reading, audio_digest, audio_tables, stream_features
from espnet_sld.units.unit_text import check_num_clusters, write_character_list

CHARACTER_LIST = "distinct_cjk_token_lists"
# Of a streamed fit: the sample that it begins with, in frames that k-means++ draws from, and how many times
# as many frames the utterances have that it is drawn from.
STREAM_SAMPLE, SPREAD = 4, 2


def fit_data_dir(
    data_dir: str | Path,
    out_dir: str | Path,
    front_end: FrontEnd,
    options: FitOptions,
    *,
    max_frames: int | None,
    hours: float = 0.0,
    reading: Reading = Reading(),  # noqa: B008 (frozen)
) -> KMeans:
    """Fit k-means on a random sample of the set's frames; a fit that is up to date is read back.

    Writes `<out_dir>/km_<K>.{safetensors,json,mdl}` and, beside `out_dir`, `distinct_cjk_token_lists`.

    The result depends on the set, the front-end, `options` and `max_frames`, not on the order in which
    audio is read; on batches only as far as the features do.

    Args:
        options: how to fit; its device is the fit's, that of `reading` the front-end's.
        max_frames: size of the sample, kept in memory as float16; None streams every frame: the fit of a
            sample of some of the utterances is improved by `options.stream_passes` passes over all, in each
            of which the features are extracted again.
        hours: utterances are drawn until they have so many; 0 takes all.

    Raises:
        InputError: audio that cannot be read, too few frames, or wrong options.
    """
    out_dir, k = Path(out_dir), options.num_clusters
    _check(options, max_frames, hours)
    data = DataDir.read(data_dir, text=False, allow_pipes=reading.allow_pipes)
    data = draw_hours(data, hours, options.seed, allow_pipes=reading.allow_pipes)
    source = {
        "frontend": front_end.describe(),
        "max_frames": "all" if max_frames is None else max_frames,
        "hours": hours,
        **reading.describe(data),
        "audio": audio_digest(data),
    }
    fit_options = {key: value for key, value in asdict(options).items() if key != "device"}
    if max_frames is not None:
        del fit_options["stream_passes"]
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

    features = _Set(data, front_end, reading, data_dir)
    if max_frames is None:
        kmeans = _fit_stream(features, options)
    else:
        kmeans = _fit_sample(features, options, max_frames)[0]
    kmeans.info |= {
        **source,
        "data_dir": str(data_dir),
        "inputs": stamp.inputs,
        "utterances": len(data),
        "seconds": round(features.seconds, 3),
        "frames_seen": features.frames,
        "frontend_provenance": getattr(front_end, "provenance", {}),
    }
    stamp.withdraw()
    kmeans.save(out_dir)
    kmeans.export_mdl(mdl)
    stamp.write(inertia=kmeans.info["inertia"][-1], frames=kmeans.info["frames"])
    return kmeans


class _Set:
    """A set whose features may be streamed several times; `seconds` and `frames` are of the last time."""

    def __init__(self, data: DataDir, front_end: FrontEnd, reading: Reading, data_dir: str | Path):
        self.data, self.front_end, self.reading, self.data_dir = data, front_end, reading, data_dir
        self.seconds, self.frames = 0.0, 0

    def stream(self, what: str, shuffle: str | None = None):
        """Yield (utterance, features (T, D))."""
        self.seconds, self.frames = 0.0, 0
        items = stream_features(
            self.data, self.front_end, self.reading, data_dir=self.data_dir, shuffle=shuffle
        )
        for item in track(items, len(self.data), what):
            self.seconds += item.num_samples / self.front_end.sample_rate
            self.frames += len(item.frames)
            yield item.utterance, item.frames

    def drawn(self, hours: float, seed: int) -> "_Set":
        """A random part of some hours."""
        part = draw_hours(
            self.data, hours, seed, purpose="stream sample", allow_pipes=self.reading.allow_pipes
        )
        return _Set(part, self.front_end, self.reading, self.data_dir)


def _fit_sample(features: _Set, options: FitOptions, limit: int) -> tuple[KMeans, np.ndarray]:
    """The fit of a sample of at most `limit` frames, and the sample."""
    sample = FrameSample(limit, options.seed)
    for utterance, frames in features.stream("k-means sample"):
        sample.add(utterance, frames)
    frames = sample.result()
    from espnet_sld.units.kmeans_fit import fit  # torch: not before the audio is known to be good

    try:
        return fit(frames, options), frames
    except InputError as error:
        raise InputError(f"{features.data_dir}: {error}") from None


def _fit_stream(features: _Set, options: FitOptions) -> KMeans:
    """The fit of a bounded sample, then passes over all frames."""
    from espnet_sld.units.kmeans_fit import init_frames
    from espnet_sld.units.kmeans_stream import StreamFit

    limit = STREAM_SAMPLE * init_frames(options.num_clusters)
    part = features.drawn(SPREAD * limit * features.front_end.frame_shift / 3600, options.seed)
    kmeans, sample = _fit_sample(part, options, limit)
    info: dict[str, Any] = {**kmeans.info, "sample_frames": len(sample), "sample_seconds": part.seconds}
    stream_fit, curve = StreamFit(kmeans, sample, options), []
    del sample
    for number in range(1, options.stream_passes + 1):
        what = f"k-means stream, pass {number}/{options.stream_passes}"
        stream = features.stream(what, shuffle=f"{options.seed} {number}")
        curve.append(round(stream_fit.run(frames for _, frames in stream), 6))
        logging.info("%s: %d frames, inertia per frame %.5g", what, stream_fit.frames, curve[-1])
    return stream_fit.result({**info, "frames": stream_fit.frames, "stream_inertia": curve})


def _check(options: FitOptions, max_frames: int | None, hours: float) -> None:
    check_num_clusters(options.num_clusters)
    check_device(options.device)
    if min(options.max_iter, options.batch_size, options.n_init) < 1:
        raise InputError(
            f"max_iter {options.max_iter}, batch_size {options.batch_size}, n_init {options.n_init}: "
            "each must be at least 1"
        )
    if max_frames is not None and max_frames < options.num_clusters:
        raise InputError(
            f"max_frames {max_frames} must be at least the number of clusters, {options.num_clusters}"
        )
    if not hours >= 0:
        raise InputError(f"hours {hours:g} must not be negative; 0 takes the whole set")
    if max_frames is None and options.backend != "torch":
        raise InputError(
            "max_frames all streams the frames, which only backend torch does; give a number that fits "
            "into memory (float32 for scikit-learn), or take --kmeans_backend torch"
        )
    if max_frames is None and options.stream_passes < 1:
        raise InputError(f"stream_passes {options.stream_passes}: at least 1")
