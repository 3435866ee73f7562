"""The formulas of the cost model, written out with the figures of one plan."""

from espnet_sld.models.costs.assumptions import Gpu
from espnet_sld.models.costs.counts import lloyd_flops
from espnet_sld.models.costs.stages import ACTIVATIONS, ADAM_BYTES, AUTOCAST_BYTES, LOGIT_BYTES, Plan
from espnet_sld.models.costs.words import big, gigabytes, hours_words, power, two_digits


def formulas(plan: Plan, gpu: Gpu, gpus: int) -> list[str]:
    """One bullet a stage: what is computed, and what comes out (to be wrapped by whoever renders it)."""
    example = f"{plan.hours:g} h on {gpus} {gpu.name}"
    return [
        f"One multiply-add is 2 FLOPs; u is the utilisation; figures are for {example}.",
        *_corpus(plan),
        *_units(plan),
        *_text(plan),
        *_training(plan, gpu, gpus, example),
        f"""- **8** prompts as in 7 (forward only, fp32) at u; then steps of max(`decode_step`, (weights +
        keys and values) / bandwidth), twice the mean text's tokens for each batch of
        {plan.assume.decode_batch_tokens} positions.""",
        "- **9** `test_utterances` / `score_rate`.",
    ]


def _corpus(plan: Plan) -> list[str]:
    a = plan.assume
    archives = (plan.hours + a.test_hours) * a.archive_bytes_per_hour
    return [
        f"""- **Hours of audio**: H_all = H · Σ 1/factor = {big(plan.heard_hours)} h. **Units**: H_all · 3600
        · {a.frames_per_second:g} = {big(plan.units)}.""",
        f"""- **1** archives = (H + {a.test_hours:g} h of dev and test) · {a.archive_bytes_per_hour / 1e6:g}
        MB = {gigabytes(archives)}; time = archives · (1/network + 1/unpack + 3/disk); disk space = 2 ·
        archives (packed and unpacked; the packed ones may be deleted afterwards).""",
        "- **2** writes tables only, the audio stays as it is: 5 lines an utterance at `table_lines`.",
    ]


def _units(plan: Plan) -> list[str]:
    a, encoder = plan.assume, plan.encoder
    lloyd = a.kmeans_passes * lloyd_flops(a.kmeans_frames, a.clusters, encoder.hidden)
    return [
        f"""- **Encoder**, a second of audio in utterances of {a.utterance_seconds:g} s with T frames, D =
        {encoder.hidden}: convolutions Σ 2·T_i·k_i·c_(i−1)·c_i, projection, positional convolution, and
        {a.encoder_layer} blocks of 2·T·(4D² + 2·D·{encoder.inner} + {encoder.gates}·D) + 4·T²·D =
        {plan.encoder_flops / 1e9:.1f} GFLOP.""",
        f"""- **3** {a.kmeans_hours:g} h through the encoder on one GPU, then at most {a.kmeans_passes}
        passes of 4·N·K·D FLOPs (distances and sums, fp32), N = {big(a.kmeans_frames)}, K = {a.clusters}:
        {power(lloyd)} FLOP. The sample is 2·N·D bytes (fp16), twice that while it is drawn.""",
        f"""- **4** (H_all + {a.test_hours:g}) · 3600 · encoder / (GPUs · peak({a.extract_precision}) · u),
        plus reading: H_all / (`read_audio` · `reader_threads` · GPUs), as if the two never overlapped. GPU
        memory: weights, and three float32 copies each of the first convolution's output and of the attention
        scores of a batch. Disk a unit: two times the id and a space, two times 3 bytes of text.""",
    ]


def _text(plan: Plan) -> list[str]:
    return [
        f"""- **5** SentencePiece's unigram training keeps 20 bytes a character (a 4-byte character and four
        4-byte indices of its suffix array, `src/unigram_model_trainer.cc`) and 3 of text; it makes 3 ·
        ⌈ln(10⁶/(1.1·{plan.assume.unit_pieces})) / ln(1/0.75)⌉ = {plan.subword_passes} passes over it.""",
        "- **6** encodes every unit once at `encode_rate`.",
    ]


def _training(plan: Plan, gpu: Gpu, gpus: int, example: str) -> list[str]:
    a, lm = plan.assume, plan.lm
    one = lm.training([plan.length], plan.length - 1)
    linear = 12 * lm.layers * lm.hidden**2
    activations = ACTIVATIONS * lm.hidden * lm.layers * a.micro_batch_tokens
    at_peak = plan.training_flops / (gpus * gpu.bf16) / 3600
    return [
        f"""- **7** FLOPs of a sequence of L = {plan.length} tokens: 3 · 2 · ({linear / 1e6:.0f} M · L +
        {lm.layers}·{lm.hidden}·L² + {lm.hidden}·{lm.vocabulary}·(L − 1)) = {one / 1e12:.2f} TFLOP; times
        {big(plan.utterances)} utterances and {a.epochs} epochs = {power(plan.training_flops)} FLOP.
        Gradients: a ring all-reduce of 4 bytes a parameter, 2·(g − 1)/g · 4P / link =
        {1000 * plan.exchange_seconds(gpus, gpu.link):.1f} ms a step; saving writes 16·P bytes an epoch;
        neither overlaps. Together {hours_words(plan.train_hours(gpu, gpus))} h for {example}; the FLOPs
        alone are {two_digits(at_peak)} h / u.""",
        f"""- **Memory of 7**: on a GPU ({ADAM_BYTES} + {AUTOCAST_BYTES})·P for weights, gradients, Adam's
        moments and the half-precision copy, {ACTIVATIONS}·D·{lm.layers} bytes a token of the micro-batch
        ({gigabytes(activations)}; twice the 34·D a block of arXiv 2205.05198, since autocast keeps float32
        copies), {gigabytes(LOGIT_BYTES)} of logits. RAM: {plan.dataset_bytes / 1e3:.1f} kB an utterance,
        since each process holds its data, and 3 GB. Disk: 44·P (two models, three checkpoints).""",
    ]
