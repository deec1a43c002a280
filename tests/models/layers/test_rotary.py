"""Rotary positions are complex rotations, and their products depend on distance alone."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.errors import InputError
from jaxssl.models.layers.rotary import RotaryScaling, rotary_angles, rotate
from tests.models import reference


def random(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


@pytest.mark.parametrize("base", [10_000.0, 160_000.0])
def test_rotation_is_that_of_complex_numbers(base):
    x, positions = random(0, 1, 5, 2, 8), jnp.array([[0, 1, 2, 0, 7]])
    angles = rotary_angles(positions, 8, base)
    turned = rotate(x, jnp.cos(angles), jnp.sin(angles))
    for index, position in enumerate(positions[0].tolist()):
        for head in range(2):
            slow = reference.turn(np.asarray(x[0, index, head], np.float64), position, base)
            np.testing.assert_allclose(turned[0, index, head], slow, atol=1e-5)


def test_products_of_rotated_vectors_depend_on_distance_alone():
    x, y = random(0, 8), random(1, 8)

    def product(first, second):
        angles = rotary_angles(jnp.array([[first, second]]), 8, 100.0)
        pair = rotate(jnp.stack([x, y])[None, :, None], jnp.cos(angles), jnp.sin(angles))
        return float(pair[0, 0, 0] @ pair[0, 1, 0])

    assert product(3, 5) == pytest.approx(product(10, 12), abs=1e-4)
    assert product(3, 5) != pytest.approx(product(3, 6), abs=1e-2)


def test_angles_by_hand():
    angles = rotary_angles(jnp.array([[0, 3]]), 4, 100.0)
    np.testing.assert_allclose(angles[0], [[0, 0], [3, 0.3]], rtol=1e-6)


def test_rotation_keeps_the_type_and_the_norm():
    x = random(0, 1, 4, 2, 6)
    angles = rotary_angles(jnp.arange(4)[None], 6, 10.0)
    turned = rotate(x, jnp.cos(angles), jnp.sin(angles))
    norms = (np.linalg.norm(y, axis=-1) for y in (turned, x))
    np.testing.assert_allclose(*norms, rtol=1e-5)
    assert rotate(x.astype(jnp.bfloat16), angles, angles).dtype == jnp.bfloat16


def test_scaled_frequencies_by_hand():
    """Pairs that turn 16, 1.6 and 0.16 times in 100 positions: as it was, in between, and divided by 8."""
    frequencies = 2 * np.pi * np.array([0.16, 0.016, 0.0016], np.float32)
    lowered = RotaryScaling(8.0, 100).apply(jnp.asarray(frequencies))
    between = 0.2 + 0.8 / 8
    np.testing.assert_allclose(lowered / frequencies, [1, between, 1 / 8], rtol=1e-5)
    np.testing.assert_allclose(RotaryScaling(8.0).apply(frequencies), frequencies / 8)


def test_impossible_scaling_is_refused():
    with pytest.raises(InputError, match=r"fast_turns=1.0 is not above slow_turns=1.0; .* to 4$"):
        RotaryScaling(8.0, 100, fast_turns=1.0)
    with pytest.raises(InputError, match=r"factor=0.5 must be at least 1"):
        RotaryScaling(0.5)
