"""The two networks: padding changes nothing, durations sum right."""

import numpy as np
import torch

from espnet_sld.vocoder.mel import MelConf
from espnet_sld.vocoder.network import UnitDurations, UnitToMel, whole_durations
from espnet_sld.vocoder.samples import Pieces, Sample
from espnet_sld.vocoder.timing import Timing

K = 12


def test_a_padded_batch_gives_what_each_alone_gives():
    torch.manual_seed(0)
    model = UnitToMel(K, 20, 2, width=16).eval()
    torch.nn.init.normal_(model.out.weight)
    model.typical[:K].normal_()
    lengths, frames = (5, 9), (7, 13)
    units, index = torch.full((2, 9), K), torch.full((2, 13), -1)
    place = torch.rand(2, 13)
    for b in (0, 1):
        units[b, : lengths[b]] = torch.randint(K, (lengths[b],))
        index[b, : frames[b]] = torch.arange(frames[b]) * lengths[b] // frames[b]
    voice = torch.tensor([0, 2])
    together = model(units, index, place, voice)
    for b in (0, 1):
        u, t = lengths[b], frames[b]
        alone = model(units[b : b + 1, :u], index[b : b + 1, :t], place[b : b + 1, :t], voice[b : b + 1])
        assert torch.allclose(together[b, :t], alone[0], atol=1e-5)
    durations = UnitDurations(K, width=16).eval()
    assert torch.allclose(
        durations.log_excess(units)[0, :5], durations.log_excess(units[:1, :5])[0], atol=1e-5
    )


def test_before_training_frames_are_the_typical_spectra_between_unit_middles():
    model = UnitToMel(K, 3, 1, width=8)
    model.typical[:K] = torch.arange(K)[:, None] * torch.ones(3)
    units = torch.tensor([[4, 6, 11, K]])
    index = torch.tensor([[0, 0, 0, 1, 1, 2, 2, -1]])
    place = torch.tensor([[0.0, 0.5, 0.75, 0.25, 0.5, 0.0, 0.9, 0.0]])
    with torch.no_grad():
        found = model(units, index, place, torch.tensor([0]))[0, :7, 1]
    assert torch.allclose(found, torch.tensor([4, 4, 4.5, 5.5, 6, 8.5, 11]))


def test_whole_durations_are_at_least_one_and_follow_the_running_sum():
    expected = 1 + 3 * torch.rand(200, generator=torch.Generator().manual_seed(1), dtype=torch.float64) ** 3
    found = whole_durations(expected)
    assert int(found.min()) >= 1
    sums = found.cumsum(0) - expected.cumsum(0)
    assert float(sums.abs().max()) <= 0.5 + 1e-9
    assert int(found.sum()) == int(torch.floor(expected.sum() + 0.5))
    assert whole_durations(torch.full((4,), 1.0)).tolist() == [1, 1, 1, 1]


def test_predicted_durations_of_the_training_data_sum_to_the_observed_ones():
    """The Poisson likelihood's property; of skewed durations, a fit of the logarithms would sum to less."""
    rng = np.random.default_rng(0)
    units = torch.from_numpy(rng.integers(0, K, (8, 25)))
    durations = torch.from_numpy(1 + rng.geometric(0.15, (8, 25)) * (rng.random((8, 25)) < 0.3))
    torch.manual_seed(0)
    model = UnitDurations(K, width=8, blocks=1)
    optimiser = torch.optim.Adam(model.parameters(), 0.02)
    for step in range(150):
        optimiser.param_groups[0]["lr"] = 0.02 * (1 - step / 150)
        optimiser.zero_grad()
        model.loss(units, durations).backward()
        optimiser.step()
    with torch.no_grad():
        total = float((1 + model.log_excess(units).exp()).sum())
        of_logarithms = float(durations.double().log().mean().exp() * durations.numel())
    observed = float(durations.sum())
    assert abs(total / observed - 1) < 0.05
    assert of_logarithms / observed < 0.8


def test_pieces_are_parts_of_their_utterances_and_depend_on_the_step_alone():
    timing, conf = Timing(640, 400), MelConf(bands=4)
    rng = np.random.default_rng(3)
    samples = []
    for n, count in enumerate((40, 6)):
        frames = conf.num_frames(timing.num_samples(count))
        mel = (1000 * n + np.arange(frames))[:, None].repeat(4, axis=1).astype(np.float16)
        samples.append(Sample(f"u{n}", rng.integers(0, K, count), mel, f"s{n}"))
    pieces = Pieces(samples, timing, conf, K, {"s0": 0, "s1": 1}, 2, frames=24, batch=5, speaker_dropout=0.5)
    batch, same = pieces(7), pieces(7)
    assert all(torch.equal(batch[name], same[name]) for name in batch)
    assert not torch.equal(pieces(8)["mel"], batch["mel"])
    assert set(pieces(0)["voice"].tolist() + pieces(1)["voice"].tolist()) <= {0, 1, 2}
    for row in range(5):
        kept = batch["mask"][row]
        which = int(batch["mel"][row, 0, 0] >= 1000)
        sample = samples[which]
        index, place = timing.unit_of_frames(len(sample.units), conf, len(sample.mel))
        first = int(batch["mel"][row, 0, 0]) - 1000 * which
        for offset in range(int(kept.sum())):
            assert float(batch["mel"][row, offset, 0]) == float(sample.mel[first + offset, 0])
            unit = batch["units"][row, batch["index"][row, offset]]
            assert int(unit) == sample.units[index[first + offset]]
            assert float(batch["place"][row, offset]) == float(place[first + offset])
        runs = batch["runs"][row][batch["runs"][row] < K]
        assert (batch["durations"][row][: len(runs)] > 0).all()
