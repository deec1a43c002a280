"""Pictures of a run on images: rows of images with known content, and the sheet that they are drawn on."""

import jax
import numpy as np
import pytest
from PIL import Image

from jaxssl.augment import Augmentation
from jaxssl.data.images import IMAGES, LABELS, Images
from jaxssl.models.recipes import vit
from jaxssl.models.resnet import ResNetConfig
from jaxssl.models.vision_transformer import VisionTransformerConfig
from jaxssl.objectives import Colorization, ImageAutoencoder, MaskedAutoencoder, Rotation
from jaxssl.pretrained import pictures
from jaxssl.pretrained.pictures import (
    autoencoder_rows,
    colour_rows,
    displayable,
    draw_pictures,
    draw_rows,
    masked_rows,
    neighbour_rows,
    view_rows,
)
from tests.tiny import tiny_image_spec, tiny_images

ENCODER = ResNetConfig(10, width=8, norm="batch")
STILL = Augmentation(crop=None, flip=0.0)
NORMALISED = Augmentation(mean=(0.5,) * 3, std=(0.2,) * 3)
SPEC = tiny_image_spec(batch=4)
PIXELS = tiny_images(2, 3)
BLOCK = vit(depth=1, width=16, heads=2)


def test_rows_of_views():
    rows = view_rows(Rotation(ENCODER, views=NORMALISED), PIXELS)
    assert list(rows) == ["image", "view 1", "view 2", "view 3"]
    np.testing.assert_allclose(rows["image"], PIXELS / 255, atol=1e-6)
    assert rows["view 1"].min() >= 0
    assert rows["view 1"].max() <= 1
    assert rows["view 1"].max() > 0.7  # not dark: the normalisation is undone
    assert not np.array_equal(rows["view 1"], rows["view 2"])
    both = view_rows((STILL, NORMALISED), PIXELS)
    assert list(both)[1:] == [f"{kind}: view {draw}" for kind in (1, 2) for draw in (1, 2, 3)]
    assert view_rows((), PIXELS) == {}


def test_normalisation_is_undone_and_values_are_clipped():
    images = np.array([-10.0, -2.5, 0.0, 2.5, 10.0])[:, None, None, None] * np.ones(3)
    found = displayable(images, NORMALISED)[:, 0, 0, 0]
    np.testing.assert_allclose(found, [0, 0, 0.5, 1, 1], atol=1e-6)
    np.testing.assert_allclose(displayable(images, STILL)[:, 0, 0, 0], [0, 0, 0, 1, 1], atol=1e-6)


def test_rows_of_a_masked_autoencoder():
    """Seen patches are the image's own, hidden ones grey; predictions are in the image's own units."""
    objective = MaskedAutoencoder(VisionTransformerConfig(BLOCK, patch=4), BLOCK, views=STILL)
    model = objective.init(jax.random.key(0), SPEC)
    rows = masked_rows(objective, model, PIXELS)
    image, seen, made = rows["image"], rows["visible"], rows["reconstruction"]
    np.testing.assert_allclose(image, PIXELS / 255, atol=1e-6)
    patches = np.abs(seen - image).reshape(3, 4, 4, 4, 4, 3).max(axis=(2, 4, 5)) > 1e-6
    assert (patches.sum(axis=(1, 2)) == 12).all()
    own = patches.repeat(4, axis=1).repeat(4, axis=2)
    assert (seen[own] == 0.5).all()
    np.testing.assert_allclose(made[~own], image[~own], atol=1e-6)
    # A network that knows nothing predicts nearly 0: each patch becomes its mean.
    means = image.reshape(3, 4, 4, 4, 4, 3).mean(axis=(2, 4, 5))
    made_means = made.reshape(3, 4, 4, 4, 4, 3).mean(axis=(2, 4, 5))
    np.testing.assert_allclose(made_means, means, atol=0.1)


def test_rows_of_the_others_and_their_sheet(tmp_path):
    coder = ImageAutoencoder(ENCODER, code=8, mask_ratio=0.5, decoder_width=8, views=STILL)
    model = coder.init(jax.random.key(0), SPEC)
    rows = autoencoder_rows(coder, model, coder.init_state(model), PIXELS)
    assert list(rows) == ["image", "visible", "reconstruction"]
    assert ((rows["visible"] == 0).all(axis=-1).mean(axis=(1, 2)) >= 0.5).all()
    colours = Colorization(ENCODER, 8, 2, views=STILL)
    model = colours.init(jax.random.key(0), SPEC)
    rows = colour_rows(colours, model, colours.init_state(model), PIXELS)
    grey = rows["lightness"]
    np.testing.assert_allclose(grey[..., 0], grey[..., 2], atol=1e-3)
    path = draw_rows({**rows, "small": PIXELS[:, :8, :8] / np.float32(255)}, tmp_path / "a.png")
    names = {"coloured": ["$a", "鸟", "a name of many words"], "small": ["", "", "b"]}
    named = draw_rows(rows, tmp_path / "b.png", names)
    bare = draw_rows(rows, tmp_path / "c.png")
    with Image.open(named) as sheet, Image.open(bare) as same:
        assert sheet.size == same.size
        assert sheet.tobytes() != same.tobytes()
    with Image.open(path) as sheet:
        assert sheet.width > 3 * 96
        assert sheet.height > 4 * 96


@pytest.fixture(scope="module")
def held_out(picture_set):
    return Images(picture_set, batch=8).open("valid", seed=0, shuffle=False)


def test_neighbours_are_the_other_images_with_the_nearest_features(held_out, monkeypatch):
    """Features on a half circle by the brightness of the first pixel: neighbours have the nearest."""

    def angles(pixels):
        angle = np.pi * pixels[:, 0, 0, 0] / 255
        return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)

    monkeypatch.setattr(pictures, "embedder_of", lambda *_: angles)
    rows, names = neighbour_rows(None, None, None, held_out)
    assert list(rows) == ["image"] + [f"nearest {rank}" for rank in range(1, 6)]
    first = {name: row[:, 0, 0, 0] for name, row in rows.items()}
    every = np.concatenate([held_out.batch(i)[IMAGES][:, 0, 0, 0] for i in range(held_out.batches)])
    every = every[: held_out.rows] / 255
    assert len(first["image"]) == min(10, held_out.rows)
    own_classes = [held_out.spec.labels[label] for label in held_out.batch(0)[LABELS]]
    assert names["image"][: len(own_classes)] == own_classes[:10]
    assert set(names["nearest 1"]) <= set(held_out.spec.labels)
    for number, own in enumerate(first["image"]):
        others = np.sort(np.abs(np.delete(every, number) - own))[:5]
        found = [abs(first[f"nearest {rank}"][number] - own) for rank in range(1, 6)]
        np.testing.assert_allclose(found, others, atol=1e-3)


def test_pictures_of_an_objective(held_out, tmp_path, monkeypatch):
    """Neighbours belong to every encoder of images, reconstructions to autoencoders alone."""
    monkeypatch.setattr(
        pictures, "neighbour_rows", lambda *_: ({"image": PIXELS / np.float32(255)}, {})
    )
    objective = Rotation(ENCODER, views=STILL)
    model = jax.jit(lambda key: objective.init(key, SPEC))(jax.random.key(0))
    paths = draw_pictures(tmp_path, objective, model, objective.init_state(model), held_out)
    assert [path.name for path in paths] == ["views.png", "neighbours.png"]
    assert all(path.stat().st_size > 500 for path in paths)
    monkeypatch.setattr(pictures, "view_rows", lambda *_: {})  # an objective without augmentations
    for name, kind, maker in (
        ("reconstructions", MaskedAutoencoder, "masked_rows"),
        ("reconstructions", ImageAutoencoder, "autoencoder_rows"),
        ("colourings", Colorization, "colour_rows"),
    ):
        monkeypatch.setattr(pictures, maker, lambda *_: {"image": PIXELS / np.float32(255)})
        paths = draw_pictures(tmp_path, object.__new__(kind), None, None, held_out)
        assert [path.stem for path in paths] == [name]
