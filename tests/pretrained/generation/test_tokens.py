"""Tokens are those of transformers, and a row does not depend on the rows beside it."""

import json

import numpy as np
import pytest

from jaxssl.models.decoding.language_models import CausalWriter
from jaxssl.pretrained.generation.beams import BeamSearch
from jaxssl.pretrained.generation.sampling import Sampling
from jaxssl.pretrained.generation.tokens import TokenWriter, rounded
from tests.pretrained.generation.golden_models import (
    CONFIGS,
    ENDS,
    GOLDEN,
    LIMIT,
    PROMPTS,
    SEARCHES,
    VOCABULARY,
    ours,
    searched_by_theirs,
    texts_of_theirs,
    theirs,
    until_end,
)

LIMITS = np.full(len(PROMPTS), LIMIT)
slow = pytest.mark.slow


def writer_of(name, seed=0, banned=None):
    return TokenWriter(CausalWriter.of(ours(name, seed)), (ENDS[name],), banned)


def greedy(writer):
    drawn = writer.drawn(PROMPTS, LIMIT, Sampling(temperature=0.0), seed=0, rows=range(3))
    return [until_end(row.tolist(), *writer.ends) for row in np.stack(list(drawn), axis=1)]


def searched(writer, search):
    return [tokens.tolist() for tokens, _ in writer.searched(PROMPTS, LIMITS, BeamSearch(*search))]


@pytest.mark.parametrize("name", [pytest.param("gpt2", marks=slow), "llama"])
def test_greedy_tokens_are_those_that_transformers_has_written(name):
    golden = json.loads(GOLDEN.read_text())[name]
    assert greedy(writer_of(name)) == golden["greedy"]


@slow
@pytest.mark.parametrize("name", CONFIGS)
def test_beams_are_those_that_transformers_has_found(name):
    golden, writer = json.loads(GOLDEN.read_text())[name], writer_of(name)
    for search, wanted in zip(SEARCHES, golden["searched"], strict=True):
        assert searched(writer, search) == wanted, search


@slow
@pytest.mark.parametrize("name", CONFIGS)
def test_tokens_are_those_of_torch(name):
    pytest.importorskip("transformers")
    pytest.importorskip("torch")
    for seed in (0, 1):
        network, writer = theirs(name, ours(name, seed)), writer_of(name, seed)
        assert greedy(writer) == texts_of_theirs(network)
        for search in SEARCHES:
            assert searched(writer, search) == searched_by_theirs(network, search), (seed, search)


@slow
def test_a_row_draws_the_same_in_any_batch_and_no_banned_token():
    banned = np.arange(VOCABULARY) < 9
    writer = writer_of("gpt2", banned=banned)

    def draw(prompts, rows):
        drawn = writer.drawn(prompts, LIMIT, Sampling(), seed=4, rows=rows)
        return np.stack(list(drawn), axis=1).tolist()

    every = draw(PROMPTS, range(3))
    assert [draw([prompt], [row])[0] for row, prompt in enumerate(PROMPTS)] == every
    assert draw([PROMPTS[1]], [0])[0] != every[1]
    assert np.min(every) >= 9


def test_lengths_are_rounded_up():
    lengths = [rounded(length) for length in (1, 16, 17, 100, 128, 129, 300)]
    assert lengths == [16, 16, 32, 128, 128, 256, 384]
