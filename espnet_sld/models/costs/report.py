"""The hardware document: sections of prose and tables, as plain rows for whoever renders them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields

from espnet_sld.models.costs.assumptions import Assumptions, Gpu
from espnet_sld.models.costs.changes import what_changes
from espnet_sld.models.costs.counts import LanguageModel
from espnet_sld.models.costs.formulas import formulas
from espnet_sld.models.costs.stages import Plan, StageCost
from espnet_sld.models.costs.words import big, exactly, gigabytes, hours_words, percent, power

TABLE1_RUNS, FRONTENDS = 10, 2
LARGE = 10_000.0  # hours from which on the document says what has to change


@dataclass(frozen=True)
class Section:
    """A heading, paragraphs, and at most one table (`left` columns aligned left)."""

    title: str
    level: int = 2
    before: Sequence[str] = ()
    header: Sequence[str] = ()
    rows: Sequence[Sequence[object]] = ()
    left: int = 1
    after: Sequence[str] = field(default_factory=tuple)


def document(plans: Sequence[Plan], gpus: Sequence[Gpu], counts: Sequence[int]) -> list[Section]:
    """All sections.

    Args:
        plans: one for each corpus size.
        gpus: kinds, the first for the detailed tables.
        counts: numbers of GPUs of one machine.
    """
    sections = [_head(plans[0].assume)]
    for plan in plans:
        speeds = " ".join(f"{speed:g}" for speed in plan.speeds)
        title = f"{exactly(plan.hours)} h, speeds {speeds}"
        sections.append(Section(title, before=[_corpus(plan)]))
        sections += [_stages(plan, gpu, counts) for gpu in gpus]
        sections.append(_precision(plan, gpus, counts))
        sections.append(_table1(plan, gpus, counts))
        if plan.hours >= LARGE:
            changes = what_changes(plan, gpus[0], max(counts))
            sections.append(Section(f"What changes at {exactly(plan.hours)} h", 3, before=changes))
    sections.append(Section("Formulas", before=formulas(plans[0], gpus[0], max(counts))))
    sections.append(_check(plans[0]))
    sections.append(_gpus(gpus))
    sections.append(_assumptions(plans[0].assume))
    return sections


def _head(assume: Assumptions) -> Section:
    high, low = percent(assume.utilisation_high), percent(assume.utilisation_low)
    return Section(
        "Hardware: what a run is expected to need",
        level=1,
        before=[
            f"""**Expectations by formula, not measurements.** Every figure below follows from counted FLOPs
            and bytes, divided by the rates listed at the end; nothing here was timed on a GPU. Hours are
            given as a range: matrix products at {high} and at {low} of the peak. Idle time, queueing,
            warm-up and failures are not in them, nor is the dev loss. Where a rate is marked *assumed*, put
            your own in its place: `--assume name=value`.""",
        ],
    )


def _corpus(plan: Plan) -> str:
    speech, text = plan.sequence
    return f"""{big(plan.utterances)} utterances and {big(plan.heard_hours)} h at all speeds together,
        {big(plan.units)} units; a mean sequence is {speech} pieces + {text} text tokens + 2 = {plan.length}
        tokens of at most 1024; {big(plan.steps)} optimiser steps."""


def _stages(plan: Plan, gpu: Gpu, counts: Sequence[int]) -> Section:
    table = {count: plan.stages(gpu, count) for count in counts}
    rows = [
        (
            cost.stage, cost.name, cost.limit,
            *(hours_words(table[count][index].hours) for count in counts),
            gigabytes(cost.gpu_memory) if cost.gpu_memory else "–", gigabytes(cost.ram), gigabytes(cost.disk),
        )
        for index, cost in enumerate(table[counts[0]])
    ]  # fmt: skip
    disk = sum(cost.disk for cost in table[counts[0]])
    rows.append(
        ("", "all", "", *(hours_words(_total(table[count])) for count in counts), "", "", gigabytes(disk))
    )
    header = ("", "stage", "limited by", *(f"hours, {count} GPU{'s' * (count > 1)}" for count in counts))
    return Section(
        f"{gpu.name} ({gigabytes(gpu.memory)})",
        3,
        header=(*header, "memory a GPU", "RAM a process", "disk added"),
        rows=rows,
        left=3,
    )


def _total(costs: Sequence[StageCost]) -> tuple[float, float]:
    return sum(cost.hours[0] for cost in costs), sum(cost.hours[1] for cost in costs)


def _precision(plan: Plan, gpus: Sequence[Gpu], counts: Sequence[int]) -> Section:
    rows = []
    for gpu in gpus:
        for precision in ("fp32", "tf32", "bf16"):
            other = Plan(plan.hours, plan.speeds, plan.assume.having({"extract_precision": precision}))
            hours = (hours_words(other.stages(gpu, count)[3].hours) for count in counts)
            rows.append((gpu.name, precision, *hours))
    header = ("GPU", "precision", *(f"hours, {count} GPU{'s' * (count > 1)}" for count in counts))
    return Section(
        "Stage 4 by precision of the encoder",
        3,
        before=[
            "fp32 is the default; bf16 changes some units: use one precision for training and test sets."
        ],
        header=header,
        rows=rows,
        left=2,
    )


def _table1(plan: Plan, gpus: Sequence[Gpu], counts: Sequence[int]) -> Section:
    rows = []
    for gpu in gpus:
        cells = []
        for count in counts:
            costs = plan.stages(gpu, count)
            once, shared, each = _total(costs[:2]), _total(costs[2:6]), _total(costs[6:])
            pairs = zip(once, shared, each, strict=True)
            cells.append(tuple(a + FRONTENDS * b + TABLE1_RUNS * c for a, b, c in pairs))
        rows.append((gpu.name, *(hours_words(cell) for cell in cells)))
    disk = TABLE1_RUNS * plan.training_disk()
    header = ("GPU", *(f"hours, {count} GPU{'s' * (count > 1)}" for count in counts))
    return Section(
        "The whole of Table 1",
        3,
        before=[
            f"""Stages 1–2 once, 3–6 for {FRONTENDS} front-ends, 7–9 for {TABLE1_RUNS} trainings (one seed),
            one after another; their checkpoints take {gigabytes(disk)}."""
        ],
        header=header,
        rows=rows,
    )


def _check(plan: Plan) -> Section:
    encoder, seconds = plan.encoder, 12.3
    whole, cut = (encoder.flops(round(seconds * 16_000), layers) / seconds for layers in (24, 21))
    day = 8 * 312e12 * 24 * 3600
    paper = Plan(960.0)  # the paper's setting, whatever this document is about
    return Section(
        "Checks against what is known",
        before=[
            f"""- WavLM-large, 24 blocks of 1024 with the convolutions: {whole / 1e9:.1f} GFLOP a second of
            audio; stopping at block 21 saves {percent(1 - cut / whole)}. This count and the next are
            compared with torch's own counter (`torch.utils.flop_counter`) on small models of the same layout
            in `test/models/test_costs.py`.""",
            f"""- GPT-2 medium: {LanguageModel().parameters() / 1e6:.1f} M parameters; with
            {exactly(plan.assume.vocabulary)} rows {plan.lm.parameters() / 1e6:.1f} M.""",
            f"""- The paper reports about a day a run on 8 A800 (312 TFLOP/s each). A run here needs
            {power(paper.training_flops)} FLOP: in a day that would be
            {percent(paper.training_flops / day, 1)} of the peak, on tokens that count. The released code
            pads every sample to 1024 positions and computes the full vocabulary's loss three times, which is
            where the difference to the hours above is expected to come from.""",
        ],
    )


def _gpus(gpus: Sequence[Gpu]) -> Section:
    rows = [
        (
            gpu.name, f"{gpu.fp32 / 1e12:g}", f"{gpu.tf32 / 1e12:g}", f"{gpu.bf16 / 1e12:g}",
            gigabytes(gpu.memory), f"{gpu.bandwidth / 1e12:g} TB/s", f"{gpu.link / 1e9:g} GB/s",
        )
        for gpu in gpus
    ]  # fmt: skip
    return Section(
        "GPUs",
        before=[
            """NVIDIA's data sheets, SXM models, dense (no sparsity), TFLOP/s; link: NVLink, one direction.
            The A800 has the A100's peaks and 200 GB/s of link; the H200 the H100's peaks, 141 GB and 4.8
            TB/s."""
        ],
        header=("GPU", "fp32", "tf32", "bf16", "memory", "bandwidth", "link"),
        rows=rows,
    )


def _assumptions(assume: Assumptions) -> Section:
    rows = []
    for item in fields(assume):
        value, unit = getattr(assume, item.name), item.metadata["unit"]
        shown = value if isinstance(value, str) else exactly(value)
        if unit in ("B", "B/s") and value >= 1e6:
            shown, unit = f"{exactly(value / 1e6)} MB", unit[1:]
        rows.append((f"`{item.name}`", shown, unit, item.metadata["source"]))
    return Section("What is taken as given", header=("name", "value", "unit", "source"), rows=rows, left=4)
