"""The decoder against the papers' formula, one document at a time; documents never see each other."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.errors import InputError
from jaxssl.models.encoder_decoder import EncoderDecoder, Memory
from jaxssl.models.plain import to_dict
from jaxssl.models.recipes import bart, t5
from jaxssl.sharding.layout import axes_of, path_of
from tests.models import reference
from tests.models.small_models import SEGMENTS, TOKENS, VOCABULARY, filled

SHAPE = {"depth": 3, "width": 16, "heads": 4, "max_length": 16}
PAIRS = {
    "t5": (t5(**SHAPE, kv_heads=2), t5(**SHAPE, kv_heads=2, causal=True)),
    "bart": (bart(**SHAPE), bart(**SHAPE, causal=True)),
    "wide heads": tuple(t5(**SHAPE, head_width=6, qk_norm=True, causal=c) for c in (False, True)),
}
# As T5 1.1 was published: relative biases, products that are not scaled, a head of its own.
UNTIED = {"positions": "relative", "attention_scale": 1.0, "activation": "geglu_tanh"}
PAIRS["t5 1.1"] = (t5(**SHAPE, **UNTIED), t5(**SHAPE, **UNTIED, causal=True, tied_head=False))
ALL = pytest.mark.parametrize("recipe", [name for name in PAIRS if name != "t5 1.1"])
# The second document of the first row has no target; those of the second row have short ones.
TARGETS = np.array([[2, 4, 9, 3, 0, 0, 0], [2, 8, 3, 2, 21, 6, 0]])
TARGET_SEGMENTS = np.array([[1, 1, 1, 1, 0, 0, 0], [1, 1, 1, 2, 2, 2, 0]])
REAL = TARGET_SEGMENTS != 0


def lively(recipe, **changes):
    encoder, decoder = (replace(config, **changes) for config in PAIRS[recipe])
    return filled(lambda key: EncoderDecoder(key, encoder, decoder, VOCABULARY))


@jax.jit
def states_of(model, tokens=TOKENS, targets=TARGETS, key=None):
    first, second = (None, None) if key is None else jax.random.split(key)
    states = model.encoder(jnp.asarray(tokens), jnp.asarray(SEGMENTS), key=first)
    memory = Memory(states, jnp.asarray(SEGMENTS))
    return model.decode(jnp.asarray(targets), jnp.asarray(TARGET_SEGMENTS), memory, key=second)


def slow_states(model):
    """[batch, length, width]; every document is decoded alone, beside its own encoder document."""
    config, weights = model.decoder.config, reference._float64(to_dict(model))
    memory = reference.states(model.encoder.config, weights["encoder"], TOKENS, SEGMENTS)
    out = np.zeros((*TARGETS.shape, config.width))
    table = weights["encoder"]["tokens"]["embedding"]
    for row in range(len(TARGETS)):
        for segment in set(TARGET_SEGMENTS[row].tolist()) - {0}:
            here = np.flatnonzero(TARGET_SEGMENTS[row] == segment)
            there = np.flatnonzero(SEGMENTS[row] == segment)
            embedded = table[TARGETS[row, here]]
            out[row, here] = slow_document(config, weights["decoder"], embedded, memory[row, there])
    return out


def slow_document(config, weights, x, memory):
    if config.positions == "learned":
        x = x + weights["positions"]["embedding"][: len(x)]
    if config.embedding_norm:
        x = reference.norm(config, weights["embedding_norm"], x)
    for i in range(config.depth):
        w = reference._at(weights["layers"], i)
        if config.positions == "relative":
            w["attention"]["relative"] = weights["relative_biases"]["embedding"]
        parts = (
            ("attention_norm", lambda y, w=w, i=i: reference.attend(config, w["attention"], i, y)),
            ("cross_norm", lambda y, w=w: slow_cross(config, w["cross"], y, memory)),
            ("mlp_norm", lambda y, w=w: reference.feed_forward(config, w["mlp"], y)),
        )
        for name, part in parts:
            if config.norm_first:
                x = x + part(reference.norm(config, w[name], x))
            else:
                x = reference.norm(config, w[name], x + part(x))
    return reference.norm(config, weights["final_norm"], x) if config.final_norm else x


def slow_cross(config, w, x, memory):
    """Every place looks at every place of the memory, one head at a time; no positions."""
    size, kv_heads = reference.head_width(config), config.kv_heads or config.heads
    query = reference.linear(w["query"], x)
    key, value = (reference.linear(w[name], memory) for name in ("key", "value"))
    if config.qk_norm:
        query = reference.norm_heads(config, w["query_norm"], query)
        key = reference.norm_heads(config, w["key_norm"], key)
    mixed = np.zeros((len(x), config.heads * size))
    for head in range(config.heads):
        shared = head // (config.heads // kv_heads)
        mine, theirs = (slice(h * size, (h + 1) * size) for h in (head, shared))
        for here in range(len(x)):
            scale = reference.scale(config)
            scores = np.array([query[here, mine] @ k * scale for k in key[:, theirs]])
            shares = np.exp(scores - scores.max())
            mixed[here, mine] = shares / shares.sum() @ value[:, theirs]
    return reference.linear(w["output"], mixed)


@pytest.mark.parametrize("recipe", PAIRS)
def test_states_are_those_of_the_slow_reference(recipe):
    model = lively(recipe)
    ours = np.asarray(states_of(model))[REAL]
    np.testing.assert_allclose(ours, slow_states(model)[REAL], atol=3e-5)


@ALL
def test_a_document_is_decoded_from_its_own_document_alone(recipe):
    """Tokens of another document, in the encoder or the decoder, change nothing at all."""
    model = lively(recipe)
    exact = np.asarray(states_of(model, TOKENS, TARGETS))  # given, so that one program makes both
    others, targets = TOKENS.copy(), TARGETS.copy()
    others[1, 9:], targets[1, 4:6] = [7, 7, 7], [5, 5]
    again = np.asarray(states_of(model, others, targets))
    np.testing.assert_array_equal(again[:, :3], exact[:, :3])
    assert np.abs(again[1, 3:6] - exact[1, 3:6]).max() > 1e-2
    # A place does not see those that come later.
    targets = TARGETS.copy()
    targets[0, 3] = 17
    np.testing.assert_array_equal(
        np.asarray(states_of(model, TOKENS, targets))[0, :3], exact[0, :3]
    )


def test_a_document_without_a_memory_reads_zeros():
    """Nothing of another document, and no NaN: its cross-attention is the bias alone."""
    model = lively("bart")
    hidden = np.where(SEGMENTS == 2, 0, SEGMENTS)

    @jax.jit
    def decode(states):
        memory = Memory(states, jnp.asarray(hidden))
        return model.decode(jnp.asarray(TARGETS), jnp.asarray(TARGET_SEGMENTS), memory)

    states = jnp.asarray(np.random.default_rng(0).normal(size=(*TOKENS.shape, 16)), jnp.float32)
    first, second = np.asarray(decode(states)), np.asarray(decode(-states))
    assert np.isfinite(first).all()
    np.testing.assert_array_equal(first[1, 3:6], second[1, 3:6])
    assert np.abs(first[1, :3] - second[1, :3]).max() > 1e-2


def test_targets_longer_than_the_decoder_takes_are_refused():
    model = lively("bart", max_length=16)
    memory = Memory(jnp.zeros((1, 4, 16)), jnp.ones((1, 4), int))
    targets = jnp.ones((1, 17), int)
    with pytest.raises(InputError, match="17 tokens exceed max_length 16 of the decoder"):
        model.decode(targets, targets, memory)


def test_dropout_and_bfloat16(key):
    plain = lively("t5", dropout=0.1)
    dropped = states_of(plain, key=key)
    np.testing.assert_array_equal(dropped, states_of(plain, key=key))
    assert np.abs(np.asarray(dropped - states_of(plain))[REAL]).max() > 1e-2
    assert states_of(lively("t5", compute_dtype="bfloat16")).dtype == jnp.bfloat16


@ALL
def test_every_parameter_has_a_place(recipe):
    model = lively(recipe)
    axes = axes_of(model)
    for keys, leaf in jax.tree_util.tree_leaves_with_path(model):
        assert len(axes[path_of(keys)]) == leaf.ndim


def test_number_of_parameters():
    """T5-small by hand, and BART-base as it was released, which has two unused positions a half."""

    def size(encoder, decoder, vocab_size):
        make = jax.eval_shape(lambda k: EncoderDecoder(k, encoder, decoder, vocab_size), KEY)
        return sum(leaf.size for leaf in jax.tree.leaves(make))

    w, m = 512, 2048
    attention, mlp = 4 * w * w, 3 * w * m
    layers = 6 * (attention + mlp + 2 * w) + 6 * (2 * attention + mlp + 3 * w) + 2 * w
    assert size(t5(), t5(causal=True), 32_128) == 32_128 * w + layers
    published = 139_420_416  # with two tables of 1,026 positions
    ours = size(bart(), bart(causal=True), 50_265)
    assert published - ours == 2 * 2 * 768


KEY = jax.random.key(0)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (({"causal": True}, {}), "encoder.causal=True and decoder.causal=True"),
        (({}, {"causal": False}), "decoder.causal=False"),
        (({"width": 32}, {}), "encoder.width=32 and decoder.width=16"),
        (({}, {"segment_types": 2}), "decoder.segment_types=2"),
        (({"tied_head": False}, {}), "encoder.tied_head=False"),
    ],
)
def test_networks_that_make_no_pair(changes, line):
    pair = [replace(c, **change) for c, change in zip(PAIRS["bart"], changes, strict=True)]
    with pytest.raises(InputError, match=line):
        EncoderDecoder(KEY, *pair, VOCABULARY)
