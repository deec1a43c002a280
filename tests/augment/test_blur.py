import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.augment import GaussianBlur, blur
from tests.augment.images import channel_first, example_keys, images_of

convolve = jax.jit(blur.convolve, static_argnums=2)
gaussian = jax.jit(blur.gaussian, static_argnums=1)


def test_kernel_and_reflected_edges_by_hand():
    weights = gaussian(jnp.array([0.5, 2.0]), 2)
    # e^0, e^-2, e^-8 over their sum with the mirror image
    half = np.exp([-0.0, -2.0, -8.0])
    np.testing.assert_allclose(weights[0], half / (half[0] + 2 * half[1:].sum()), rtol=1e-6)
    line = jnp.arange(5.0).reshape(1, 1, 1, 5)
    found = convolve(line, weights[:1], 3)[0, 0, 0]
    w0, w1, w2 = weights[0].tolist()
    edge = w0 * 0 + 2 * w1 * 1 + 2 * w2 * 2  # 2 1 | 0 1 2
    np.testing.assert_allclose(
        found, [edge, w0 + w1 * 2 + w2 * 4, 2, 4 - (w0 + w1 * 2 + w2 * 4), 4 - edge], atol=1e-5
    )


def test_is_torchvision():
    functional = pytest.importorskip("torchvision.transforms.v2.functional")
    torch = pytest.importorskip("torch")
    images = images_of()
    there = torch.from_numpy(images).permute(0, 3, 1, 2)
    weights = gaussian(jnp.full(4, 1.3), 3)
    found = convolve(convolve(channel_first(images), weights, 2), weights, 3)
    expected = functional.gaussian_blur(there, [7, 7], [1.3, 1.3])
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_some_images_are_blurred_and_the_others_stay_exactly():
    keys = example_keys(jax.random.key(0), 256)
    image = jnp.zeros((1, 1, 6, 6)).at[0, 0, 3, 3].set(1.0)
    images = jnp.broadcast_to(image, (256, 1, 6, 6))
    config = GaussianBlur(probability=0.25, sigma=(0.5, 1.0), size=3)
    found = jax.jit(blur.blur, static_argnums=2)(images, keys, config)
    same = (found == images).all(axis=(1, 2, 3))
    assert 0.68 < same.mean() < 0.82
    middle = found[~same, 0, 3, 3]
    # The square of the middle weight, 1 / (1 + 2 exp(-1 / (2 sigma^2))), at both ends of sigma.
    lowest, highest = ((1 / (1 + 2 * np.exp(-0.5 / s**2))) ** 2 for s in (1.0, 0.5))
    assert lowest <= middle.min() < lowest + 0.05
    assert highest - 0.05 < middle.max() <= highest


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda: GaussianBlur(size=4), "size=4 must be odd and at least 3"),
        (lambda: GaussianBlur(sigma=(2.0, 1.0)), r"sigma=\(2.0, 1.0\) must be two positive"),
        (lambda: GaussianBlur(probability=-1.0), "probability=-1.0 must be between 0 and 1"),
        (lambda: GaussianBlur(size=9).radius(4, 4), "size=9 does not fit.*at most 7"),
    ],
)
def test_bad_fields(make, line):
    with pytest.raises(ValueError, match=line):
        make()


def test_the_default_kernel_is_a_tenth_of_the_height():
    assert GaussianBlur().radius(224, 224) == 11
    assert GaussianBlur().radius(8, 8) == 1
    assert GaussianBlur(size=5).radius(8, 8) == 2


@pytest.mark.parametrize("axis", [2, 3])
def test_products_and_shifted_sums_are_the_same(axis):
    images = jax.random.uniform(jax.random.key(0), (3, 2, 6, 5))
    # The last kernel leaves its image as it is, to the bit.
    weights = gaussian(jnp.array([0.4, 1.0, 3.0]), 4).at[2].set(jnp.arange(5) == 0)
    products = blur.multiply(images, weights, axis)
    np.testing.assert_allclose(products, blur.sum_shifted(images, weights, axis), atol=1e-6)
    np.testing.assert_array_equal(products[2], images[2])
