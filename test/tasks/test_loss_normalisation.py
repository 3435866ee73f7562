"""One true loss: however a step is cut into micro-batches and processes, gradients and logs are the same."""

import numpy as np
import pytest
import torch

from espnet_sld.bin.train import load_task
from espnet_sld.tasks.batching import TokenBatchSampler
from espnet_sld.tasks.command_line import parse_options
from espnet_sld.tasks.dataset import SequenceDataset
from espnet_sld.tasks.preprocess import SequencePreprocessor

Task = load_task()
from espnet2.train.distributed_utils import DistributedOption  # noqa: E402

from espnet_sld.tasks import training_run  # noqa: E402
from espnet_sld.tasks.iterator import FixedIterFactory, StepIterFactory, _Steps  # noqa: E402


@pytest.fixture
def parts(config, command):
    """Model in float64, data and criterion; no dropout, so that only the division of the step differs."""
    return build(command({**config, "dropout": 0.0}, "parts"))


def build(arguments: list[str]):
    args = parse_options(Task.get_parser(), arguments)
    torch.manual_seed(0)
    model = Task.build_model(args).double().train()
    paths = [(path, name) for path, name, _ in args.train_data_path_and_name_and_type]
    return model, SequenceDataset(paths, SequencePreprocessor.from_args(args)), model.criterion


def gradients(model, batches, divide: int = 1) -> torch.Tensor:
    model.zero_grad()
    for _, batch in batches:
        (model(**batch)["loss"] / divide).backward()
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])


def split(data, criterion, count: int):
    """30 utterances as one step of `count` micro-batches."""
    plan = [np.array_split(np.arange(30), count)]
    return _Steps(plan, data, criterion)[0]


@pytest.mark.parametrize("objective", ["none", "ce", "sld"])
def test_the_loss_under_accumulation_is_the_whole_batch_s(config, command, objective) -> None:
    options = {"dropout": 0.0, "time_mask_prob": 0.0, "criterion_conf": {"objective": objective}}
    model, data, criterion = build(command({**config, **options}, "parts"))
    whole = gradients(model, split(data, criterion, 1))
    for count in (2, 5):
        # ESPnet's trainer divides by accum_grad, here `count`.
        assert torch.allclose(
            gradients(model, split(data, criterion, count), count), whole, rtol=1e-9, atol=1e-12
        )


def test_every_micro_batch_carries_the_counts_of_the_whole_step(parts) -> None:
    _, data, criterion = parts
    whole = split(data, criterion, 1)[0][1]["step_counts"]
    for _, batch in split(data, criterion, 4):
        assert torch.equal(batch["step_counts"], whole)


def test_ranks_share_out_a_step_and_agree_about_it(parts) -> None:
    _, data, criterion = parts

    def factory(rank: int, world: int) -> StepIterFactory:
        sampler = TokenBatchSampler(data.lengths, 200, group=4)
        return StepIterFactory(data, criterion, sampler, steps_per_epoch=3, rank=rank, world=world)

    alone = list(factory(0, 1).build_iter(2))
    ranks = [list(factory(rank, 2).build_iter(2)) for rank in range(2)]
    assert len(factory(0, 2).build_iter(2)) == len(ranks[0]) == 6
    for number, (names, batch) in enumerate(alone):
        step, place = divmod(number, 4)
        other_names, other = ranks[place % 2][step * 2 + place // 2]
        assert names == other_names
        assert all(torch.equal(batch[key], other[key]) for key in batch)
        assert batch["step"].item() == 3 + step


@pytest.mark.parametrize(
    ("accum", "world", "each"), [(1, 2, 1), (4, 2, 2), (3, 2, 3), (2, 4, 1), (2, 3, 2), (6, 4, 3), (1, 8, 1)]
)
def test_any_number_of_processes_gives_the_gradient_of_one(parts, accum, world, each) -> None:
    """Masks and all; a process without a row keeps step and adds nothing."""
    model, data, criterion = parts
    model.time_mask_prob = 0.3
    plan = [np.array_split(np.arange(7 * accum), accum)]  # 7 rows a micro-batch: the eighth process has none
    alone = _Steps(plan, data, criterion)[0]
    whole = gradients(model, alone, accum)
    names, total = [], torch.zeros_like(whole)
    for rank in range(world):
        batches = _Steps(plan, data, criterion, rank=rank, world=world)[0]
        assert len(batches) == each
        names += [name for utterances, _ in batches for name in utterances]
        total += gradients(model, batches, each) / world  # accumulation, then the mean over processes
    assert sorted(names) == sorted(name for utterances, _ in alone for name in utterances)
    # Llama's norm computes in float32, whatever the rest has
    assert (total - whole).abs().max() < 1e-6 * whole.abs().max()


def test_gradients_are_exchanged_once_a_step(config, command, tmp_path, monkeypatch) -> None:
    """Not after each of the micro-batches that it accumulates (`no_sync`)."""
    args = parse_options(
        Task.get_parser(),
        command({**config, "accum_grad": 3, "num_iters_per_epoch": 12, "max_epoch": 1}, "synced"),
    )
    (tmp_path / "synced").mkdir()
    exchanged, wrap = [], training_run.data_parallel

    def count(state, bucket):
        exchanged.append(bucket.is_last())
        return _done(bucket.buffer())

    def data_parallel(model, options):
        wrapped = wrap(model, options)
        wrapped.register_comm_hook(None, count)
        return wrapped

    monkeypatch.setattr(training_run, "data_parallel", data_parallel)
    option = DistributedOption(distributed=True, dist_rank=0, dist_world_size=1, ngpu=0)
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        model = Task.build_model(args)
        optimizers = Task.build_optimizers(args, model)
        factories = [Task.build_iter_factory(args, option, mode) for mode in ("train", "valid")]
        Task.trainer.run(
            model, optimizers, [None], *factories, None, Task.trainer.build_options(args), option
        )
    finally:
        torch.distributed.destroy_process_group()
    assert sum(exchanged) == 4  # steps, not micro-batches


def _done(value: torch.Tensor) -> torch.futures.Future:
    future = torch.futures.Future()
    future.set_result(value)
    return future


def test_an_epoch_goes_on_with_the_batches_that_are_left(parts) -> None:
    _, data, criterion = parts

    def factory() -> StepIterFactory:
        sampler = TokenBatchSampler(data.lengths, 200, group=2)
        return StepIterFactory(data, criterion, sampler, steps_per_epoch=4)

    one, other = factory(), factory()
    whole, rest = list(one.build_iter(3)), other.build_iter(3, done=3)
    assert len(rest) == len(whole) == 8  # of the whole epoch
    for (names, batch), (other_names, other_batch) in zip(whole[6:], rest, strict=True):
        assert names == other_names
        assert all(torch.equal(batch[key], other_batch[key]) for key in batch)
    third = factory()
    third.load_state_dict(one.state_dict())  # from where the epoch began, without the way there
    assert [names for names, _ in third.build_iter(3, done=3)] == [names for names, _ in whole[6:]]


def test_workers_give_the_same_batches(parts) -> None:
    _, data, criterion = parts

    def batches(workers: int):
        sampler = TokenBatchSampler(data.lengths, 200, group=2)
        return list(
            StepIterFactory(data, criterion, sampler, steps_per_epoch=4, num_workers=workers).build_iter(1)
        )

    for (names, batch), (other_names, other) in zip(batches(0), batches(2), strict=True):
        assert names == other_names
        assert all(torch.equal(batch[key], other[key]) for key in batch)


def test_masks_depend_on_seed_step_and_place_alone(parts) -> None:
    model, data, criterion = parts
    model.time_mask_prob = 0.5
    (_, batch), (_, second) = split(data, criterion, 2)
    loss = model(**batch)["loss"]
    torch.rand(5)
    assert torch.equal(model(**batch)["loss"], loss)
    assert not torch.equal(model(**{**batch, "step": torch.tensor([1])})["loss"], loss)
    assert not torch.equal(model(**{**batch, "micro": second["micro"]})["loss"], loss)


def test_the_dev_loss_is_masked_only_by_option(parts) -> None:
    model, data, criterion = parts
    model.eval()
    model.time_mask_prob = 0.0
    batch = split(data, criterion, 1)[0][1]
    clean = model(**batch)["loss"]
    model.time_mask_prob = 0.5
    assert torch.equal(model(**batch)["loss"], clean)
    model.mask_dev = True
    assert not torch.equal(model(**batch)["loss"], clean)


def test_padding_never_changes_the_sums(parts) -> None:
    model, data, criterion = parts
    model.eval()
    batch = split(data, criterion, 1)[0][1]
    longer = {
        **batch,
        "tokens": torch.nn.functional.pad(batch["tokens"], (0, 9), value=model.pad_id),
        "kinds": torch.nn.functional.pad(batch["kinds"], (0, 9)),
    }
    assert torch.allclose(model(**batch)["sums"], model(**longer)["sums"], rtol=1e-12)


def test_validation_gives_each_process_its_share(parts) -> None:
    _, data, criterion = parts
    whole = [names for names, _ in FixedIterFactory(data, criterion, 200).build_iter(1)]
    shares = [
        [names for names, _ in FixedIterFactory(data, criterion, 200, rank=rank, world=3).build_iter(1)]
        for rank in range(3)
    ]
    assert sorted(map(tuple, whole)) == sorted(tuple(names) for share in shares for names in share)
