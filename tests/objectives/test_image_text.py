"""CLIP and SigLIP against their formulas; rows without a caption; the bound of the temperature."""

import dataclasses
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.errors import InputError
from jaxssl.objectives import ImageText
from jaxssl.objectives.batches.batch import Images, Text
from jaxssl.objectives.image_text import bounded
from tests.objectives.learned_by_heart import check_learned
from tests.objectives.tiny_views import ENCODER, OBJECTIVES, TEXT, tiny_captions, tiny_pairs_spec
from tests.objectives.two_views_by_hand import SPEC, VOCABULARY, unit
from tests.tiny import tiny_image_spec, tiny_images


def test_image_text_is_the_formula(key):
    """Both losses over the images that have a caption; one row has none."""
    pixels, captions = tiny_images(1), tiny_captions(1)
    captions[5, 1:] = 0
    batch = Images(jnp.asarray(pixels), Text(jnp.asarray(captions), VOCABULARY))
    real = np.arange(16) != 5
    for name in ("clip", "siglip"):
        objective = OBJECTIVES[name]
        model, examples = objective.init(key, SPEC), objective.corrupt(batch, key)
        state = objective.init_state(model)
        embeddings = jax.jit(objective.embed)(model, state, examples, key)
        loss, (_, metrics) = jax.jit(objective.loss)(model, state, examples, key)
        images, texts = (unit(np.asarray(x, np.float64)[real]) for x in embeddings[:2])
        cosines = images @ texts.T
        if name == "clip":
            logits = cosines / 0.07
            rows, columns = (
                (np.log(np.exp(x).sum(axis=1)) - np.diag(x)).mean() for x in (logits, logits.T)
            )
            wanted = (rows + columns) / 2
        else:
            signs = 2 * np.eye(15) - 1
            wanted = np.log1p(np.exp(-signs * (cosines / 0.1 - 10))).sum() / 15
        np.testing.assert_allclose(loss, wanted, rtol=2e-4)
        assert metrics["loss"].weight == 15
        right = (np.argmax(cosines, axis=1) == np.arange(15)).mean()
        assert metrics["accuracy"].number() == pytest.approx(right)


@pytest.mark.slow
def test_captions_are_pooled_at_their_end_or_at_that_of_the_row(key):
    """Without `reads_padding` a caption's last token decides, with it that of the row, padding or not."""
    captions = tiny_captions(1)
    batch = Images(jnp.asarray(tiny_images(1)), Text(jnp.asarray(captions), VOCABULARY))
    ends = (captions != 0).sum(axis=1) - 1
    for reads_padding in (False, True):
        objective = dataclasses.replace(
            OBJECTIVES["clip"], pooling="last", reads_padding=reads_padding
        )
        model, examples = objective.init(key, SPEC), objective.corrupt(batch, key)
        texts = objective.embed(model, objective.init_state(model), examples, None).texts
        segments = np.ones_like(captions) if reads_padding else (captions != 0).astype(np.int32)
        states = model.text(jnp.asarray(captions), jnp.asarray(segments))
        last = np.full(16, 15) if reads_padding else ends
        wanted = model.text_projection(states[jnp.arange(16), last])
        np.testing.assert_allclose(texts, wanted, atol=1e-5)
    assert (ends < 15).any()


def test_temperature_has_a_bound_and_comes_back_from_it():
    value, slope = jax.value_and_grad(lambda x: jnp.exp(bounded(x)))(jnp.array(9.0))
    assert value == pytest.approx(100.0)
    assert slope == pytest.approx(100.0)
    assert float(bounded(jnp.array(1.5))) == 1.5


def test_only_clip_limits_the_temperature():
    """The published SigLIP networks have learned factors above 100."""
    model: Any = SimpleNamespace(logit_scale=jnp.log(jnp.array(125.0)))
    found = {name: float(OBJECTIVES[name].temperature_of(model)) for name in ("clip", "siglip")}
    assert found == pytest.approx({"clip": 0.01, "siglip": 0.008})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "changes", "first", "last"),
    [("clip", {"temperature": 0.5}, 2.0, 0.1), ("siglip", {}, 5.0, 0.2)],
)
def test_one_batch_is_learned_by_heart(name, changes, first, last):
    objective = dataclasses.replace(OBJECTIVES[name], **changes)
    check_learned(objective, tiny_pairs_spec(batch=8), 120, first, last)


def test_images_without_captions_are_refused(key):
    objective = OBJECTIVES["clip"]
    with pytest.raises(InputError, match="the images have no captions"):
        objective.init(key, tiny_image_spec())
    with pytest.raises(InputError, match="the images have no captions"):
        objective.corrupt(Images(jnp.asarray(tiny_images())), key)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"temperature": 0.001}, "temperature=0.001 must be at least 0.01"),
        ({"kind": "siglip", "temperature": 0.0}, "temperature=0.0 must be above 0"),
        ({"kind": "clop"}, "kind='clop' is unknown; use clip or siglip"),
        ({"pooling": "first"}, "pooling='first' is unknown; use mean, cls, last or max"),
        (
            {"projects_images": False},
            "the 16 features of the encoder, and width=9; set width to 16",
        ),
        ({"width": 0}, "width=0 must be at least 1"),
    ],
)
def test_bad_fields(changes, line):
    with pytest.raises(InputError, match=line):
        dataclasses.replace(OBJECTIVES["clip"], **{"width": 9} | changes)


def test_each_kind_starts_at_the_temperature_of_its_paper():
    started = {
        kind: ImageText(ENCODER, TEXT, kind).first_temperature for kind in ("clip", "siglip")
    }
    assert started == {"clip": 0.07, "siglip": 0.1}
    assert ImageText(ENCODER, TEXT, "siglip", temperature=0.5).first_temperature == 0.5
    assert ImageText(ENCODER, TEXT, "siglip", temperature=0.008).first_temperature == 0.008
