"""Generation: batched equals one by one, bounds, restriction, beam."""

import itertools

import numpy as np
import pytest
import torch

from espnet_sld.errors import InputError
from espnet_sld.inference import Hypothesis, decode_batches, generate
from espnet_sld.inference.beam import beam_search
from espnet_sld.inference.hypothesis import has_loop
from espnet_sld.inference.search import greedy_search

END, ALLOWED = 20, range(2, 20)


def prompts(number=9, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(22, 40, rng.integers(1, 20)) for _ in range(number)]


def same(left, right):
    assert [h.ids for h in left] == [h.ids for h in right]
    assert [(h.stopped, h.loops) for h in left] == [(h.stopped, h.loops) for h in right]
    np.testing.assert_allclose([h.score for h in left], [h.score for h in right], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("beam_size", [1, 3])
def test_batched_hypotheses_equal_one_by_one(model, beam_size):
    limits = [3, 12, 7, 12, 12, 1, 9, 12, 5]
    options = {"allowed": ALLOWED, "end_id": END, "beam_size": beam_size}
    together = generate(model, prompts(), max_new=limits, **options)
    alone = [generate(model, [p], max_new=[n], **options)[0] for p, n in zip(prompts(), limits, strict=True)]
    small = generate(model, prompts(), max_new=limits, batch_tokens=60, **options)
    same(together, alone)
    same(together, small)
    same(together, generate(model, prompts(), max_new=limits, **options))
    assert len({h.ids for h in together}) > 3


@pytest.mark.parametrize("beam_size", [1, 4])
def test_a_trained_model_counts_in_any_batch_and_ends_by_itself(counting_model, beam_size):
    rng = np.random.default_rng(0)
    speech = [rng.integers(22, 30, n) for n in (2, 6, 3, 1, 4, 6, 2)]
    inputs = [np.append(ids, 21) for ids in speech]
    found = generate(counting_model, inputs, allowed=ALLOWED, end_id=END, max_new=20, beam_size=beam_size)
    assert [h.stopped for h in found] == ["end"] * 7
    assert [list(h.ids) for h in found] == [list(range(ids[-1] - 20, 10)) for ids in speech]
    assert all(h.score > -1 for h in found)
    alone = [
        generate(counting_model, [p], allowed=ALLOWED, end_id=END, max_new=20, beam_size=beam_size)[0]
        for p in inputs
    ]
    same(found, alone)


def test_greedy_takes_the_best_allowed_token_of_the_full_pass(model):
    model.requires_grad_(False)
    found = generate(model, prompts(), allowed=ALLOWED, end_id=END, max_new=8)
    ids = torch.tensor([*ALLOWED, END])
    for prompt, hypothesis in zip(prompts(), found, strict=True):
        sequence, score = torch.as_tensor(prompt), 0.0
        for token in [*hypothesis.ids, END][:8]:
            log_p = model(sequence[None])[0, -1, ids].log_softmax(-1)
            assert ids[log_p.argmax()] == token
            score += float(log_p.max())
            sequence = torch.cat([sequence, torch.tensor([token])])
        assert hypothesis.score == pytest.approx(score, rel=1e-4, abs=1e-4)
        assert set(hypothesis.ids) <= set(ALLOWED)
        assert hypothesis.stopped == ("length" if len(hypothesis.ids) == 8 else "end")


def test_beam_of_one_is_greedy(model):
    ids = torch.tensor([*ALLOWED, END])
    rows = model.output_matrix()[ids]
    lengths = torch.tensor([len(p) for p in prompts()])
    tokens = torch.nn.utils.rnn.pad_sequence([torch.as_tensor(p) for p in prompts()], True, 1)
    limits = [8, 3, 8, 1, 5, 8, 8, 8, 8]
    with torch.inference_mode():
        greedy = greedy_search(model, tokens, lengths, limits, rows, ids)
        beam = beam_search(model, tokens, lengths, limits, rows, ids, 1)
    for (left, score, why), (right, other, because) in zip(greedy, beam, strict=True):
        assert (left, why) == (right, because)
        assert score == pytest.approx(other, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_a_wide_beam_finds_the_best_of_all_sequences(model, penalty):
    allowed, most = (5, 9, 13), 4
    ids = torch.tensor([*allowed, END])
    model.requires_grad_(False)
    for prompt in prompts(3, seed=4):
        best = (-np.inf, None)
        for length in range(most):
            for words in itertools.product(range(3), repeat=length):
                target = [*words, 3]
                sequence = torch.cat([torch.as_tensor(prompt), ids[list(words)].long()])
                log_p = model(sequence[None])[0, len(prompt) - 1 :, ids].log_softmax(-1)
                score = float(log_p[range(length + 1), target].sum()) / (length + 1) ** penalty
                best = max(best, (score, tuple(ids[list(words)].tolist())))
        found = generate(
            model, [prompt], allowed=allowed, end_id=END, max_new=most, beam_size=81, length_penalty=penalty
        )[0]
        assert found.stopped == "end"
        assert found.ids == best[1]
        assert found.score == pytest.approx(best[0], rel=1e-4, abs=1e-4)


def test_prompt_and_output_never_exceed_the_positions(make_model):
    model = make_model("gpt2", positions=24)
    inputs = [np.full(n, 30) for n in (23, 20, 5)]
    for beam_size in (1, 2):
        found = generate(model, inputs, allowed=range(2, 5), end_id=END, max_new=100, beam_size=beam_size)
        for prompt, hypothesis in zip(inputs, found, strict=True):
            assert len(prompt) + len(hypothesis.ids) + (hypothesis.stopped == "end") <= 24
    with pytest.raises(InputError, match="prompt 1 has 24 tokens and the model 24 positions"):
        generate(model, [[1], [3] * 24], allowed=ALLOWED, end_id=END, max_new=5)


def test_refuses_empty_prompts_and_bad_options(make_model):
    model = make_model("gpt2")
    options = {"allowed": ALLOWED, "end_id": END}
    with pytest.raises(InputError, match="prompt 1 is empty"):
        generate(model, [[3], []], max_new=3, **options)
    with pytest.raises(InputError, match="bound"):
        generate(model, [[3]], max_new=0, **options)
    with pytest.raises(InputError, match="beam_size"):
        generate(model, [[3]], max_new=3, beam_size=0, **options)
    with pytest.raises(InputError, match="batch_tokens must be at least 1"):
        generate(model, [[3]], max_new=3, batch_tokens=0, **options)
    with pytest.raises(ValueError, match="eval"):
        generate(model.train(), [[3]], max_new=3, **options)
    assert generate(model.eval(), [], max_new=3, **options) == []


def test_batches_cover_everything_within_the_budget():
    lengths = [5, 90, 7, 7, 30, 31, 200, 1]
    batches = decode_batches(lengths, 100)
    assert sorted(i for batch in batches for i in batch) == list(range(8))
    assert all(len(b) == 1 or len(b) * max(lengths[i] for i in b) <= 100 for b in batches)
    assert batches[0] == [6]
    assert decode_batches([], 100) == []


def test_loops_are_reported_and_digit_strings_are_not_loops():
    assert not Hypothesis.make([5] * 5, 0.0, "end").loops
    assert Hypothesis.make([5] * 6, 0.0, "end").loops
    assert Hypothesis.make([1, 2, 3] * 3, 0.0, "length").loops
    assert not Hypothesis.make([1, 2, 3] * 3, 0.0, "end").loops
    assert Hypothesis.make([9, 9, 8, *[1, 2] * 6, 4], 0.0, "end").loops
    assert not has_loop(list(range(40)), 2)
    assert not has_loop([], 2)
