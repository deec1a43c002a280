"""Rotations against numpy's, their labels, and that the loss is the mean over all four."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.augment import Augmentation
from jaxssl.errors import InputError
from jaxssl.models.resnet import ResNetConfig
from jaxssl.objectives import Rotation
from jaxssl.objectives.batches.batch import Images
from jaxssl.objectives.rotation import rotate_four_ways
from tests.objectives.learned_by_heart import check_learned
from tests.tiny import tiny_image_spec, tiny_images

STILL = Augmentation(crop=None, flip=0.0)
OBJECTIVE = Rotation(ResNetConfig(10, width=8), views=STILL)
SPEC = tiny_image_spec(batch=4)


def test_rotations_and_labels():
    """Pixel by pixel: the one that was at (row, column) is at (last - column, row) after a turn."""
    images = tiny_images(0, 3, 5)
    rotated, labels = rotate_four_ways(jnp.asarray(images))
    assert rotated.shape == (12, 5, 5, 3)
    assert labels.tolist() == [0, 1, 2, 3] * 3
    for number, image in enumerate(images):
        for quarters in range(4):
            expected = image.copy()
            for _ in range(quarters):
                before = expected.copy()
                for row in range(5):
                    for column in range(5):
                        expected[4 - column, row] = before[row, column]
            np.testing.assert_array_equal(rotated[4 * number + quarters], expected)


@pytest.mark.slow
def test_loss_is_the_mean_over_images_and_turns():
    """Against one image at a time, turned by numpy, to 1e-5; halves of the batch add up to it."""
    model = OBJECTIVE.init(jax.random.key(0), SPEC)
    state = OBJECTIVE.init_state(model)
    examples = OBJECTIVE.corrupt(Images(jnp.asarray(tiny_images(1, 4))), jax.random.key(1))
    loss = jax.jit(OBJECTIVE.loss)
    found, (_, metrics) = loss(model, state, examples, None)
    turned = [np.rot90(x, r) for x in np.asarray(examples.pixels) for r in range(4)]
    logits = np.asarray(model(jnp.asarray(np.stack(turned), jnp.float32) / 255)[0], np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    nats = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(16), np.arange(16) % 4]
    assert found == pytest.approx(nats.mean(), rel=1e-5)
    assert metrics["loss"].number() == pytest.approx(nats.mean(), rel=1e-5)
    right = (logits.argmax(axis=1) == np.arange(16) % 4).mean()
    assert metrics["accuracy"].number() == pytest.approx(right)
    halves = [jax.tree.map(lambda x, i=i: x[i::2], examples) for i in range(2)]
    parts = sum(loss(model, state, half, None)[0] for half in halves)
    assert parts == pytest.approx(float(found), rel=1e-5)


@pytest.mark.slow
def test_one_batch_is_learned_by_heart():
    check_learned(OBJECTIVE, tiny_image_spec(batch=8), 60, 1.3, 0.1)


def test_bad_fields():
    with pytest.raises(InputError, match=r"hidden=\(0,\) must be widths"):
        Rotation(OBJECTIVE.encoder, hidden=(0,))
    wide = Rotation(OBJECTIVE.encoder, views=Augmentation(size=(8, 16)))
    with pytest.raises(InputError, match="8x16 have another shape when they are rotated"):
        wide.init(None, SPEC)
