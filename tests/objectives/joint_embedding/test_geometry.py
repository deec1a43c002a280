"""How embeddings lie: known vectors, and the definitions written out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.objectives.joint_embedding.geometry import MEASURED_ROWS, geometry


def numbers(*of):
    return {name: ratio.number() for name, ratio in jax.device_get(geometry(*of)).items()}


def test_known_vectors():
    first = jnp.asarray([[1.0, 0.0], [0.0, 1.0], [9.0, 9.0]])
    second = jnp.asarray([[0.0, 2.0], [0.0, 3.0], [9.0, 9.0]])
    found = jax.device_get(geometry(first, second, jnp.asarray([True, True, False])))
    assert found["alignment"].total == pytest.approx(2.0)  # one pair apart by sqrt 2
    assert found["uniformity"].number() == pytest.approx(-4.0)
    assert [float(x) for x in found["accuracy"]] == [1.0, 2.0]
    assert found["spread"].number() == pytest.approx(0.5 * 2**0.5)  # both deviations are 1/2
    assert found["effective_rank"].number() == pytest.approx(1.0)  # two points lie on a line


@pytest.mark.parametrize("rows", [4, 24])  # fewer and more than dimensions
def test_spread_and_rank_are_those_of_the_covariance(rows):
    random = np.random.default_rng(0)
    first, second = random.normal(size=(2, rows, 7)) * np.arange(1, 8) + 0.5
    real = np.arange(rows) % 3 != 1
    found = numbers(jnp.asarray(first), jnp.asarray(second), jnp.asarray(real))
    unit = first[real] / np.linalg.norm(first[real], axis=1, keepdims=True)
    shares = np.linalg.eigvalsh(np.cov(unit.T, bias=True))
    shares /= shares.sum()
    np.testing.assert_allclose(found["effective_rank"], 1 / np.square(shares).sum(), rtol=1e-4)
    np.testing.assert_allclose(found["spread"], unit.std(axis=0).mean() * 7**0.5, rtol=1e-5)


def test_from_a_full_sphere_to_a_single_point():
    full = jnp.asarray(np.random.default_rng(1).normal(size=(512, 16)))
    point = jnp.ones((512, 16)) + 1e-4 * full
    healthy, collapsed = numbers(full, full), numbers(point, point)
    assert healthy["spread"] == pytest.approx(1.0, abs=0.02)
    assert 14 < healthy["effective_rank"] <= 16
    assert healthy["uniformity"] < -3
    assert collapsed["spread"] < 1e-3
    assert collapsed["uniformity"] > -1e-3


def test_of_many_rows_some_are_looked_at():
    rows = jnp.asarray(np.random.default_rng(2).normal(size=(3 * MEASURED_ROWS, 4)))
    found, third = numbers(rows, rows), numbers(rows[::3], rows[::3])
    assert found == third
    assert np.isnan(numbers(rows[:1], rows[:1])["spread"])  # one row has none


def test_gives_no_gradient():
    def total(rows):
        return sum(ratio.total for ratio in geometry(rows, rows).values())

    assert not np.asarray(jax.grad(total)(jnp.eye(3))).any()
