"""Prompts become rows, rows become texts, and a text ends where it should."""

import dataclasses

import numpy as np
import pytest

from jaxssl.data.tokenizers.load import load_tokenizer
from jaxssl.errors import InputError
from jaxssl.models.recipes import bart, gpt2, modern, t5
from jaxssl.objectives import CausalLM, Denoising, MaskedLM, SpanCorruption
from jaxssl.pretrained.generate import GenerationConfig, Generator
from jaxssl.pretrained.load import Pretrained
from tests.data.tiny_corpus import write_vocabulary
from tests.tiny import tiny_spec

SHAPE = {"depth": 1, "width": 16, "heads": 2, "mlp": 32, "max_length": 16}
PROMPTS = ["bar ben", "bir", "bos but bar", "ben ben ben"]
slow = pytest.mark.slow
GREEDY = GenerationConfig(tokens=6, temperature=0.0)


@pytest.fixture
def generator_of(tmp_path, key):
    tokenizer = load_tokenizer(write_vocabulary(tmp_path))

    def make(objective, **changes):
        spec = tiny_spec(length=16, vocab_size=tokenizer.vocab_size)
        model = objective.init(key, spec)
        found = Generator.of(Pretrained(None, objective, spec, tokenizer, model, 1))
        return dataclasses.replace(found, **changes)

    return make


@pytest.fixture
def causal(generator_of):
    return generator_of(CausalLM(gpt2(**SHAPE, initializer_range=0.5)))


@slow
def test_texts_do_not_depend_on_the_batch_and_streams_are_the_same(causal):
    config = GenerationConfig(tokens=8, seed=3)
    every = causal(PROMPTS, config)
    small = dataclasses.replace(causal, batch=2)(PROMPTS, config)
    assert [one.text for one in every] == [one.text for one in small]
    assert "".join(causal.stream(PROMPTS[0], config)) == every[0].text
    assert causal([PROMPTS[0]], config)[0].text == every[0].text
    other = causal(PROMPTS, dataclasses.replace(config, seed=4))
    assert [one.text for one in other] != [one.text for one in every]
    assert causal([]) == []


def banning(generator, ids):
    """The generator, which never writes these tokens either."""
    found = dataclasses.replace(generator)
    found._tokens._banned = found._tokens._banned.at[np.asarray(ids)].set(True)
    return found


@slow
def test_a_text_ends(causal):
    tokenizer = causal.tokenizer
    (found,) = causal(["bar"], GREEDY)
    assert (len(found.tokens), found.ended) == (6, "tokens")
    assert not tokenizer.special[found.tokens].any()
    words = found.text.split()
    stop = words[-1]
    (stopped,) = causal(["bar"], dataclasses.replace(GREEDY, stop=(stop,)))
    assert stopped.ended == "stop"
    assert found.text.startswith(stopped.text)
    assert stop not in stopped.text
    (full,) = banning(causal, [tokenizer.end])(["bar " * 12], GREEDY)
    assert (len(full.tokens), full.ended) == (3, "max_length")  # begin and 12 tokens of 16
    others = np.delete(np.arange(causal.vocab_size), tokenizer.end)
    (ended,) = banning(causal, others)(["bar"], GREEDY)
    assert (ended.text, ended.tokens.tolist(), ended.ended) == ("", [tokenizer.end], "end")


@slow
def test_beams_of_several_prompts(causal):
    config = GenerationConfig(tokens=5, beams=3)
    every = causal(PROMPTS, config)
    assert [causal([prompt], config)[0].text for prompt in PROMPTS] == [one.text for one in every]
    assert list(causal.stream(PROMPTS[0], config)) == [every[0].text]


@slow
@pytest.mark.parametrize(
    "objective",
    [
        Denoising(bart(**SHAPE), bart(**SHAPE, causal=True)),
        Denoising(bart(**SHAPE), bart(**SHAPE, causal=True), bottleneck=1),
        SpanCorruption(t5(**SHAPE), t5(**SHAPE, causal=True), sentinels=8),
        CausalLM(modern(**SHAPE, causal=True), prefix=True),
    ],
    ids=["bart", "tsdae", "t5", "prefix"],
)
def test_all_objectives_that_write(generator_of, objective):
    generator = generator_of(objective)
    every = generator(PROMPTS, GREEDY)
    assert [generator([prompt], GREEDY)[0].text for prompt in PROMPTS] == [o.text for o in every]
    assert all(len(one.tokens) for one in every)


def test_what_cannot_be_generated(causal, generator_of):
    for prompts, line in [
        (["bar", ""], "prompt 2 is '', which has no tokens; give the beginning of a text"),
        (["bar " * 15], "prompt 1 has 16 tokens, and the network takes 16 with one for what is"),
        ("bar", "prompts is a single string"),
    ]:
        with pytest.raises(InputError, match=line):
            causal(prompts)
    with pytest.raises(InputError, match="prompt 1 is '  '"):
        next(causal.stream("  "))
    with pytest.raises(InputError, match="objective MaskedLM does not write texts; load a run"):
        generator_of(MaskedLM(gpt2(**SHAPE, causal=False)))


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"tokens": 0}, "tokens=0 must be at least 1"),
        ({"beams": 2, "top_p": 0.9}, "top_p has no effect with beams=2"),
        ({"stop": ("",)}, "stop contains an empty string"),
        ({"temperature": -1.0}, "temperature=-1.0 must be at least 0"),
        ({"early_stopping": "soon"}, "early_stopping='soon'"),
    ],
)
def test_what_a_configuration_refuses(fields, line):
    with pytest.raises(InputError, match=line):
        GenerationConfig(**fields)
