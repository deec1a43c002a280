"""Pictures of a run on images, as PNG in its folder: what a person looks at before any number.

views.png            images, and a few views of each
reconstructions.png  images, what the network saw of them, and what it made of that
colourings.png       images, their lightness, and the colours that were told from it
neighbours.png       images, and those of the held-out ones whose features lie nearest
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxssl.augment import Augmentation, example_keys, fold, lab_to_rgb, rgb_to_lab
from jaxssl.data.images import IMAGES, ImageReader
from jaxssl.models.vision_transformer import cut_patches, join_patches
from jaxssl.objectives import Colorization, ImageAutoencoder, MaskedAutoencoder
from jaxssl.objectives.batches.keyed_images import random_order
from jaxssl.objectives.masked_autoencoder import HIDDEN
from jaxssl.pretrained.images import (
    embedder_of,
    has_image_encoder,
    views_of,
    whole_views,
)
from jaxssl.tasks.probe import nearest

SHOWN = 10  # images of a picture
DRAWS = 3  # views of each kind
SEARCHED = 1024  # held-out images among which neighbours are looked for
NEIGHBOURS = 5
GREY = 0.5  # what was hidden
GAP = 2  # white pixels between images

Row = Float[np.ndarray, "images height width channels"]  # from 0 to 1
Rows = dict[str, Row]


def draw_pictures(
    run: Path, objective: Any, model: Any, carried: Any, held_out: ImageReader
) -> list[Path]:
    """All pictures that the objective has."""
    pixels = held_out.batch(0)[IMAGES][:SHOWN]
    pictures = {"views": view_rows(objective, pixels)}
    if isinstance(objective, MaskedAutoencoder):
        pictures["reconstructions"] = masked_rows(objective, model, pixels)
    if isinstance(objective, ImageAutoencoder):
        pictures["reconstructions"] = autoencoder_rows(objective, model, carried, pixels)
    if isinstance(objective, Colorization):
        pictures["colourings"] = colour_rows(objective, model, carried, pixels)
    if has_image_encoder(model):
        pictures["neighbours"] = neighbour_rows(objective, model, carried, held_out)
    return [draw_rows(rows, run / f"{name}.png") for name, rows in pictures.items() if rows]


def view_rows(objective: Any, pixels: np.ndarray) -> Rows:
    """The images and a few views of each kind."""
    kinds = views_of(objective)
    rows = {"image": pixels / np.float32(255)}
    keys = example_keys(jax.random.key(0), len(pixels))
    for number, views in enumerate(dict.fromkeys(kinds)):
        make = jax.jit(views)
        for draw in range(DRAWS):
            made = np.asarray(make(jnp.asarray(pixels), fold(keys, DRAWS * number + draw)))
            name = f"view {draw + 1}" if len(set(kinds)) == 1 else f"{number + 1}: view {draw + 1}"
            rows[name] = shown(made, views)
    return rows if kinds else {}


def masked_rows(objective: MaskedAutoencoder, model: Any, pixels: np.ndarray) -> Rows:
    """The images, the patches that are seen, and the others as they are predicted."""
    whole = whole_views(objective.views)
    keys = example_keys(jax.random.key(0), len(pixels))

    @jax.jit
    def predict(model: Any, pixels: Array) -> tuple[Array, Array, Array]:
        images = whole(pixels, keys)
        targets = cut_patches(images, objective.encoder.patch)
        order, ranks = random_order(fold(keys, HIDDEN), targets.shape[1])
        count = objective.seen(targets.shape[1])
        predicted = objective.predict(model, images, order[:, :count], ranks)
        if objective.normalize_target:  # by each patch's own mean and variance, which were not told
            mean, variance = targets.mean(-1, keepdims=True), targets.var(-1, ddof=1, keepdims=True)
            predicted = predicted * jnp.sqrt(variance + 1e-6) + mean
        hidden = (ranks >= count)[..., None]
        height, width = images.shape[1:3]
        seen, made = (
            join_patches(jnp.where(hidden, x, targets), objective.encoder.patch, height, width)
            for x in (GREY, predicted)
        )
        return images, seen, made

    names = ("image", "seen", "made of it")
    return _shown(names, predict(model, jnp.asarray(pixels)), objective.views)


def autoencoder_rows(
    objective: ImageAutoencoder, model: Any, carried: Any, pixels: np.ndarray
) -> Rows:
    """The images, damaged where they are, and what comes back out of the code."""
    whole = whole_views(objective.views)
    keys = example_keys(jax.random.key(0), len(pixels))

    @jax.jit
    def decode(model: Any, carried: Any, pixels: Array) -> tuple[Array, Array, Array]:
        images = whole(pixels, keys)
        damaged = objective.damage(images, keys)
        features, _ = model.encoder(damaged, statistics=carried["statistics"]["encoder"])
        return images, damaged, model.decode(features, objective.encoder.compute_dtype)

    names = ("image", "seen", "made of it")
    return _shown(names, decode(model, carried, jnp.asarray(pixels)), objective.views)


def colour_rows(objective: Colorization, model: Any, carried: Any, pixels: np.ndarray) -> Rows:
    """The images, what the encoder reads of them, and the colours that it tells."""
    whole = whole_views(objective.views)
    keys = example_keys(jax.random.key(0), len(pixels))

    @jax.jit
    def colour(model: Any, carried: Any, pixels: Array) -> tuple[Array, Array, Array]:
        images = whole(pixels, keys)
        lightness = rgb_to_lab(images) * jnp.array([1.0, 0.0, 0.0])[None, None, None]
        return images, lab_to_rgb(lightness), objective.colour(model, carried, images)

    names = ("image", "lightness", "coloured")
    return _shown(names, colour(model, carried, jnp.asarray(pixels)), objective.views)


def neighbour_rows(objective: Any, model: Any, carried: Any, held_out: ImageReader) -> Rows:
    """Images, and the nearest of the held-out ones, by the cosine of their features."""
    parts, count = [], 0
    for number in range(held_out.batches):
        parts.append(held_out.batch(number)[IMAGES])
        count += len(parts[-1])
        if count >= SEARCHED:
            break
    pixels = np.concatenate(parts)[: min(SEARCHED, held_out.rows)]
    features = embedder_of(objective, model, carried)(pixels)
    most = min(NEIGHBOURS + 1, len(pixels))
    places = nearest(features, features[:SHOWN], most)
    others = [row[row != number][: most - 1] for number, row in enumerate(places)]
    images = pixels / np.float32(255)
    rows = {"image": images[: len(places)]}
    for rank in range(most - 1):
        rows[f"nearest {rank + 1}"] = images[[row[rank] for row in others]]
    return rows


def shown(images: Array | np.ndarray, views: Augmentation) -> Row:
    """As they look: what was normalised is brought back, and cut to 0 to 1."""
    exact = np.asarray(images, np.float32)
    if views.mean:
        exact = exact * np.asarray(views.deviation) + np.asarray(views.mean)
    return np.clip(exact, 0.0, 1.0)


def _shown(names: tuple[str, ...], images: tuple[Array, ...], views: Augmentation) -> Rows:
    return {name: shown(row, views) for name, row in zip(names, images, strict=True)}


def draw_rows(rows: Rows, path: Path) -> Path:
    """One row of images below the other, each with its name, 96 pixels an image or more."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    height, width = (max(row.shape[axis] for row in rows.values()) for axis in (1, 2))
    sheet = np.concatenate([_line(row, height + GAP, width + GAP) for row in rows.values()])
    inches = max(96 / max(height, width), 1.0) / 100
    size = (sheet.shape[1] * inches + 1.2, sheet.shape[0] * inches + 0.2)
    figure, axes = pyplot.subplots(figsize=size, layout="constrained")
    axes.imshow(sheet, interpolation="nearest", vmin=0, vmax=1)
    middles = (np.arange(len(rows)) + 0.5) * (height + GAP)
    axes.set(xticks=[], yticks=middles, yticklabels=list(rows))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    figure.savefig(path, dpi=100, bbox_inches="tight")
    pyplot.close(figure)
    return path


def _line(row: Row, height: int, width: int) -> Float[np.ndarray, "height width 3"]:
    """The images of a row beside each other, each on white of height x width."""
    line = np.ones((height, len(row) * width, 3), np.float32)
    for number, image in enumerate(row):
        rows, columns = image.shape[:2]
        line[:rows, number * width : number * width + columns] = image
    return line
