"""Decoding with a cache gives the states and logits of the whole row, whatever the network has."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.models.decoding.language_models import CausalWriter, EncoderDecoderWriter
from jaxssl.models.encoder_decoder import EncoderDecoder, Memory
from jaxssl.models.layers.rotary import RotaryScaling
from jaxssl.models.pretraining.causal_language_model import CausalLanguageModel
from jaxssl.models.recipes import bart, gpt2, modern, t5
from jaxssl.models.transformer_config import TransformerConfig
from tests.models.small_models import VOCABULARY, filled

SHAPE = {"depth": 3, "width": 16, "heads": 4, "mlp": 24, "max_length": 16}
# One network with most of what changes attention, and the others.
EVERYTHING = modern(
    **SHAPE,
    causal=True,
    kv_heads=2,
    qk_norm=True,
    window=2,
    global_every=2,
    rotary_base_local=100.0,
    norm_before_first=False,
    attention_scale=0.4,
    tied_head=False,
)
slow = pytest.mark.slow
NETWORKS = [
    pytest.param(EVERYTHING, marks=slow, id="everything"),
    pytest.param(gpt2(**SHAPE), marks=slow, id="gpt2"),
    pytest.param(modern(**SHAPE, causal=True, qkv_bias=True), marks=slow, id="llama"),
    pytest.param(
        gpt2(**SHAPE, norm_first=False, final_norm=False, embedding_norm=True, segment_types=2),
        marks=slow,
        id="norm behind",
    ),
    pytest.param(
        t5(**SHAPE, causal=True, relative_buckets=6, relative_distance=5, kv_heads=2),
        marks=slow,
        id="relative",
    ),
    pytest.param(
        modern(**SHAPE, causal=True, rotary_scaling=RotaryScaling(2.0, 8), head_width=6),
        marks=slow,
        id="scaled rotary",
    ),
    pytest.param(
        gpt2(
            **SHAPE,
            position_offset=2,
            embedding_scale=3.0,
            output_scale=0.5,
            window=3,
            global_every=0,
        ),
        marks=slow,
        id="scales",
    ),
]
PAIRS = [
    pytest.param((t5(**SHAPE), t5(**SHAPE, causal=True, kv_heads=2)), id="t5", marks=slow),
    pytest.param((bart(**SHAPE), bart(**SHAPE, causal=True)), id="bart", marks=slow),
]
LENGTHS = np.array([2, 5, 3])
TOKENS = np.random.default_rng(0).integers(3, VOCABULARY, (3, 9)).astype(np.int32)


@jax.jit
def written(writer, prompts, tokens):
    """Logits `[batch, steps, vocab]` after the prompts and after every further token of `tokens`."""
    lengths = jnp.asarray(LENGTHS)
    first, cache = writer.read(prompts, lengths, 12)

    def step(cache, one):
        logits, cache = writer.advance(one, cache)
        return cache, logits

    cache, others = jax.lax.scan(step, cache, tokens.T)
    return jnp.concatenate([first[:, None], others.swapaxes(0, 1)], axis=1), cache


@jax.jit
def of_whole_rows(model, tokens, prefix=None):
    states = model.decoder(tokens, prefix=prefix)
    return jnp.einsum("blw,vw->blv", states, model.output_embedding())


def following():
    """The tokens behind each prompt, as many for every row as the longest prompt leaves."""
    steps = TOKENS.shape[1] - LENGTHS.max()
    return np.stack([row[n : n + steps] for row, n in zip(TOKENS, LENGTHS, strict=True)])


def prompts(padding):
    rows = TOKENS[:, : LENGTHS.max()].copy()
    rows[np.arange(rows.shape[1])[None] >= LENGTHS[:, None]] = padding
    return rows


def check_causal(config: TransformerConfig, *, prefix=False):
    model = filled(lambda key: CausalLanguageModel(key, config, VOCABULARY))
    writer = CausalWriter.of(model, prefix=prefix)
    found, cache = written(writer, prompts(0), following())
    is_prefix = np.arange(TOKENS.shape[1])[None] < LENGTHS[:, None]
    whole = of_whole_rows(model, TOKENS, jnp.asarray(is_prefix) if prefix else None)
    for row, length in enumerate(LENGTHS):
        wanted = whole[row, length - 1 : length + following().shape[1]]
        np.testing.assert_allclose(found[row], wanted, atol=1e-5, rtol=1e-5)
    np.testing.assert_array_equal(cache.lengths, LENGTHS + following().shape[1])


@pytest.mark.parametrize("config", NETWORKS)
def test_a_decoder_with_a_cache_computes_the_logits_of_whole_rows(config):
    check_causal(config)


@slow
def test_a_prompt_of_a_prefix_lm_is_seen_from_both_sides():
    check_causal(gpt2(**SHAPE), prefix=True)


@slow
def test_half_precision_errs_no_more_than_over_whole_rows():
    model = filled(lambda key: CausalLanguageModel(key, EVERYTHING, VOCABULARY))
    narrow = dataclasses.replace(EVERYTHING, compute_dtype="bfloat16")
    rounded = filled(lambda key: CausalLanguageModel(key, narrow, VOCABULARY))
    found, cache = written(CausalWriter.of(rounded), prompts(0), following())
    assert cache.layers[0].keys.dtype == jnp.bfloat16
    exact, whole = of_whole_rows(model, TOKENS), of_whole_rows(rounded, TOKENS)
    errors = []
    for row, length in enumerate(LENGTHS):
        here = slice(length - 1, length + following().shape[1])
        for one in (found[row], whole[row, here]):
            errors.append(np.abs(one - exact[row, here]).mean())
    assert sum(errors[::2]) < 1.5 * sum(errors[1::2])


@slow
@pytest.mark.parametrize("bottleneck", [None, 1])
@pytest.mark.parametrize("pair", PAIRS)
def test_a_decoder_beside_an_encoder_computes_the_logits_of_whole_rows(pair, bottleneck):
    model = filled(lambda key: EncoderDecoder(key, *pair, VOCABULARY))
    begin = (2, 7)
    writer = EncoderDecoderWriter.of(model, begin, bottleneck=bottleneck)
    tokens = following()
    found, _ = written(writer, prompts(0), tokens)

    @jax.jit
    def whole(model, row, text):
        segments = jnp.ones(row.shape, jnp.int32)
        seen = segments if bottleneck is None else (jnp.arange(row.shape[1])[None] < bottleneck)
        memory = Memory(model.encoder(row, segments), seen.astype(jnp.int32))
        states = model.decode(text, jnp.ones(text.shape, jnp.int32), memory)
        return jnp.einsum("blw,vw->blv", states, model.output_embedding())

    for row, length in enumerate(LENGTHS):
        text = np.concatenate([begin, tokens[row]])[None].astype(np.int32)
        wanted = whole(model, TOKENS[row : row + 1, :length], text)[0, len(begin) - 1 :]
        np.testing.assert_allclose(found[row], wanted, atol=1e-5, rtol=1e-5)


@slow
def test_what_is_behind_a_prompt_has_no_effect():
    """Slots of padding hold keys of whatever stood there; none is ever read."""
    model = filled(lambda key: CausalLanguageModel(key, EVERYTHING, VOCABULARY))
    writer = CausalWriter.of(model)
    one, other = (written(writer, prompts(padding), following())[0] for padding in (0, 11))
    np.testing.assert_array_equal(one, other)
