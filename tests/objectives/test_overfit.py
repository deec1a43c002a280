"""Objectives learn one batch by heart: what is drawn once falls to nearly nothing."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxssl.augment import Augmentation
from jaxssl.models.recipes import bert
from jaxssl.models.resnet import ResNetConfig
from jaxssl.objectives import Colorization, MaskedLM, Rotation, SimCSE, WordVectors
from jaxssl.objectives.batches.batch import Images, Text, Vocabulary
from jaxssl.objectives.sentence_pairs import NextSentence
from tests.objectives.tiny_views import OBJECTIVES, tiny_captions, tiny_pairs_spec
from tests.tiny import tiny_image_spec, tiny_images, tiny_rows, tiny_spec

SHAPE = {"depth": 1, "width": 32, "heads": 2, "max_length": 32}
RARE = tiny_spec(batch=4, length=16, vocab_size=2000)  # most words stand once: nothing contradicts
EVEN = tiny_spec(batch=8)
PICTURES, PAIRS = tiny_image_spec(batch=8), tiny_pairs_spec(batch=8)
VOCABULARY = Vocabulary.of(PAIRS.captions)
NETWORK, STILL = ResNetConfig(10, width=8), Augmentation(crop=None, flip=0.0)
CASES = {  # objective, its rows, steps, the first loss is above, the last below
    "masked": (MaskedLM(bert(**SHAPE, dropout=0.0)), EVEN, 80, 3.5, 0.1),
    "pairs": (MaskedLM(bert(**SHAPE, dropout=0.0), second_task=NextSentence()), EVEN, 80, 3.5, 0.2),
    "simcse": (SimCSE(bert(**SHAPE, dropout=0.3), pooling="mean"), EVEN, 80, 1.5, 0.1),
    "skip_gram": (WordVectors(16, subsample=1.0), RARE, 80, 4.0, 0.1),
    "cbow": (WordVectors(16, model="cbow", subsample=1.0), RARE, 80, 4.0, 0.1),
    "rotation": (Rotation(NETWORK, views=STILL), PICTURES, 60, 1.3, 0.1),
    # what is left is mostly the entropy of soft targets, about 1.2
    "colours": (Colorization(NETWORK, 16, 2, views=STILL), PICTURES, 150, 5.0, 2.0),
    "simclr": (OBJECTIVES["simclr"], PICTURES, 80, 1.5, 0.2),
    "byol": (OBJECTIVES["byol"], PICTURES, 80, 2.0, 0.2),
    "simsiam": (OBJECTIVES["simsiam"], PICTURES, 80, -0.5, -0.9),
    "barlow_twins": (OBJECTIVES["barlow_twins"], PICTURES, 80, 3.0, 0.2),
    "vicreg": (OBJECTIVES["vicreg"], PICTURES, 80, 20.0, 5.0),
    # what is left is the entropy of the teacher's choices, 0.08 at this temperature
    "dino": (replace(OBJECTIVES["dino"], teacher_temperature=0.01), PICTURES, 80, 0.8, 0.25),
    "clip": (replace(OBJECTIVES["clip"], temperature=0.5), PAIRS, 120, 2.0, 0.1),
    "siglip": (OBJECTIVES["siglip"], PAIRS, 120, 5.0, 0.2),
}


def batch_of(spec):
    if spec in (PICTURES, PAIRS):
        captions = Text(jnp.asarray(tiny_captions(1, spec.batch)), VOCABULARY)
        return Images(jnp.asarray(tiny_images(1, spec.batch)), captions)
    rows = jnp.asarray(tiny_rows(1, spec.batch, spec.length, spec.vocab_size))
    return Text(rows, Vocabulary.of(spec, counted=True))


@pytest.mark.parametrize("name", CASES)
def test_one_batch_is_learned_by_heart(name):
    objective, spec, steps, first, last = CASES[name]
    model = objective.init(jax.random.key(0), spec)
    state = objective.init_state(model)
    examples = objective.corrupt(batch_of(spec), jax.random.key(1))
    optimizer = optax.adam(1e-2)

    @jax.jit
    def learn(model, moments, key):
        gradients, (_, metrics) = jax.grad(objective.loss, has_aux=True)(
            model, state, examples, key
        )
        updates, moments = optimizer.update(gradients, moments)
        return optax.apply_updates(model, updates), moments, metrics["loss"]

    moments, losses = optimizer.init(model), []
    for step in range(steps):
        model, moments, loss = learn(model, moments, jax.random.key(step))
        losses.append(loss.number())
    print("CURVE", name, losses[0], np.mean(losses[-10:]))
    assert losses[0] > first
    assert np.mean(losses[-10:]) < last
