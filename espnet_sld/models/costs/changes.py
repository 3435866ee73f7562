"""What has to change where a corpus is tens of thousands of hours, by the same counts."""

import math

from espnet_sld.models.costs.assumptions import Gpu
from espnet_sld.models.costs.stages import Plan
from espnet_sld.models.costs.words import big, exactly, gigabytes, hours_words, percent, two_digits

SHARD_HOURS = 0.5  # of one GPU: what a lost shard costs
SUFFIX_LIMIT = 2**31 - 1  # characters that SentencePiece's 32-bit suffix array can hold
SUBWORD_RAM = 64e9  # bytes that may be spent on it
SAMPLER_BYTES = 56.0  # seven 8-byte numbers an utterance, of which some while a pass is made
DAY = 24.0


def what_changes(plan: Plan, gpu: Gpu, gpus: int) -> list[str]:
    """One bullet a subject, with the figures that force the change (to be wrapped by whoever renders it)."""
    return [
        _storage(plan),
        *_units(plan, gpu),
        _kmeans(plan),
        _subwords(plan),
        _sampler(plan, gpus),
        *_training(plan, gpu, gpus),
    ]


def _storage(plan: Plan) -> str:
    a = plan.assume
    archives = (plan.hours + a.test_hours) * a.archive_bytes_per_hour
    files = plan.utterances / len(plan.speeds)
    return f"""- **Storage and network.** {gigabytes(archives)} packed and as much unpacked, in {big(files)}
        files: a parallel file system, which so many small files strain; long recordings with `segments`
        spare it. The download takes {two_digits(archives / a.network / 3600)} h at {a.network * 8 / 1e9:g}
        Gbit/s. Features are never stored: in float32 they would be
        {gigabytes(4.0 * plan.encoder.hidden * plan.units)}."""


def _units(plan: Plan, gpu: Gpu) -> list[str]:
    one = plan.stages(gpu, 1)[3].hours
    tf32 = Plan(plan.hours, plan.speeds, plan.assume.having({"extract_precision": "tf32"}))
    fast = tf32.stages(gpu, 1)[3].hours
    return [
        f"""- **Shards.** `--nj {math.ceil(one[1] / SHARD_HOURS)}`: at most {60 * SHARD_HOURS:g} minutes of
        one {gpu.name} each, which is what a lost one costs. Every shard process reads the whole Kaldi tables
        ({gigabytes(plan.table_memory())}): split the data directory first (`utils/split_data_dir`) and
        extract part by part, which the drivers do not do by themselves.""",
        f"""- **Nodes for stage 4.** {hours_words(one)} h on one {gpu.name} in
        {plan.assume.extract_precision}, {hours_words(fast)} h in tf32; shards are independent, so the hours
        divide by the GPUs of all machines.""",
    ]


def _kmeans(plan: Plan) -> str:
    a = plan.assume
    return f"""- **k-means sample.** {a.kmeans_hours:g} h are {percent(a.kmeans_hours / plan.hours, 2)} of the
        corpus and cost what they cost before. {big(a.kmeans_frames)} frames can come from more utterances
        (more speakers, fewer frames of each) at the price of reading those: raise `--kmeans_hours`, not
        `--kmeans_max_frames`."""


def _subwords(plan: Plan) -> str:
    if plan.units <= SUFFIX_LIMIT:
        return f"- **SentencePiece.** {big(plan.units)} characters still fit its 32-bit suffix array."
    share = SUBWORD_RAM / plan.subword_memory()
    return f"""- **SentencePiece.** {big(plan.units)} characters are more than its 32-bit suffix array holds
        ({big(SUFFIX_LIMIT)}), and would need {gigabytes(plan.subword_memory())}. {gigabytes(SUBWORD_RAM)} are
        enough for {big(share * plan.utterances)} random lines (`train_subword --input_sentence_size`, which
        the drivers do not pass), {percent(share)} of them: {two_digits(share * plan.subword_hours())} h."""


def _sampler(plan: Plan, gpus: int) -> str:
    data = plan.dataset_bytes * plan.utterances
    return f"""- **Sampler and data memory.** A training process holds {plan.dataset_bytes / 1e3:.1f} kB an
        utterance: {gigabytes(data)} a process, {gigabytes(gpus * data)} for {gpus} GPUs, more than a machine
        has. One memory-mapped file of 16-bit ids ({gigabytes(2.0 * plan.length * plan.utterances)};
        {exactly(plan.assume.vocabulary)} ids fit), shared by all processes, would leave the sampler's arrays:
        {SAMPLER_BYTES:g} bytes an utterance, {gigabytes(SAMPLER_BYTES * plan.utterances)} a process. That is
        not built; until then, train on a part."""


def _training(plan: Plan, gpu: Gpu, gpus: int) -> list[str]:
    a = plan.assume
    hours = plan.train_hours(gpu, gpus)
    epoch = (hours[0] / a.epochs, hours[1] / a.epochs)
    nodes = max(2, math.ceil(hours[1] / DAY))
    step = plan.training_flops / plan.steps / (nodes * gpus * gpu.bf16 * a.utilisation_low)
    exchange = plan.exchange_seconds(nodes * gpus, a.node_link)
    tokens = float(plan.length) * plan.utterances * a.epochs
    return [
        f"""- **Training.** {a.epochs} epochs are {big(tokens)} tokens in {big(plan.steps)} steps:
        {hours_words(hours)} h on {gpus} {gpu.name}, {hours_words(epoch)} h an epoch. Fewer epochs, and no
        speed perturbation, are the first things to give up. Checkpoints
        ({gigabytes(12.0 * plan.lm.parameters())}) within an epoch rather than at its end.""",
        f"""- **Nodes for training.** To be done in a day takes {nodes} machines of {gpus}. Among so many a
        step of {a.batch_utterances} utterances is {1000 * step:.1f} ms of work, and its exchange of
        gradients takes {1000 * exchange:.0f} ms at {a.node_link * 8 / 1e9:g} Gbit/s a machine: the batch has
        to grow {two_digits(exchange / step)}-fold before work and exchange are equal, with a learning rate
        chosen anew.""",
    ]
