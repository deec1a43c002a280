import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxssl.augment import RandomResizedCrop, crop
from tests.augment.images import example_keys, images_of

draw_boxes = jax.jit(crop.draw_boxes, static_argnums=(1, 2, 3))
resample = jax.jit(crop.resample, static_argnums=(3, 4, 5))
BOXES = np.array([[0, 0, 24, 20], [3, 2, 5, 9], [7, 1, 17, 4], [10, 10, 1, 1]])


@pytest.mark.parametrize("kind", ["bilinear", "bicubic"])
def test_crops_are_resized_as_pillow_does(kind):
    images = images_of()
    flipped = np.array([False, True, False, True])
    found = resample(jnp.asarray(images), jnp.asarray(BOXES), jnp.asarray(flipped), 12, 16, kind)
    method = Image.Resampling[kind.upper()]
    for number, (top, left, tall, wide) in enumerate(BOXES):
        part = images[number, top : top + tall, left : left + wide]
        for channel in range(3):
            plane = Image.fromarray(np.ascontiguousarray(part[..., channel]))
            expected = np.asarray(plane.resize((16, 12), method))
            expected = expected[:, ::-1] if flipped[number] else expected
            np.testing.assert_allclose(found[number, channel], expected, atol=2e-6)


def test_boxes_are_drawn_as_asked():
    wanted = RandomResizedCrop(scale=(0.25, 0.75), ratio=(0.5, 2.0))
    boxes = np.asarray(draw_boxes(example_keys(jax.random.key(0), 4096), wanted, 40, 60))
    top, left, tall, wide = boxes.T
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + tall <= 40).all()
    assert (left + wide <= 60).all()
    area, aspect = tall * wide / 2400, wide / tall
    assert 0.23 < area.min() < 0.27
    assert 0.72 < area.max() < 0.78
    assert 0.47 < aspect.min() < 0.55
    assert 1.85 < aspect.max() < 2.15
    inner = (left > 0) & (left + wide < 60)
    assert inner.mean() > 0.7  # places are spread
    # none of the ten can fit: the largest of an allowed aspect, in the middle
    boxes = draw_boxes(
        example_keys(jax.random.key(0), 2), RandomResizedCrop((1, 1), (4, 4)), 40, 60
    )
    np.testing.assert_array_equal(boxes, [[12, 0, 15, 60]] * 2)


def test_resize_matrices_by_hand():
    """Four rows to two with a triangle of twice the width: 3, 3, 1 of 7 and its mirror image."""
    zeros, fours = jnp.zeros(1, int), jnp.full(1, 4)
    matrix = crop.resize_matrix(zeros, fours, 4, 2)[0]
    np.testing.assert_allclose(matrix, np.array([[3, 3, 1, 0], [0, 1, 3, 3]]) / 7, rtol=1e-6)
    mirrored = crop.resize_matrix(zeros, fours, 4, 2, flipped=jnp.array([True]))[0]
    np.testing.assert_array_equal(mirrored, matrix[::-1])
    same = crop.resize_matrix(jnp.array([1]), jnp.array([2]), 4, 2, "bicubic")[0]
    np.testing.assert_allclose(same, [[0, 1, 0, 0], [0, 0, 1, 0]], atol=1e-7)


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"scale": (0.0, 1.0)}, r"scale=\(0.0, 1.0\) must be two shares of the area"),
        ({"ratio": (2.0, 1.0)}, r"ratio=\(2.0, 1.0\) must be two positive numbers"),
        ({"filter": "nearest"}, "use bilinear or bicubic"),
    ],
)
def test_bad_fields(fields, line):
    with pytest.raises(ValueError, match=line):
        RandomResizedCrop(**fields)
