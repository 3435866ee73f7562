"""Everything that the cost model takes as given, each with its unit and where it comes from."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from espnet_sld.errors import InputError


def given(default: Any, unit: str, source: str) -> Any:
    """A value with its unit and source, for the document."""
    return field(default=default, metadata={"unit": unit, "source": source})


@dataclass(frozen=True)
class Gpu:
    """Dense peaks (FLOP/s) and memory of one GPU, from NVIDIA's data sheets (SXM models)."""

    name: str
    fp32: float
    tf32: float
    bf16: float
    memory: float  # bytes
    bandwidth: float  # bytes/s
    link: float  # bytes/s to the other GPUs of the machine, one direction

    def peak(self, precision: str) -> float:
        """FLOP/s at `fp32`, `tf32`, `bf16` or `fp16`.

        Raises:
            InputError: another precision.
        """
        precision = "bf16" if precision == "fp16" else precision
        if precision not in ("fp32", "tf32", "bf16"):
            raise InputError(f"precision {precision}: must be fp32, tf32, bf16 or fp16")
        return getattr(self, precision)


GPUS = {
    gpu.name: gpu
    for gpu in (
        Gpu("A100", 19.5e12, 156e12, 312e12, 80e9, 2.039e12, 300e9),
        Gpu("H100", 67e12, 494.5e12, 989e12, 80e9, 3.35e12, 450e9),
        Gpu("H200", 67e12, 494.5e12, 989e12, 141e9, 4.8e12, 450e9),
    )
}

LIBRISPEECH = "LibriSpeech's training set"


@dataclass(frozen=True)
class Assumptions:
    """Inputs of the formulas; any of them can be replaced on the command line."""

    # -- corpus
    utterance_seconds: float = given(
        12.3,
        "s",
        f"{LIBRISPEECH}: 960.9 h (Panayotov et al. 2015) in 281 241 utterances (its card on the hub)",
    )
    longest_seconds: float = given(27.0, "s", "assumed: 24.5 s at speed 0.9")
    archive_bytes_per_hour: float = given(
        63.0e6, "B", "61 837 670 302 B of archives (LibriSpeech's card) for 982.1 h"
    )
    test_hours: float = given(
        21.2, "h", "5.4 + 5.3 + 5.4 + 5.1 h of dev and test sets (Panayotov et al. 2015)"
    )
    test_utterances: int = given(11_126, "", "2703 + 2864 + 2620 + 2939 (ESPnet's egs2/librispeech/asr2)")
    words_per_second: float = given(
        2.75, "1/s", "210 269 words of the dev and test sets (ESPnet's egs2/librispeech/asr2) in 21.2 h"
    )
    # -- tokens
    frames_per_second: float = given(50.0, "1/s", "20 ms a frame (arXiv 2311.04534, Sec. 4.1)")
    pieces_per_second: float = given(
        24.4, "1/s", "assumed: 300 pieces in 12.3 s; stage 6 counts the true ones (length_stats.json)"
    )
    tokens_per_word: float = given(
        1.25, "", "assumed for GPT-2's BPE on lower-case text; stage 6 counts them"
    )
    # -- models
    clusters: int = given(2000, "", "arXiv 2311.04534, Sec. 4.1")
    unit_pieces: int = given(6000, "", "arXiv 2311.04534, Sec. 4.1")
    encoder_layer: int = given(23, "", "run.sh: wavlm_large/23; the encoder is cut there")
    vocabulary: int = given(56_259, "", "GPT-2's 50 257 + 6000 pieces + 2 end tokens")
    # -- options of the recipe
    kmeans_hours: float = given(100.0, "h", "run.sh")
    kmeans_frames: int = given(2_000_000, "", "run.sh")
    kmeans_passes: int = given(100, "", "fit_kmeans --max_iter; it usually stops earlier")
    extract_precision: str = given("fp32", "", "the front-ends' default on a GPU; tf32 and bf16 by option")
    extract_batch_seconds: float = given(300.0, "s", "extract_units --batch_seconds on a GPU, padded")
    epochs: int = given(10, "", "arXiv 2311.04534, Sec. 4.1")
    batch_utterances: int = given(64, "", "arXiv 2311.04534, Sec. 4.1; the same for any number of GPUs")
    micro_batch_tokens: int = given(2816, "", "conf/train_*.yaml: batch_bins on each GPU")
    decode_batch_tokens: int = given(65_536, "", "conf/decode_greedy.yaml")
    # -- rates
    utilisation_low: float = given(0.35, "of peak", "assumed: share of the peak that matrix products reach")
    utilisation_high: float = given(0.5, "of peak", "assumed, likewise")
    network: float = given(125e6, "B/s", "assumed: 1 Gbit/s to the archive's server")
    disk: float = given(1e9, "B/s", "assumed: one local solid-state disk")
    unpack: float = given(200e6, "B/s", "assumed: gunzip on one core")
    node_link: float = given(25e9, "B/s", "assumed between machines: 200 Gbit/s")
    reader_threads: int = given(4, "", "extract_units --reader_threads on a GPU")
    read_audio: float = given(1000.0, "× real time", "assumed: FLAC and resampling on one core, with Python")
    table_bytes: float = given(
        1400.0,
        "B",
        "peak of DataDir.read, an utterance (tracemalloc, 20 000 utterances with paths as LibriSpeech's)",
    )
    table_lines: float = given(100_000.0, "1/s", "assumed: lines of Kaldi tables read, checked and written")
    sentencepiece_threads: int = given(4, "", "train_subword: fixed, since it is part of the result")
    sentencepiece_rate: float = given(
        1.5e6, "characters/s", "assumed: one thread, one pass (lattice of a line)"
    )
    encode_rate: float = given(2e6, "characters/s", "assumed: SentencePiece from Python, one process")
    decode_step: float = given(0.02, "s", "assumed: least time of one generation step (24 blocks, eager)")
    score_rate: float = given(79_800.0, "utterances/s", "tools/bench/results.json, row scoring")

    def having(self, values: Mapping[str, Any]) -> "Assumptions":
        """The same with some values replaced.

        Raises:
            InputError: an unknown name, or a value of another type.
        """
        types = {item.name: type(item.default) for item in fields(self)}
        changed = {}
        for name, value in values.items():
            if name not in types:
                raise InputError(f"--assume {name}: unknown; there are: {', '.join(types)}")
            kind = types[name]
            if kind is str:
                changed[name] = str(value)
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
                raise InputError(f"--assume {name}={value}: expected a positive number")
            if kind is int and value != int(value):
                raise InputError(f"--assume {name}={value}: expected a whole number")
            changed[name] = kind(value)
        return replace(self, **changed)
