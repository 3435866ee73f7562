"""Hours, memory and disk of stages 1–9, from counts and the stated rates."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from espnet_sld.errors import InputError
from espnet_sld.models.costs.assumptions import Assumptions, Gpu
from espnet_sld.models.costs.counts import LanguageModel, SpeechEncoder, lloyd_flops

ADAM_BYTES = 16  # a parameter in training: float32 weight, gradient and two moments
AUTOCAST_BYTES = 2  # and its half-precision copy
# Half-precision bytes that a block keeps of a token for its backward, in units of the hidden size
# (Korthikanti et al. 2022, arXiv 2205.05198, Eq. 1, without the scores that flash attention never stores),
# doubled, since autocast keeps float32 copies and GPT-2's GELU is made of several operations.
ACTIVATIONS = 2 * 34
LOGIT_BYTES = 3 * (1 << 29)  # at most: max_logits_bytes, and a chunk with its gradient and temporaries


@dataclass(frozen=True)
class StageCost:
    """One stage on one machine. `hours` is (at high utilisation, at low); equal where no GPU computes."""

    stage: int
    name: str
    limit: str
    hours: tuple[float, float]
    gpu_memory: float  # bytes on each GPU; 0: none is used
    ram: float  # bytes of one process
    disk: float  # bytes that the stage adds


@dataclass(frozen=True)
class Plan:
    """A corpus of `hours`, its speed factors, and what is assumed."""

    hours: float
    speeds: Sequence[float] = (0.9, 1.0, 1.1)
    assume: Assumptions = field(default_factory=Assumptions)

    def __post_init__(self):
        if not self.hours > 0 or not self.speeds or not all(speed > 0 for speed in self.speeds):
            raise InputError("--hours and --speeds: expected positive numbers")

    encoder = SpeechEncoder()

    # -- counts ------------------------------------------------------------------------------------
    @cached_property
    def lm(self) -> LanguageModel:
        """The language model with its extended vocabulary."""
        return LanguageModel(vocabulary=self.assume.vocabulary)

    @cached_property
    def heard_hours(self) -> float:
        """Hours at all speeds: Σ hours/factor."""
        return self.hours * sum(1 / speed for speed in self.speeds)

    @cached_property
    def utterances(self) -> int:
        """Utterances at all speeds."""
        return round(self.hours * 3600 / self.assume.utterance_seconds) * len(self.speeds)

    @cached_property
    def units(self) -> float:
        """Frames of the training set at all speeds; as many characters of unit text."""
        return self.heard_hours * 3600 * self.assume.frames_per_second

    @cached_property
    def encoder_flops(self) -> float:
        """FLOPs of a second of audio, in utterances of the mean length, cut at the recipe's layer."""
        seconds = self.assume.utterance_seconds
        return self.encoder.flops(round(seconds * 16_000), self.assume.encoder_layer) / seconds

    @cached_property
    def sequence(self) -> tuple[int, int]:
        """(speech pieces, text tokens) of the mean utterance."""
        seconds = self.assume.utterance_seconds
        text = seconds * self.assume.words_per_second * self.assume.tokens_per_word
        return round(seconds * self.assume.pieces_per_second), round(text)

    @cached_property
    def length(self) -> int:
        """Tokens of the mean sequence, with its two end tokens."""
        return sum(self.sequence) + 2

    @cached_property
    def training_flops(self) -> float:
        """FLOPs of a training: every utterance in every epoch; all tokens but the first are targets."""
        one = self.lm.training([self.length], self.length - 1)
        return float(one) * self.utterances * self.assume.epochs

    @cached_property
    def steps(self) -> int:
        """Optimiser steps of a training."""
        return math.ceil(self.utterances * self.assume.epochs / self.assume.batch_utterances)

    @cached_property
    def subword_passes(self) -> int:
        """Passes of SentencePiece's unigram training: two of EM and one to prune, each time by a quarter."""
        rounds = math.log(1_000_000 / (1.1 * self.assume.unit_pieces)) / math.log(1 / 0.75)
        return 3 * math.ceil(rounds)

    @cached_property
    def dataset_bytes(self) -> float:
        """An utterance in a training process: unit text (2 B a unit), text, tokens and kinds (5 B), objects.

        The objects are what tracemalloc counts beside the contents: strings' and arrays' heads, two tables.
        """
        seconds = self.assume.utterance_seconds
        text = 5.5 * self.assume.words_per_second * seconds  # letters and a space a word
        return 2 * self.assume.frames_per_second * seconds + text + 5 * self.length + 575

    def exchange_seconds(self, gpus: int, link: float) -> float:
        """A ring all-reduce of the float32 gradients, once an optimiser step."""
        return 2 * (gpus - 1) / gpus * 4 * self.lm.parameters() / link

    # -- stages ------------------------------------------------------------------------------------
    def stages(self, gpu: Gpu, gpus: int) -> list[StageCost]:
        """Costs of stages 1–9 of one training on one machine with `gpus` of `gpu`."""
        return [
            self._download(),
            self._speeds(),
            self._kmeans(gpu),
            self._units(gpu, gpus),
            self._subwords(),
            self._shapes(),
            self._train(gpu, gpus),
            self._decode(gpu),
            self._score(),
        ]

    def on_gpu(self, flops: float, peak: float, gpus: int = 1) -> tuple[float, float]:
        """Hours at the high and at the low utilisation."""
        shares = (self.assume.utilisation_high, self.assume.utilisation_low)
        high, low = (flops / (gpus * peak * share) / 3600 for share in shares)
        return high, low

    def _download(self) -> StageCost:
        archives = (self.hours + self.assume.test_hours) * self.assume.archive_bytes_per_hour
        lines = 4 * self.utterances / len(self.speeds)
        seconds = archives / self.assume.network + archives / self.assume.unpack
        seconds += 3 * archives / self.assume.disk  # packed written and read, unpacked written
        seconds += lines / self.assume.table_lines
        ram = self.assume.table_bytes * self.utterances / len(self.speeds)
        return StageCost(1, "download, unpack, tables", "network", _same(seconds), 0, ram, 2 * archives)

    def _speeds(self) -> StageCost:
        seconds = 5 * self.utterances / self.assume.table_lines
        ram, disk = self.assume.table_bytes * self.utterances, 500.0 * self.utterances
        return StageCost(2, "speed perturbation (tables)", "one process", _same(seconds), 0, ram, disk)

    def _extract(self, hours: float, gpu: Gpu, gpus: int) -> tuple[float, float]:
        """Hours to read and encode `hours` of audio, as if the two never overlapped."""
        seconds = hours * 3600
        encode = self.on_gpu(seconds * self.encoder_flops, gpu.peak(self.assume.extract_precision), gpus)
        read = hours / (self.assume.read_audio * self.assume.reader_threads * gpus)
        return encode[0] + read, encode[1] + read

    def extract_memory(self) -> float:
        """GPU bytes: weights, and three copies each of the first convolution's output and of the scores."""
        assume, encoder = self.assume, self.encoder
        conv = encoder.channels * 16_000 / encoder.strides[0] * assume.extract_batch_seconds
        rows = max(1.0, assume.extract_batch_seconds / assume.longest_seconds)
        scores = rows * encoder.heads * (assume.longest_seconds * assume.frames_per_second) ** 2
        return 4 * (encoder.parameters(assume.encoder_layer) + 3 * conv + 3 * scores)

    def table_memory(self) -> float:
        """Bytes of the Kaldi tables of the training set at all speeds, which every shard reads whole."""
        return self.assume.table_bytes * self.utterances

    def _kmeans(self, gpu: Gpu) -> StageCost:
        assume, dimension = self.assume, self.encoder.hidden
        features = self._extract(min(assume.kmeans_hours, self.hours), gpu, 1)
        fit = self.on_gpu(
            assume.kmeans_passes * lloyd_flops(assume.kmeans_frames, assume.clusters, dimension), gpu.fp32
        )
        sample = 2.0 * assume.kmeans_frames * dimension
        hours = (features[0] + fit[0], features[1] + fit[1])
        memory = max(self.extract_memory(), sample)
        disk = 2 * 4.0 * assume.clusters * dimension  # safetensors and .mdl
        return StageCost(3, "k-means", "one GPU", hours, memory, 2 * sample, disk)

    def _units(self, gpu: Gpu, gpus: int) -> StageCost:
        hours = self._extract(self.heard_hours + self.assume.test_hours, gpu, gpus)
        digits = _mean_digits(self.assume.clusters)
        ids, text = digits + 1, 3  # `17 ` in two files (shard, whole); UTF-8 text twice (ts, rm)
        disk = (2 * ids + 2 * text) * self.units
        return StageCost(4, "units", "GPU", hours, self.extract_memory(), self.table_memory(), disk)

    def subword_hours(self) -> float:
        """Stage 5 on all characters."""
        rate = self.assume.sentencepiece_rate * self.assume.sentencepiece_threads
        return self.units * self.subword_passes / rate / 3600

    def subword_memory(self) -> float:
        """Bytes on all characters: a 4-byte character, four 4-byte indices of a suffix array, 3 of text."""
        return (20 + 3) * self.units

    def _subwords(self) -> StageCost:
        hours = self.subword_hours()
        ram, disk = self.subword_memory(), 3 * self.units
        return StageCost(5, "subword models", "CPU, 4 threads", (hours, hours), 0, ram, disk)

    def _shapes(self) -> StageCost:
        seconds = self.units / self.assume.encode_rate
        ram = 350.0 * self.utterances
        return StageCost(
            6, "shapes, statistics", "one process", _same(seconds), 0, ram, 3 * 30.0 * self.utterances
        )

    def training_memory(self) -> float:
        """GPU bytes: weights, gradients, moments; activations of a micro-batch; logits."""
        tokens = self.assume.micro_batch_tokens
        activations = ACTIVATIONS * self.lm.hidden * self.lm.layers * tokens
        return (ADAM_BYTES + AUTOCAST_BYTES) * self.lm.parameters() + activations + LOGIT_BYTES

    def training_disk(self) -> float:
        """Bytes: two models, and three checkpoints with Adam's moments while one is being written."""
        return (2 * 4 + 3 * 12) * self.lm.parameters()

    def train_hours(self, gpu: Gpu, gpus: int) -> tuple[float, float]:
        """Hours of a training in bf16; exchange of gradients and saving overlap with nothing."""
        exchange = self.steps * self.exchange_seconds(gpus, gpu.link)
        saving = self.assume.epochs * 16 * self.lm.parameters() / self.assume.disk  # model and checkpoint
        more = (exchange + saving) / 3600
        fast, slow = self.on_gpu(self.training_flops, gpu.bf16, gpus)
        return fast + more, slow + more

    def _train(self, gpu: Gpu, gpus: int) -> StageCost:
        hours, memory = self.train_hours(gpu, gpus), self.training_memory()
        ram = 3e9 + self.dataset_bytes * self.utterances  # torch and CUDA; the data
        return StageCost(7, "training", "GPU", hours, memory, ram, self.training_disk())

    def _decode(self, gpu: Gpu) -> StageCost:
        assume, (pieces, text) = self.assume, self.sequence
        width = pieces + 2 * text + 2
        rows = max(1, assume.decode_batch_tokens // width)
        steps = math.ceil(assume.test_utterances / rows) * 2 * text  # the longest of a batch: twice the mean
        cache = 4 * 2 * self.lm.layers * self.lm.hidden * rows * width  # keys and values, float32
        weights = 4 * self.lm.parameters()
        step = max(assume.decode_step, (weights + cache) / gpu.bandwidth)
        prompts = self.lm.forward([pieces + 1], 1) * assume.test_utterances
        fast, slow = self.on_gpu(prompts, gpu.fp32)
        hours = (fast + steps * step / 3600, slow + steps * step / 3600)
        return StageCost(8, "decoding", "one GPU", hours, weights + 2 * cache, 3e9, 1e8)

    def _score(self) -> StageCost:
        seconds = self.assume.test_utterances / self.assume.score_rate
        return StageCost(9, "scoring", "one process", _same(seconds), 0, 1e9, 1e7)


def _same(seconds: float) -> tuple[float, float]:
    return seconds / 3600, seconds / 3600


def _mean_digits(clusters: int) -> float:
    """Mean number of digits of the ids 0 … K−1."""
    return sum(len(str(number)) for number in range(clusters)) / clusters
