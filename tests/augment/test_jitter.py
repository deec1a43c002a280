import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.augment import ColorJitter
from jaxssl.augment import jitter as jitters
from tests.augment.images import channel_first, example_keys, images_of

jitter = jax.jit(jitters.jitter, static_argnums=2)


@jax.jit
def blend(images, factor, kind):
    planes = jitters.planes_of(images)
    return jnp.stack(jitters.blend(planes, jitters.gray_mean(planes), factor, kind), axis=1)


@jax.jit
def turn_hue(images, turn):
    return jnp.stack(jitters.turn_hue(jitters.planes_of(images), turn), axis=1)


def test_blends_worked_out_by_hand():
    image = jnp.array([0.8, 0.4, 0.0, 0.2, 0.6, 1.0]).reshape(1, 3, 1, 2)  # two pixels
    gray = jnp.array([0.2989 * 0.8 + 0.114 * 0.6, 0.2989 * 0.4 + 0.587 * 0.2 + 0.114]).reshape(
        1, 1, 1, 2
    )
    half, twice = jnp.array([0.5]), jnp.array([2.0])
    np.testing.assert_allclose(blend(image, half, jnp.array([0])), image / 2, atol=1e-6)
    np.testing.assert_allclose(
        blend(image, half, jnp.array([1])), image / 2 + gray.mean() / 2, atol=1e-6
    )
    np.testing.assert_allclose(
        blend(image, twice, jnp.array([2])), jnp.clip(2 * image - gray, 0, 1), atol=1e-6
    )
    np.testing.assert_array_equal(blend(image, jnp.ones(1), jnp.array([1])), image)
    red = jnp.array([1.0, 0.0, 0.0]).reshape(1, 3, 1, 1)
    for turn, colour in ((1 / 3, [0, 1, 0]), (-1 / 3, [0, 0, 1]), (0.5, [0, 1, 1])):
        found = turn_hue(red, jnp.array([turn])).ravel()
        np.testing.assert_allclose(found, colour, atol=1e-6)


def test_colours_change_as_in_torchvision():
    functional = pytest.importorskip("torchvision.transforms.v2.functional")
    torch = pytest.importorskip("torch")
    images = images_of()
    there = torch.from_numpy(images).permute(0, 3, 1, 2)
    for kind, change in enumerate(
        (functional.adjust_brightness, functional.adjust_contrast, functional.adjust_saturation)
    ):
        for factor in (0.3, 1.7):
            found = blend(channel_first(images), jnp.full(4, factor), jnp.full(4, kind))
            np.testing.assert_allclose(found, change(there, factor), atol=1e-6)
    for turn in (-0.4, 0.1, 0.5):
        found = turn_hue(channel_first(images), jnp.full(4, turn))
        np.testing.assert_allclose(found, functional.adjust_hue(there, turn), atol=5e-6)


def test_jitter_draws_every_order_and_leaves_some_alone():
    keys = example_keys(jax.random.key(1), 512)
    one = jnp.broadcast_to(channel_first(images_of(batch=1, height=2, width=3)), (512, 3, 2, 3))
    found = np.asarray(jitter(one, keys, ColorJitter(probability=0.75)))
    still = (found == np.asarray(one)).all(axis=(1, 2, 3))
    assert 0.2 < still.mean() < 0.3
    assert (found >= 0).all()
    assert (found <= 1).all()
    # the order matters: with the same factors, shuffled or not, most images differ
    fixed = np.asarray(jitter(one, keys, ColorJitter(probability=0.75, shuffled=False)))
    differs = np.abs(found - fixed).max(axis=(1, 2, 3)) > 1e-4
    assert 0.5 < differs[~still].mean() < 1.0
    assert not differs[still].any()


def test_one_channel_has_no_hue_and_no_saturation():
    gray = channel_first(images_of(channels=1))
    assert jitters.to_gray(gray) is gray
    planes = jitters.planes_of(gray)
    assert jitters.turn_hue(planes, jnp.full(4, 0.3)) is planes
    found = jitter(gray, example_keys(jax.random.key(0), 4), ColorJitter(0, 0, 0.9, 0.5, 1.0))
    np.testing.assert_allclose(found, gray, atol=1e-6)


def test_orders_are_equally_likely():
    shares = jax.random.uniform(jax.random.key(0), (4096, 9))
    order, before = jitters.orders(shares, ColorJitter())
    for number in range(3):
        np.testing.assert_allclose((order[:, 0] == number).mean(), 1 / 3, atol=0.03)
    np.testing.assert_allclose(np.bincount(before, minlength=4) / 4096, [0.25] * 4, atol=0.03)
    order, before = jitters.orders(shares[:2], ColorJitter(shuffled=False))
    np.testing.assert_array_equal(order, [[0, 1, 2]] * 2)
    np.testing.assert_array_equal(before, [3, 3])


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"hue": 0.7}, "hue=0.7 must be between 0 and 0.5, half the colour circle"),
        ({"contrast": -0.1}, "contrast=-0.1 must not be negative"),
        ({"probability": 2.0}, "probability=2.0 must be between 0 and 1"),
    ],
)
def test_bad_fields(fields, line):
    with pytest.raises(ValueError, match=line):
        ColorJitter(**fields)
