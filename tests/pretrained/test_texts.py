"""Embeddings of texts: pooling by hand, in the order of the texts, of any number and length."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.data.rows import Rows
from jaxssl.errors import InputError
from jaxssl.models.recipes import bert, gpt2
from jaxssl.models.resnet import ResNetConfig
from jaxssl.objectives import CausalLM, ImageText, MaskedLM, SimCLR, SimCSE
from jaxssl.pretrained import texts, words
from jaxssl.pretrained.load import Pretrained
from jaxssl.pretrained.texts import Embedder, cosines, load_embedder
from jaxssl.pretrained.words import load_word_table
from jaxssl.training.config import Pretraining
from tests.pretrained.hand_made import new_model, save_run, state_of
from tests.tiny import tiny_image_spec, tiny_spec

SHAPE = {"depth": 1, "width": 16, "heads": 2, "max_length": 32}


@pytest.fixture(scope="module")
def runs(word_rows, tmp_path_factory):
    """A run of a bidirectional network, one of a causal network, and one of SimCSE."""
    folder = tmp_path_factory.mktemp("runs")
    objectives = {
        "masked": MaskedLM(encoder=bert(**SHAPE)),
        "causal": CausalLM(decoder=gpt2(**SHAPE)),
        "simcse": SimCSE(bert(**SHAPE), pooling="projector"),
    }
    for name, objective in objectives.items():
        config = Pretraining(Rows(word_rows, batch=4), objective, run=str(folder / name))
        save_run(config, [(state_of(1, new_model(config)), None)])
    return folder


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_states_are_pooled(runs, pooling):
    embed = load_embedder(runs / "masked", pooling)
    text = "bat den kit"
    ids = [embed.tokenizer.begin, *embed.tokenizer.encode([text])[0], embed.tokenizer.end]
    tokens = jnp.array([ids])
    states = np.asarray(embed.network(tokens, jnp.ones_like(tokens)))[0]
    expected = states.mean(axis=0) if pooling == "mean" else states[0]
    np.testing.assert_allclose(embed([text])[0], expected, rtol=1e-4, atol=1e-5)


def test_vectors_come_in_the_order_of_the_texts(runs):
    """Texts of many lengths, one empty and one too long, three at a time."""
    embed = load_embedder(runs / "masked")
    texts = ["bat " * count for count in (3, 40, 1, 0, 7, 12, 2)]
    together = Embedder(embed.network, embed.tokenizer, "mean", batch=64)(texts)
    assert together.shape == (7, 16)
    assert together.dtype == np.float32
    for text, vector in zip(texts, together, strict=True):
        np.testing.assert_allclose(embed([text])[0], vector, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(embed(["bat " * 30])[0], together[1], rtol=1e-4, atol=1e-5)
    assert embed([]).shape == (0, 16)


def test_padding_that_is_read(runs):
    """Every text is then a row of `max_length` tokens, whose last one may be padding."""
    embed = load_embedder(runs / "masked", "last", max_length=6, reads_padding=True)
    ids = embed.tokenizer.encode(["bat den"])[0][:4]
    row = [embed.tokenizer.begin, *ids, embed.tokenizer.end]
    row += [embed.tokenizer.pad] * (6 - len(row))
    tokens = jnp.array([row])
    expected = np.asarray(embed.network(tokens, jnp.ones_like(tokens)))[0, -1]
    np.testing.assert_allclose(embed(["bat den", "bat"])[0], expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(InputError, match="max_length=2 leaves no token of a text"):
        load_embedder(runs / "masked", max_length=2)


def test_last_states_of_a_causal_network_and_maxima(runs):
    """Of several texts in a row, each as if it were alone."""
    embed = load_embedder(runs / "causal", "last", around=((), ()))
    largest = load_embedder(runs / "causal", "max", normalized=True)
    texts = ["bat den kit", "", "kit", "den bat"]
    network = jax.jit(lambda network, tokens, segments: network(tokens, segments))

    def states(ids):
        tokens, segments = np.zeros((2, 1, 12), np.int32)
        tokens[0, : len(ids)], segments[0, : len(ids)] = ids, 1
        return np.asarray(network(embed.network, tokens, segments))[0, : len(ids)]

    for text, last, most in zip(texts, embed(texts), largest(texts), strict=True):
        ids = embed.tokenizer.encode([text])[0].tolist()
        expected = states(ids)[-1] if ids else np.zeros_like(last)
        np.testing.assert_allclose(last, expected, rtol=1e-4, atol=1e-5)
        maxima = states([embed.tokenizer.begin, *ids, embed.tokenizer.end]).max(axis=0)
        np.testing.assert_allclose(most, maxima / np.linalg.norm(maxima), rtol=1e-4, atol=1e-5)


def test_fingerprints_tell_what_makes_the_vectors(runs):
    masked = load_embedder(runs / "masked")
    assert masked.fingerprint == load_embedder(runs / "masked", batch=128).fingerprint
    others = [
        load_embedder(runs / "masked", "max"),
        load_embedder(runs / "masked", normalized=True),
        load_embedder(runs / "masked", max_length=8),
        dataclasses.replace(masked, network=jax.tree.map(jnp.negative, masked.network)),
    ]
    assert len({masked.fingerprint, *(one.fingerprint for one in others)}) == 5


def test_a_string_is_no_list_and_a_byte_order_mark_no_text(runs):
    embed = load_embedder(runs / "masked")
    with pytest.raises(InputError, match="texts is a single string, 'hello'; pass a list"):
        embed("hello")
    one, other = embed(["bat den", "\ufeffbat den"])
    np.testing.assert_array_equal(one, other)


def test_the_pooling_is_that_of_the_objective(runs):
    assert load_embedder(runs / "masked").pooling == "mean"
    assert load_embedder(runs / "masked", "cls").pooling == "cls"
    assert load_embedder(runs / "simcse").pooling == "cls"
    assert load_embedder(runs / "causal").pooling == "mean"
    with pytest.raises(InputError, match="has seen no text; set pooling to"):
        load_embedder(runs / "causal", "cls")
    with pytest.raises(InputError, match="is no run"):
        load_embedder(runs / "none")


def test_cosines_by_hand():
    first = np.array([[3.0, 4.0], [1.0, 0.0], [0.0, 0.0], [1.0, 1.0]])
    second = np.array([[4.0, 3.0], [0.0, 5.0], [1.0, 2.0], [-2.0, -2.0]])
    np.testing.assert_allclose(cosines(first, second), [24 / 25, 0.0, 0.0, -1.0], atol=1e-12)


@pytest.mark.parametrize("has_captions", [False, True])
def test_runs_on_images_read_no_texts(monkeypatch, key, has_captions):
    """Their encoders are no network of texts, and a caption's vector is in a space of its own."""
    encoder, spec = ResNetConfig(10, width=8), tiny_image_spec()
    objective = ImageText(encoder, bert(**SHAPE), width=4) if has_captions else SimCLR(encoder)
    if has_captions:
        spec = dataclasses.replace(spec, captions=tiny_spec(length=16))
    model = jax.eval_shape(lambda: objective.init(key, spec))
    found = Pretrained(None, objective, spec, None, model, 1)
    for module, load in ((texts, load_embedder), (words, load_word_table)):
        monkeypatch.setattr(module, "load_pretrained", lambda run: found)
        with pytest.raises(
            InputError, match=r"the run has read images, .* with jaxssl\.load\(run\)"
        ):
            load("run")
