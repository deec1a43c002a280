"""A view depends on its image and its key alone: not on neighbours, devices or microbatches."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from jaxssl.augment import (
    Augmentation,
    ColorJitter,
    Cutout,
    GaussianBlur,
    MultiCrop,
    RandomResizedCrop,
    many_views,
)
from jaxssl.augment.pipeline import cut_out
from jaxssl.sharding.mesh import Mesh
from tests.augment.images import example_keys, images_of

ALL = Augmentation(
    size=(8, 10),
    crop=RandomResizedCrop(scale=(0.2, 1.0)),
    jitter=ColorJitter(),
    grayscale=0.2,
    blur=GaussianBlur(size=3),
    solarize=0.3,
    cutout=Cutout(size=3, probability=0.5),
    mean=(0.5, 0.4, 0.3),
    std=(0.2, 0.3, 0.4),
)


def pixels_of(batch=16, height=12, width=14, channels=3):
    random = np.random.default_rng(0)
    return random.integers(0, 256, (batch, height, width, channels), np.uint8)


@pytest.fixture(scope="module")
def whole():
    keys = example_keys(jax.random.key(0), 16)
    return np.asarray(jax.jit(ALL)(pixels_of(), keys))


def test_a_view_is_of_its_image_and_key_alone(whole):
    assert whole.shape == (16, 8, 10, 3)
    assert whole.dtype == np.float32
    keys = example_keys(jax.random.key(0), 16)
    some = np.array([3, 11, 4])
    again = jax.jit(ALL)(pixels_of()[some], keys[some])
    np.testing.assert_allclose(again, whole[some], atol=5e-6)
    other = jax.jit(ALL)(pixels_of(), example_keys(jax.random.key(1), 16))
    assert np.abs(np.asarray(other) - whole).max(axis=(1, 2, 3)).min() > 1e-3


def test_views_on_eight_devices_are_those_of_one(whole):
    mesh = Mesh().make()
    cut = NamedSharding(mesh, PartitionSpec("data"))
    make = jax.jit(lambda pixels, key: ALL(pixels, example_keys(key, 16)), in_shardings=(cut, None))
    compiled = make.lower(pixels_of(), jax.random.key(0)).compile()
    for kind in ("all-gather", "all-reduce", "all-to-all", "collective-permute"):
        assert kind not in compiled.as_text()
    np.testing.assert_allclose(compiled(pixels_of(), jax.random.key(0)), whole, atol=5e-6)


def test_one_more_transform_leaves_the_others_draws(whole):
    keys = example_keys(jax.random.key(0), 16)
    plain = dataclasses.replace(ALL, cutout=None, solarize=0.0)
    found = np.asarray(jax.jit(plain)(pixels_of(), keys))
    same = np.isclose(found, whole, atol=5e-6).mean(axis=(1, 2, 3))
    assert (same == 1).any()
    assert same.min() < 0.9


def test_nothing_asked_for_is_the_image_itself():
    keys = example_keys(jax.random.key(0), 3)
    pixels = pixels_of(3, channels=1)
    still = jax.jit(Augmentation(crop=None, flip=0.0))
    # XLA multiplies by 1 / 255, which is off by a rounding.
    np.testing.assert_allclose(still(pixels, keys), pixels.astype(np.float32) / 255, rtol=2e-7)
    mirrored = jax.jit(Augmentation(crop=None, flip=1.0))
    np.testing.assert_array_equal(mirrored(pixels, keys), still(pixels[:, :, ::-1], keys))
    gray = Augmentation(crop=None, jitter=ColorJitter(), grayscale=1.0, blur=GaussianBlur(size=3))
    assert jax.jit(gray)(pixels, keys).shape == pixels.shape
    whole = Augmentation(
        size=(12, 14), crop=RandomResizedCrop((1.0, 1.0), (14 / 12, 14 / 12)), flip=0.0
    )
    np.testing.assert_allclose(jax.jit(whole)(pixels, keys), still(pixels, keys), atol=1e-6)


def test_multi_crop():
    crops = MultiCrop(
        Augmentation(size=(8, 8)),
        Augmentation(size=(4, 4), crop=RandomResizedCrop((0.05, 0.4))),
        2,
        3,
    )
    pixels, keys = pixels_of(4), example_keys(jax.random.key(0), 4)
    large, small = jax.jit(crops)(pixels, keys)
    assert large.shape == (4, 2, 8, 8, 3)
    assert small.shape == (4, 3, 4, 4, 3)
    apart = np.abs(np.diff(np.asarray(small), axis=1)).max(axis=(2, 3, 4))
    assert (apart > 0).all()  # every crop is another
    more = jax.jit(lambda *of: many_views(*of, crops.small, 1, first=3))(pixels, keys)
    np.testing.assert_allclose(more[:, 0], small[:, 1], atol=1e-6)


def test_large_crops_of_two_kinds_take_turns():
    still, negative = (Augmentation(crop=None, flip=0.0, solarize=share) for share in (0.0, 1.0))
    crops = MultiCrop((still, dataclasses.replace(negative, threshold=0.0)), still, 3, 0)
    pixels, keys = pixels_of(2), example_keys(jax.random.key(0), 2)
    large, small = crops(pixels, keys)
    shares = pixels / 255
    np.testing.assert_allclose(large, np.stack([shares, 1 - shares, shares], axis=1), atol=1e-6)
    assert small.shape[1] == 0


def test_cutout():
    keys = example_keys(jax.random.key(0), 256)
    image = jnp.ones((256, 1, 12, 16))
    cut = jax.jit(cut_out, static_argnums=2)
    found = np.asarray(cut(image, keys, Cutout(size=4, probability=0.5, fill=0.0)))
    holes = (found == 0).sum(axis=(1, 2, 3))
    assert holes.max() == 16
    assert 0.4 < (holes > 0).mean() < 0.6
    assert set(holes) <= {0, *(a * b for a in range(2, 5) for b in range(2, 5))}


def test_solarizing_is_torchvision():
    functional = pytest.importorskip("torchvision.transforms.v2.functional")
    torch = pytest.importorskip("torch")
    images = images_of()
    view = Augmentation(crop=None, flip=0.0, solarize=1.0)
    whole = (images * 255).round().astype(np.uint8)
    there = torch.from_numpy(whole).permute(0, 3, 1, 2) / 255
    solarized = functional.solarize(there, 0.5).permute(0, 2, 3, 1)
    found = jax.jit(view)(whole, example_keys(jax.random.key(0), 4))
    np.testing.assert_allclose(found, solarized, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda: Augmentation(flip=1.5), "flip=1.5 must be between 0 and 1"),
        (lambda: Augmentation(size=(0, 4)), r"size=\(0, 4\) must be at least 1 x 1"),
        (lambda: Augmentation(mean=(0.5,)), "must both have one number for every channel"),
        (lambda: Augmentation(size=(4,)), "must be at least 1 x 1"),
        (lambda: Augmentation(size=(2.5, 4)), "must be at least 1 x 1"),
        (lambda: Augmentation(size=(4, 10**6)), "at most 8192 x 8192"),
        (lambda: Augmentation(threshold=2.0), "threshold=2.0 must be between 0 and 1"),
        (lambda: Augmentation(flip=float("nan")), "flip=nan must be between 0 and 1"),
        (lambda: Augmentation(mean=(0.5,), std=(0.0,)), "no std may be 0"),
        (lambda: Augmentation(mean=(0.5,), std=(-0.2,)), "no std may be 0 or less"),
        (lambda: Augmentation(mean=(float("nan"),), std=(0.2,)), "mean=.nan,. and std"),
        (lambda: ColorJitter(brightness=float("nan")), "brightness=nan must not be negative"),
        (lambda: GaussianBlur(sigma=(0.1, float("inf"))), "sigma=.0.1, inf. must be two positive"),
        (lambda: GaussianBlur(sigma=(0.1,)), "must be two positive numbers"),
        (lambda: RandomResizedCrop(ratio=(0.5, float("inf"))), "ratio=.0.5, inf. must be two"),
        (lambda: RandomResizedCrop(scale=(0.5,)), "scale=.0.5,. must be two shares"),
        (lambda: Cutout(fill=2.0), "fill=2.0 must be between 0 and 1"),
        (lambda: Cutout(size=0), "size=0 must be at least 1"),
        (lambda: MultiCrop(large_count=0), "large_count=0 must be at least 1"),
        (
            lambda: MultiCrop((Augmentation(), Augmentation(size=(8, 8)))),
            r"large: sizes None and \(8, 8\) do not fit",
        ),
    ],
)
def test_bad_fields(make, line):
    with pytest.raises(ValueError, match=line):
        make()


def test_pixels_must_be_bytes_in_batches():
    keys = jax.random.split(jax.random.key(0), 2)
    for pixels in (jnp.zeros((2, 8, 8, 3)), jnp.zeros((2, 8, 8), jnp.uint8)):
        with pytest.raises(ValueError, match="must be uint8 from 0 to 255"):
            Augmentation()(pixels, keys)


def test_statistics_of_other_channels_are_refused():
    keys = jax.random.split(jax.random.key(0), 2)
    views = Augmentation(crop=None, flip=0.0, mean=(0.5, 0.5, 0.5), std=(0.1, 0.2, 0.3))
    with pytest.raises(ValueError, match=r"1 channel, but mean=.* are for 3"):
        views(jnp.zeros((2, 8, 8, 1), jnp.uint8), keys)
    one = Augmentation(crop=None, flip=0.0, mean=(0.5,), std=(0.25,))
    assert (one(jnp.zeros((2, 8, 8, 3), jnp.uint8), keys) == -2).all()
