"""Each transform against Pillow, torchvision where it is installed, and what can be worked out by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxssl.augment import (
    Augmentation,
    ColorJitter,
    Cutout,
    GaussianBlur,
    RandomResizedCrop,
    blur,
    crop,
    random_numbers,
)
from jaxssl.augment import jitter as jitters
from jaxssl.augment.pipeline import cut_out
from jaxssl.errors import InputError

example_keys = jax.jit(random_numbers.example_keys, static_argnums=1)
draw_boxes = jax.jit(crop.draw_boxes, static_argnums=(1, 2, 3))
resample = jax.jit(crop.resample, static_argnums=(3, 4, 5))
convolve = jax.jit(blur.convolve, static_argnums=2)
gaussian = jax.jit(blur.gaussian, static_argnums=1)
jitter = jax.jit(jitters.jitter, static_argnums=2)
blend, turn_hue = jax.jit(jitters.blend), jax.jit(jitters.turn_hue)

BOXES = np.array([[0, 0, 24, 20], [3, 2, 5, 9], [7, 1, 17, 4], [10, 10, 1, 1]])


def images_of(seed=0, batch=4, height=24, width=20, channels=3):
    random = np.random.default_rng(seed)
    return random.random((batch, height, width, channels)).astype(np.float32)


def planes(images):
    return jnp.asarray(images).transpose(0, 3, 1, 2)


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
            found = blend(planes(images), jnp.full(4, factor), jnp.full(4, kind))
            np.testing.assert_allclose(found, change(there, factor), atol=1e-6)
    for turn in (-0.4, 0.1, 0.5):
        found = turn_hue(planes(images), jnp.full(4, turn))
        np.testing.assert_allclose(found, functional.adjust_hue(there, turn), atol=5e-6)
    weights = gaussian(jnp.full(4, 1.3), 3)
    found = convolve(convolve(planes(images), weights, 2), weights, 3)
    expected = functional.gaussian_blur(there, [7, 7], [1.3, 1.3])
    np.testing.assert_allclose(found, expected, atol=1e-6)
    view = Augmentation(crop=None, flip=0.0, solarize=1.0)
    whole = (images * 255).round().astype(np.uint8)
    there = torch.from_numpy(whole).permute(0, 3, 1, 2) / 255
    solarized = functional.solarize(there, 0.5).permute(0, 2, 3, 1)
    found = jax.jit(view)(whole, example_keys(jax.random.key(0), 4))
    np.testing.assert_allclose(found, solarized, atol=1e-6)


def test_blur_keeps_the_mean_of_a_reflected_image():
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


def test_jitter_draws_every_order_and_leaves_some_alone():
    keys = example_keys(jax.random.key(1), 512)
    one = jnp.broadcast_to(planes(images_of(batch=1, height=2, width=3)), (512, 3, 2, 3))
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


def test_cutout():
    keys = example_keys(jax.random.key(0), 256)
    image = jnp.ones((256, 1, 12, 16))
    cut = jax.jit(cut_out, static_argnums=2)
    found = np.asarray(cut(image, keys, Cutout(size=4, probability=0.5, fill=0.0)))
    holes = (found == 0).sum(axis=(1, 2, 3))
    assert holes.max() == 16
    assert 0.4 < (holes > 0).mean() < 0.6
    assert set(holes) <= {0, *(a * b for a in range(2, 5) for b in range(2, 5))}


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda: RandomResizedCrop(scale=(0.0, 1.0)), "0 < least <= most"),
        (lambda: RandomResizedCrop(filter="nearest"), "use bilinear or bicubic"),
        (lambda: ColorJitter(hue=0.7), "half the circle"),
        (lambda: GaussianBlur(size=4), "must be odd"),
        (lambda: GaussianBlur(size=9).radius(4, 4), "at most 7"),
        (lambda: Augmentation(flip=1.5), "flip=1.5 must lie between"),
        (lambda: Augmentation(mean=(0.5,)), "a number each"),
        (lambda: Cutout(size=0), "at least 1"),
    ],
)
def test_bad_fields(make, line):
    with pytest.raises(InputError, match=line):
        make()
