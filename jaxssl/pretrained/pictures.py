"""Draws pictures of a run on images, as PNG files in its folder:

    views.png            held-out images, and a few random views of each
    reconstructions.png  images, the visible part that the network reads, and its reconstruction
    colourings.png       images, their lightness, and the colours predicted from it
    neighbours.png       images, and the held-out images with the most similar features; each with its class

Glossary of shapes:

    images      number of images in a row of a picture
    height, width, channels    of an image; channels are red, green and blue, or grey
"""

import warnings
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxssl.augment import Augmentation, example_keys, fold, lab_to_rgb, rgb_to_lab
from jaxssl.data.images import IMAGES, LABELS, ImageReader
from jaxssl.data.prepared.image_manifest import NO_LABEL
from jaxssl.models.layers.patches import join_patches, split_patches
from jaxssl.objectives import Colorization, ImageAutoencoder, MaskedAutoencoder
from jaxssl.objectives.batches.keyed_images import random_order
from jaxssl.objectives.masked_autoencoder import HIDDEN
from jaxssl.pretrained.images import (
    embedder_of,
    has_image_encoder,
    whole_views,
)
from jaxssl.pretrained.views import augmentations_of, inner_augmentation
from jaxssl.tasks.probe import nearest

SHOWN = 10  # images in a row of a picture
DRAWS = 3  # random views of each image for each augmentation
SEARCHED = 1024  # held-out images among which neighbours are searched
NEIGHBOURS = 5  # neighbours of each image
GREY = 0.5  # value of hidden pixels
GAP = 2  # white pixels between images
LONGEST_NAME = 14  # characters of a class name that fit into an image of 96 pixels

Row = Float[np.ndarray, "images height width channels"]  # values from 0 to 1
Rows = dict[str, Row]  # the rows of a picture, from top to bottom, by their names
Names = dict[str, list[str]]  # the name of the class of each image, row by row; "" for none


def draw_pictures(
    run: Path, objective: Any, model: Any, carried: Any, held_out: ImageReader
) -> list[Path]:
    """Draws the pictures that fit an objective: its views, reconstructions or colourings, and neighbours.

    Args:
      run: Local folder of the run.
      objective: Objective of the run.
      model: Model with its parameters.
      carried: State that the objective carries, such as running statistics of batch norms.
      held_out: Reader of held-out images; the images of its first batch are shown.

    Returns:
      The files that were written.
    """
    pixels = held_out.batch(0)[IMAGES][: min(SHOWN, held_out.rows)]
    pictures = {"views": view_rows(objective, pixels)}
    if isinstance(objective, MaskedAutoencoder):
        pictures["reconstructions"] = masked_rows(objective, model, pixels)
    if isinstance(objective, ImageAutoencoder):
        pictures["reconstructions"] = autoencoder_rows(objective, model, carried, pixels)
    if isinstance(objective, Colorization):
        pictures["colourings"] = colour_rows(objective, model, carried, pixels)
    paths = [draw_rows(rows, run / f"{name}.png") for name, rows in pictures.items() if rows]
    if has_image_encoder(model):
        rows, names = neighbour_rows(objective, model, carried, held_out)
        paths.append(draw_rows(rows, run / "neighbours.png", names))
    return paths


def view_rows(objective: Any, pixels: np.ndarray) -> Rows:
    """Draws a few random views with each augmentation of an objective.

    Args:
      objective: Objective; without augmentations there are no rows.
      pixels: uint8 images, `[images, height, width, channels]`.

    Returns:
      Rows "image" and "view 1", "view 2", …; with several augmentations "1: view 1", …
    """
    kinds = augmentations_of(objective)
    rows = {"image": pixels / np.float32(255)}
    keys = example_keys(jax.random.key(0), len(pixels))
    different = [views for i, views in enumerate(kinds) if views not in kinds[:i]]
    for number, views in enumerate(different):
        make = jax.jit(views)
        for draw in range(DRAWS):
            made = np.asarray(make(jnp.asarray(pixels), fold(keys, DRAWS * number + draw)))
            name = f"view {draw + 1}" if len(different) == 1 else f"{number + 1}: view {draw + 1}"
            rows[name] = displayable(made, inner_augmentation(views))
    return rows if kinds else {}


def masked_rows(objective: MaskedAutoencoder, model: Any, pixels: np.ndarray) -> Rows:
    """Reconstructs images with a masked autoencoder.

    Args:
      objective: Masked autoencoder.
      model: Its model with parameters.
      pixels: uint8 images, `[images, height, width, channels]`.

    Returns:
      Rows "image", "visible" (hidden patches are grey) and "reconstruction" (visible patches are those of
      the image).
    """
    whole = whole_views(objective.views)
    keys = example_keys(jax.random.key(0), len(pixels))

    @jax.jit
    def predict(model: Any, pixels: Array) -> tuple[Array, Array, Array]:
        images = whole(pixels, keys)
        targets = split_patches(images, objective.encoder.patch)
        order, ranks = random_order(fold(keys, HIDDEN), targets.shape[1])
        count = objective.seen(targets.shape[1])
        predicted = objective.predict(model, images, order[:, :count], ranks)
        if objective.normalize_target:
            # The network predicts patches normalised by their own mean and variance, which it does not
            # predict; those of the true patch are used here.
            mean, variance = targets.mean(-1, keepdims=True), targets.var(-1, ddof=1, keepdims=True)
            predicted = predicted * jnp.sqrt(variance + 1e-6) + mean
        hidden = (ranks >= count)[..., None]
        height, width = images.shape[1:3]
        seen, made = (
            join_patches(jnp.where(hidden, x, targets), objective.encoder.patch, height, width)
            for x in (GREY, predicted)
        )
        return images, seen, made

    names = ("image", "visible", "reconstruction")
    return _displayable(names, predict(model, jnp.asarray(pixels)), objective.views)


def autoencoder_rows(
    objective: ImageAutoencoder, model: Any, carried: Any, pixels: np.ndarray
) -> Rows:
    """Reconstructs images with an autoencoder.

    Args:
      objective: Image autoencoder.
      model: Its model with parameters.
      carried: State that the objective carries: the running statistics of batch norms.
      pixels: uint8 images, `[images, height, width, channels]`.

    Returns:
      Rows "image", "visible" (what the encoder reads: the corrupted image) and "reconstruction".
    """
    whole = whole_views(objective.views)
    keys = example_keys(jax.random.key(0), len(pixels))

    @jax.jit
    def decode(model: Any, carried: Any, pixels: Array) -> tuple[Array, Array, Array]:
        images = whole(pixels, keys)
        damaged = objective.damage(images, keys)
        features, _ = model.encoder(damaged, statistics=carried["statistics"]["encoder"])
        return images, damaged, model.decode(features, objective.encoder.compute_dtype)

    names = ("image", "visible", "reconstruction")
    return _displayable(names, decode(model, carried, jnp.asarray(pixels)), objective.views)


def colour_rows(objective: Colorization, model: Any, carried: Any, pixels: np.ndarray) -> Rows:
    """Predicts the colours of images from their lightness.

    Args:
      objective: Colorization.
      model: Its model with parameters.
      carried: State that the objective carries: the running statistics of batch norms.
      pixels: uint8 images, `[images, height, width, channels]`.

    Returns:
      Rows "image", "lightness" (what the encoder reads) and "coloured".
    """
    whole = whole_views(objective.views)
    keys = example_keys(jax.random.key(0), len(pixels))

    @jax.jit
    def colour(model: Any, carried: Any, pixels: Array) -> tuple[Array, Array, Array]:
        images = whole(pixels, keys)
        lightness = rgb_to_lab(images) * jnp.array([1.0, 0.0, 0.0])[None, None, None]
        return images, lab_to_rgb(lightness), objective.colour(model, carried, images)

    names = ("image", "lightness", "coloured")
    return _displayable(names, colour(model, carried, jnp.asarray(pixels)), objective.views)


def neighbour_rows(
    objective: Any, model: Any, carried: Any, held_out: ImageReader
) -> tuple[Rows, Names]:
    """Finds the held-out images with the most similar features, by cosine similarity.

    Args:
      objective: Objective of the run.
      model: Its model with parameters.
      carried: State that the objective carries, such as running statistics of batch norms.
      held_out: Reader of held-out images; the first ones of them are shown.

    Returns:
      Rows "image", "nearest 1", "nearest 2", …, and the names of the classes of their images, as far as the
      images have labels.
    """
    count = min(SEARCHED, held_out.rows)
    batches = [
        held_out.batch(number)
        for number in range(min(held_out.batches, -(-count // held_out.spec.batch)))
    ]
    pixels = np.concatenate([batch[IMAGES] for batch in batches])[:count]
    classes = [""] * len(pixels)
    if held_out.spec.labels:
        labels = np.concatenate([batch[LABELS] for batch in batches])[:count]
        classes = ["" if own == NO_LABEL else held_out.spec.labels[own] for own in labels]
    features = embedder_of(objective, model, carried)(pixels)
    most = min(NEIGHBOURS + 1, len(pixels))
    found = nearest(features, features[:SHOWN], most)
    others = [
        row[row != number][: most - 1] for number, row in enumerate(found)
    ]  # less the image itself
    images = pixels / np.float32(255)
    ids = {"image": list(range(len(found)))}
    for rank in range(most - 1):
        ids[f"nearest {rank + 1}"] = [row[rank] for row in others]
    rows = {name: images[row] for name, row in ids.items()}
    return rows, {name: [classes[i] for i in row] for name, row in ids.items()}


def displayable(images: Array | np.ndarray, views: Augmentation) -> Row:
    """Undoes the normalisation of an augmentation, and clips to values from 0 to 1.

    Args:
      images: Images as the augmentation returns them, `[images, height, width, channels]`.
      views: The augmentation.
    """
    exact = np.asarray(images, np.float32)
    if views.mean:
        exact = exact * np.asarray(views.std) + np.asarray(views.mean)
    return np.clip(exact, 0.0, 1.0)


def _displayable(names: tuple[str, ...], images: tuple[Array, ...], views: Augmentation) -> Rows:
    return {name: displayable(row, views) for name, row in zip(names, images, strict=True)}


def draw_rows(rows: Rows, path: Path, names: Names | None = None) -> Path:
    """Writes a picture with one row of images below the other, each with its name.

    Args:
      rows: Rows by name, each `[images, height, width, channels]` with values from 0 to 1. The size of the
        images may differ between rows; all have the same scale, the largest 96 pixels or more.
      path: PNG file to write.
      names: Names that are written on the images, by row; None for no names.

    Returns:
      The path.
    """
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
    for position, row in enumerate(rows):
        bottom = position * (height + GAP) + height
        for number, name in enumerate((names or {}).get(row, [])):
            if name:
                _write_name(axes, number * (width + GAP), bottom, name)
    with warnings.catch_warnings():  # a name in a script that the font lacks is drawn as boxes
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        figure.savefig(path, dpi=100, bbox_inches="tight")
    pyplot.close(figure)
    return path


def _write_name(axes: Any, left: float, bottom: float, name: str) -> None:
    """Writes a name, in white on a dark box, into the lower left corner of an image."""
    shown = name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
    box = {"facecolor": "black", "alpha": 0.5, "pad": 0.5, "linewidth": 0}
    style = {"fontsize": 7, "color": "white", "parse_math": False, "bbox": box}
    axes.text(left, bottom, shown, va="bottom", **style)


def _line(row: Row, height: int, width: int) -> Float[np.ndarray, "height width 3"]:
    """Returns the images of a row beside each other, each on white of `height` x `width` pixels."""
    line = np.ones((height, len(row) * width, 3), np.float32)
    for number, image in enumerate(row):
        rows, columns = image.shape[:2]
        line[:rows, number * width : number * width + columns] = image
    return line
