"""Random segmentations of units: the distributions that are promised, and nothing but the seed decides."""

import itertools
import math
import random
import subprocess
import sys
from collections import Counter

import pytest

from espnet_sld.errors import InputError
from espnet_sld.tokens.subword import build_unit_tokenizer
from espnet_sld.tokens.train import train_subword
from espnet_sld.units.unit_text import FIRST, ids_to_text

K = 40


def unit_lines(number: int) -> list[str]:
    draw = random.Random(3)
    words = [[draw.randrange(K) for _ in range(draw.randint(2, 5))] for _ in range(50)]
    return [ids_to_text([u for w in draw.choices(words, k=20) for u in w]) for _ in range(number)]


@pytest.fixture(scope="module", params=["bpe", "unigram"])
def trained(request, tmp_path_factory):
    """(token type, directory of the model, some unit texts)."""
    folder = tmp_path_factory.mktemp(request.param)
    lines = unit_lines(200)
    (folder / "text").write_text("".join(f"u{n:03d} {line}\n" for n, line in enumerate(lines)), "utf-8")
    train_subword([folder / "text"], folder, kind="unit", model_type=request.param, vocab_size=150)
    return request.param, folder, lines


def test_a_draw_depends_on_its_seed_alone(trained):
    token_type, folder, lines = trained
    tokenizer = build_unit_tokenizer(token_type, folder, K)
    drawn = [tokenizer.sample(lines[0], 0.2, seed) for seed in range(8)]
    assert [tokenizer.sample(lines[0], 0.2, seed) for seed in reversed(range(8))] == drawn[::-1]
    assert len({tuple(ids) for ids in drawn}) > 4
    code = (
        "import sys; from espnet_sld.tokens.subword import build_unit_tokenizer as build;"
        f"print(build({token_type!r}, sys.argv[1], {K}).sample(sys.argv[2], 0.2, 5))"
    )
    command = [sys.executable, "-c", code, str(folder), lines[0]]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == str(drawn[5])


def test_every_draw_decodes_to_its_units(trained):
    token_type, folder, lines = trained
    tokenizer = build_unit_tokenizer(token_type, folder, K)
    for seed, line in enumerate(lines[:50]):
        assert tokenizer.decode(tokenizer.sample(line, 0.3, seed)) == line
    with pytest.raises(InputError, match="is no unit of"):
        tokenizer.sample(chr(FIRST + K), 0.3, 0)


@pytest.mark.parametrize("trained", ["bpe"], indirect=True)
def test_a_dropped_merge_has_the_stated_probability(trained):
    _, folder, _ = trained
    tokenizer = build_unit_tokenizer("bpe", folder, K)
    model = tokenizer.model
    pairs = [model.id_to_piece(index) for index in range(model.get_piece_size())]
    # A piece of two units, neither of which merges with the space that SentencePiece puts before the text.
    pair = next(p for p in pairs if len(p) == 2 and "▁" not in p and "▁" + p[0] not in pairs)
    assert len(tokenizer.encode(pair)) == 2  # the space, the pair
    number, probability = 1500, 0.3
    dropped = sum(len(tokenizer.sample(pair, probability, seed)) == 3 for seed in range(number))
    deviation = math.sqrt(number * probability * (1 - probability))
    assert abs(dropped - number * probability) < 4 * deviation


@pytest.mark.slow
@pytest.mark.parametrize("trained", ["unigram"], indirect=True)
def test_segmentations_have_their_probabilities_to_the_power_alpha(trained):
    _, folder, lines = trained
    tokenizer = build_unit_tokenizer("unigram", folder, K)
    model, alpha, number = tokenizer.model, 0.1, 2000
    score = {model.id_to_piece(i): model.get_score(i) for i in range(3, model.get_piece_size())}
    text = "▁" + lines[0][:11]
    weights = {}
    for cuts in itertools.product((False, True), repeat=len(text) - 1):
        places = [0, *(i + 1 for i, cut in enumerate(cuts) if cut), len(text)]
        pieces = tuple(text[i:j] for i, j in itertools.pairwise(places))
        if all(piece in score for piece in pieces):
            weights[pieces] = math.exp(alpha * sum(score[piece] for piece in pieces))
    assert len(weights) > 5
    drawn = Counter(
        tuple(model.id_to_piece(tokenizer.sample(text[1:], alpha, seed))) for seed in range(number)
    )
    assert set(drawn) <= set(weights)
    total = sum(weights.values())
    for pieces, weight in weights.items():
        share = weight / total
        assert abs(drawn[pieces] - number * share) < 5 * math.sqrt(number * share * (1 - share)) + 1
