"""Drawn generation: within its modality, the same in any batch, with the probabilities it says."""

import numpy as np
import pytest
import torch

from espnet_sld.bin import generate as generate_command
from espnet_sld.errors import InputError
from espnet_sld.inference import generate
from espnet_sld.inference.decoding import decode_set
from espnet_sld.inference.sampling import Sampled
from espnet_sld.models.backbone import build_backbone
from espnet_sld.models.decoder_only import DecoderOnlyLM
from espnet_sld.tokens import Vocabulary, get_template
from espnet_sld.tokens.dmlm_templates import vocabulary_specials
from espnet_sld.tokens.image_ids import ImageTokenizer
from espnet_sld.tokens.subword import TokenListTokenizer, UnitPieceTokenizer, UnitTokenizer
from espnet_sld.units.unit_text import ids_to_text

END, ALLOWED = 20, range(2, 20)


def prompts(number=9, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(22, 40, rng.integers(1, 20)) for _ in range(number)]


def draw(model, inputs, names, **options):
    sampled = Sampled(**{"temperature": 0.9, "top_k": 6, "seed": 5, **options})
    return generate(
        model, inputs, allowed=ALLOWED, end_id=END, max_new=12, search=sampled.search(names), batch_tokens=100
    )


def test_draws_do_not_depend_on_the_batch_or_the_order(model):
    names = [f"utt{number}" for number in range(9)]
    together = draw(model, prompts(), names)
    for place in (4, 0, 8):
        alone = draw(model, [prompts()[place]], [names[place]])[0]
        assert (alone.ids, alone.stopped) == (together[place].ids, together[place].stopped)
        assert alone.score == pytest.approx(together[place].score, rel=1e-4, abs=1e-4)
    backwards = draw(model, prompts()[::-1], names[::-1])[::-1]
    assert [h.ids for h in backwards] == [h.ids for h in together]
    assert [h.ids for h in draw(model, prompts(), names, seed=6)] != [h.ids for h in together]
    same_prompt = draw(model, [prompts()[0]] * 9, names)
    assert len({h.ids for h in same_prompt}) > 3  # another utterance, other draws
    assert all(set(h.ids) <= set(ALLOWED) for h in together)


@pytest.mark.parametrize("options", [{"temperature": 0.0}, {"top_k": 1}, {"temperature": 1e-4}])
def test_without_chance_the_draw_is_the_greedy_search(model, options):
    greedy = generate(model, prompts(), allowed=ALLOWED, end_id=END, max_new=12)
    drawn = draw(model, prompts(), [str(n) for n in range(9)], **options)
    assert [(h.ids, h.stopped) for h in drawn] == [(h.ids, h.stopped) for h in greedy]
    np.testing.assert_allclose([h.score for h in drawn], [h.score for h in greedy], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("temperature", "top_k"), [(1.0, 0), (0.7, 0), (1.3, 3)])
def test_tokens_come_as_often_as_their_probability_says(temperature, top_k):
    logits = torch.tensor([2.0, 0.5, -1.0, 1.0, 0.0], dtype=torch.float64)
    expected = (logits / temperature).softmax(-1)
    if top_k:
        kept = logits.topk(top_k).indices
        expected = torch.zeros(5, dtype=torch.float64).index_put(
            (kept,), (logits[kept] / temperature).softmax(-1)
        )
    uniform = (torch.arange(20000) + 0.5) / 20000  # every quantile once: no chance in the test
    chosen = Sampled(temperature, top_k).choose(logits.log_softmax(-1).expand(20000, 5), uniform)
    torch.testing.assert_close(chosen.bincount(minlength=5) / 20000, expected.float(), rtol=0, atol=2e-4)


def test_the_end_may_not_come_before_min_tokens(counting_model):
    inputs = [[23, 21], [29, 21]]  # counts 3 … 9 and 9, then ends
    for least in (0, 1, 4):
        sampled = Sampled(temperature=0.0, min_tokens=least)
        found = generate(
            counting_model, inputs, allowed=ALLOWED, end_id=END, max_new=20, search=sampled.search(["a", "b"])
        )
        assert list(found[0].ids) == list(range(3, 10))
        assert len(found[1].ids) >= max(1, least)
    with pytest.raises(InputError, match="negative"):
        Sampled(temperature=-1)


def test_the_score_is_the_models_own_below_min_tokens_too(model):
    inputs, block = prompts(), [*ALLOWED, END]
    found = draw(model, inputs, [str(n) for n in range(9)], min_tokens=6)
    for prompt, hypothesis in zip(inputs, found, strict=True):
        written = [*hypothesis.ids, *([END] if hypothesis.stopped == "end" else [])]
        whole = torch.as_tensor([*prompt, *written])[None]
        with torch.inference_mode():
            log_p = model(whole)[0, len(prompt) - 1 : -1, block].log_softmax(-1)  # the end is never left out
        expected = log_p[range(len(written)), [block.index(token) for token in written]].sum()
        assert hypothesis.score == pytest.approx(float(expected), rel=1e-3, abs=1e-3)


# -- restricted to the target's modality ------------------------------------------------------------
@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory):
    tokens = tmp_path_factory.mktemp("tokens") / "tokens.txt"
    tokens.write_text("<blank>\n<unk>\none\ntwo\nthree\n<sos/eos>\n")
    return {
        "text": TokenListTokenizer(tokens, "word"),
        "speech": UnitTokenizer(9),
        "image": ImageTokenizer(4),
    }


TASKS = ["asr", "tts", "st", "mt", "caption"]


def a_model(vocabulary, tokenizers):
    torch.manual_seed(3)
    conf = {"model_type": "opt", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
            "ffn_dim": 24, "word_embed_proj_dim": 16}  # fmt: skip
    model = DecoderOnlyLM(
        build_backbone(None, conf, vocabulary.size, max_positions=64, dropout=0.0), 0
    ).eval()
    for parameter in model.parameters():
        parameter.data.mul_(6)  # far from flat: without a restriction it would leave its modality
    return model


@pytest.mark.parametrize("sampled", [None, Sampled(1.5, 0, 1), Sampled(1.0, 4, 2, min_tokens=3)])
@pytest.mark.parametrize("name", TASKS)
def test_generation_never_leaves_its_modality(name, sampled, tokenizers):
    template = get_template(name)
    sizes = {kind: tokenizer.size for kind, tokenizer in tokenizers.items()}
    vocabulary = Vocabulary(**sizes, specials=vocabulary_specials([template]))
    rng = np.random.default_rng(0)
    make = {
        "text": lambda n: " ".join(rng.choice(["one", "two", "three"], n)),
        "speech": lambda n: ids_to_text(rng.integers(0, 9, n)),
        "image": lambda n: " ".join(map(str, rng.integers(0, 4, n))),
    }
    samples = [(f"u{n}", {template.source: make[template.condition_kind](1 + n % 5)}) for n in range(12)]
    model = a_model(vocabulary, tokenizers)
    found = list(
        decode_set(
            model, tokenizers, vocabulary, template, samples, max_positions=64, max_text=9, sampled=sampled
        )
    )
    block = vocabulary.range(template.target_kind)
    assert [utterance for utterance, _, _ in found] == [utterance for utterance, _ in samples]
    assert {token for _, _, h in found for token in h.ids} <= set(block)
    assert sum(len(h.ids) for _, _, h in found) > 20
    for _, output, hypothesis in found:
        ids = vocabulary.to_local(template.target_kind, hypothesis.ids).tolist()
        assert output == tokenizers[template.target_kind].decode(ids)
        if sampled is not None:
            assert len(ids) >= sampled.min_tokens


def test_generated_unit_pieces_are_units_and_come_back_as_unit_text(tmp_path, tokenizers):
    import sentencepiece

    rng = np.random.default_rng(2)
    (tmp_path / "train.txt").write_text(
        "".join(ids_to_text(np.repeat(rng.integers(0, 9, 8), 2)) + "\n" for _ in range(200)), encoding="utf-8"
    )
    sentencepiece.SentencePieceTrainer.train(
        input=str(tmp_path / "train.txt"), model_prefix=str(tmp_path / "bpe"), vocab_size=40,
        character_coverage=1.0, hard_vocab_limit=False, minloglevel=2,
    )  # fmt: skip
    pieces = UnitPieceTokenizer(tmp_path / "bpe.model", 9)
    template = get_template("tts")
    vocabulary = Vocabulary(text=6, speech=pieces.size, specials=vocabulary_specials([template]))
    tokenizers = {**tokenizers, "speech": pieces}
    samples = [(f"u{n}", {"text": "one two three"}) for n in range(20)]
    found = decode_set(
        a_model(vocabulary, tokenizers), tokenizers, vocabulary, template, samples,
        max_positions=64, max_text=9, sampled=Sampled(3.0, 0, 1),
    )  # fmt: skip
    written = "".join(output for _, output, _ in found)
    assert len(written) > 100
    assert set(written) <= {ids_to_text([unit]) for unit in range(9)}


def test_a_template_without_condition_has_nothing_to_decode(tokenizers):
    template = get_template("speech_lm")
    vocabulary = Vocabulary(text=6, speech=9, image=4, specials=vocabulary_specials([template]))
    with pytest.raises(InputError, match="no condition"):
        next(decode_set(a_model(vocabulary, tokenizers), tokenizers, vocabulary, template, [("a", {})],
                        max_positions=9, max_text=3))  # fmt: skip


def test_top_k_without_a_temperature_is_refused(tmp_path):
    """It would be accepted and change nothing."""
    (tmp_path / "draw.yaml").write_text("top_k: 5\n")
    options = [
        "--exp_dir",
        "exp",
        "--checkpoint",
        "x.pth",
        "--task",
        "tts",
        "--source",
        "s",
        "--out_dir",
        "o",
    ]
    with pytest.raises(InputError, match="top_k is of draws, and temperature 0 draws nothing"):
        generate_command.main([*options, "--config", str(tmp_path / "draw.yaml")])
