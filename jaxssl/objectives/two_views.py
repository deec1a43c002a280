"""Two views of every image of a batch, made on the device, and what they are embedded to.

batch    images              first, second   embeddings of an image's two views
width    of an embedding     total           images of the global batch
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Key, UInt8

from jaxssl.errors import InputError
from jaxssl.models.joint_embedding import Encoder, JointEmbedding, head_flops, project
from jaxssl.objectives.batch import Images, Ratio, share_evenly
from jaxssl.objectives.geometry import geometry
from jaxssl.objectives.statistics import in_every_row, statistics_for
from jaxssl.objectives.views import Views, example_keys, fold

Metrics = dict[str, Ratio]


class Examples(NamedTuple):
    """Images as they were read, and what their views are drawn from."""

    pixels: UInt8[Array, "batch height width channels"]
    keys: Key[Array, " batch"]
    weights: Float[Array, " batch"]  # add up to one over the global batch
    total: Float[Array, " batch"]  # the same in every row


class Embeddings(NamedTuple):
    """What each row gives to a contrast of all rows."""

    first: Float[Array, "batch width"]
    second: Float[Array, "batch width"]
    moments: (
        Any  # of batch norms, the same in every row; their mean over the rows is that of all parts
    )


def draw(batch: Images, key: Array) -> Examples:
    """Nothing is made yet: a microbatch makes the views of its own rows."""
    rows = batch.pixels.shape[0]
    weights, total = share_evenly(jnp.ones(rows, bool))
    return Examples(batch.pixels, example_keys(key, rows), weights, jnp.broadcast_to(total, rows))


def make_views(
    examples: Examples, first: Views, second: Views
) -> Float[Array, "views height width channels"]:
    """Both views of every image, beside each other, so that no row is moved: 2 x batch rows."""
    views = [
        kind(examples.pixels, fold(examples.keys, number))
        for number, kind in enumerate((first, second))
    ]
    return beside(*views)


def beside(first: Array, second: Array) -> Array:
    """Rows 2 i and 2 i + 1 are rows i of both."""
    return jnp.stack([first, second], axis=1).reshape(-1, *first.shape[1:])


def halves(rows: Array) -> tuple[Array, Array]:
    """What `beside` was given."""
    pairs = rows.reshape(-1, 2, *rows.shape[1:])
    return pairs[:, 0], pairs[:, 1]


def embed_views(
    model: JointEmbedding,
    state: Any,
    examples: Examples,
    kinds: tuple[Views, Views],
    key: Array | None,
) -> Embeddings:
    """Projections of both views of every image, for a contrast of all rows."""
    views = make_views(examples, *kinds)
    projected, moments = project(model, views, key=key, statistics=statistics_for(state, key))
    first, second = halves(projected)
    return Embeddings(first, second, in_every_row(moments, len(first)))


def metrics_of(loss: Float[Array, ""], examples: Examples, first: Array, second: Array) -> Metrics:
    """The loss, a sum under weights that add up to one, and how the embeddings of these rows lie."""
    total = examples.total[0]
    images = examples.weights.sum() * total
    return {"loss": Ratio(loss * total, images), **geometry(first, second)}


def check_widths(name: str, widths: tuple[int, ...], last: int | None = None) -> None:
    """Raises InputError where these are no widths of layers, or do not end with `last`."""
    if not widths or min(widths) < 1:
        raise InputError(f"{name}={widths} must be the widths of its layers, e.g. (2048, 128)")
    if last is not None and widths[-1] != last:
        raise InputError(f"{name}={widths} must end with {last}, the width of the projections")


def view_flops(encoder: Encoder, views: Views, spec: Any, *heads: int) -> float:
    """Of one view of an image: the encoder, and layers behind it of these widths."""
    height, width = views.size or (spec.height, spec.width)
    own = encoder.forward_flops(height, width, spec.channels)
    return own + head_flops(encoder.features, *heads)
