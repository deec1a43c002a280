"""Two views: rows stay together, heads see all of them; accumulation and devices change no gradient."""

import dataclasses

import jax
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from jaxssl.augment import Augmentation
from jaxssl.errors import InputError
from jaxssl.models.layers.mlp import MLP
from jaxssl.objectives.batches.batch import Images, Text
from jaxssl.objectives.batches.keyed_images import draw
from jaxssl.objectives.joint_embedding.two_views import (
    check_widths,
    make_views,
    on_both_views,
)
from jaxssl.sharding.mesh import Mesh, batch_sharding
from jaxssl.training.gradients import gradients_of
from tests.objectives.tiny_views import GENTLE, OBJECTIVES, OTHER, tiny_captions
from tests.objectives.two_views_by_hand import SPEC, VOCABULARY, batch_of
from tests.tiny import tiny_images

KEY = jax.random.key(3)
# SimCLR, and what has batch norm in a head that another follows, which `test_meshes.py` leaves out
ON_DEVICES = ("simclr", "byol", "simsiam")


def gradient(objective, microbatches, devices):
    model = objective.init(jax.random.key(1), SPEC)
    state = objective.init_state(model)

    @jax.jit
    def compute(model, state, pixels, tokens):
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            batch = Images(pixels, Text(tokens, VOCABULARY))
            examples = objective.corrupt(batch, jax.random.key(2))
            return gradients_of(objective, model, state, examples, KEY, microbatches)

    mesh = Mesh().make(jax.devices()[:devices])
    rows = [
        jax.device_put(array, batch_sharding(mesh)) for array in (tiny_images(3), tiny_captions(3))
    ]
    model, state = jax.device_put((model, state), NamedSharding(mesh, PartitionSpec()))
    return jax.device_get(compute(model, state, *rows))


def relative_difference(first, second):
    difference = jax.tree.map(lambda a, b: a - b, first, second)
    return float(optax.tree.norm(difference) / optax.tree.norm(first))


@pytest.mark.slow
@pytest.mark.parametrize("name", OBJECTIVES)
def test_microbatches_and_devices_do_not_change_the_gradient(name):
    """Every row still meets all others, in batch norms of heads, too; the state is carried alike.

    Relative to the norm 1e-5. Those that are not of ON_DEVICES meet eight devices in `test_meshes.py`.
    """
    objective = OBJECTIVES[name]
    exact, state, metrics = gradient(objective, 1, 1)
    assert float(optax.tree.norm(exact)) > 1e-2
    for microbatches, devices in ((4, 1), (1, 8)) if name in ON_DEVICES else ((4, 1),):
        again, carried, more = gradient(objective, microbatches, devices)
        assert relative_difference(exact, again) < 1e-5, (microbatches, devices)
        loss = metrics["loss"].number()
        np.testing.assert_allclose(more["loss"].number(), loss, rtol=1e-5, atol=1e-6)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), carried, state)


def test_both_views_of_an_image_stand_beside_each_other():
    """Each by its own augmentation, with a key of its own; another image changes neither."""
    examples = draw(batch_of(), KEY)
    views = jax.jit(lambda images: make_views(images, (GENTLE, OTHER)))
    pairs = np.asarray(views(examples).reshape(16, 2, -1))
    assert pairs.shape == (16, 2, 16 * 16 * 3)
    alone = jax.tree.map(lambda x: x[5:7], examples)
    np.testing.assert_allclose(views(alone).reshape(2, 2, -1), pairs[5:7], atol=1e-6)
    assert np.abs(pairs[:, 0] - pairs[:, 1]).max() > 0.1


def test_views_and_widths_must_fit():
    with pytest.raises(InputError, match=r"sizes None and \(8, 8\) cannot be embedded together"):
        dataclasses.replace(OBJECTIVES["byol"], views=(Augmentation(), Augmentation(size=(8, 8))))
    check_widths("head", (4, 8), last=8)
    with pytest.raises(InputError, match=r"head=\(4, 8\) must end with 9"):
        check_widths("head", (4, 8), last=9)
    with pytest.raises(InputError, match=r"head=\(4, 0\) must be the widths"):
        check_widths("head", (4, 0))


def test_batch_norms_take_one_view_at_a_time():
    """As the authors' code of all but SimCLR does; the moments that are kept are the mean of both."""
    head = MLP(KEY, (4, 6, 3), norm="batch")
    pairs = jax.random.normal(KEY, (5, 2, 4)) + np.array([[[0.0], [3.0]]])
    outputs, moments = on_both_views(head, pairs, apart=True)
    for view in range(2):
        alone, found = head(pairs[:, view])
        np.testing.assert_allclose(outputs[:, view], alone, atol=1e-6)
        halves = jax.tree.map(lambda a: a / 2, found)
        moments = jax.tree.map(lambda a, b: a - b, moments, halves)
    assert all(abs(leaf).max() < 1e-5 for leaf in jax.tree.leaves(moments))
    together, _ = on_both_views(head, pairs, apart=False)
    np.testing.assert_allclose(together[:, 1], head(pairs.reshape(10, 4))[0][1::2], atol=1e-6)
    assert abs(together - outputs).max() > 0.1
    together_in = {name: not objective.views_apart for name, objective in TWO_VIEWS.items()}
    assert together_in == dict.fromkeys(TWO_VIEWS, False) | {"simclr": True}


TWO_VIEWS = {
    name: OBJECTIVES[name] for name in ("simclr", "byol", "simsiam", "barlow_twins", "vicreg")
}
