"""Two views of every image of a batch, made on the device, and what they are embedded to.

Rows are embedded one by one, and their features travel; the heads run on those of the whole batch at once.
So the batch norms of projectors and predictors are over all views of the global batch, however it is cut
into microbatches: they couple its rows as a contrast does.

batch      images                       first, second   projections of an image's two views
features   of the encoder               width           of a projection
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxssl.augment import Augmentation, fold
from jaxssl.errors import InputError
from jaxssl.models.layers.mlp import MLP
from jaxssl.models.pretraining.joint_embedding import JointEmbedding
from jaxssl.objectives.batches.keyed_images import KeyedImages, Metrics, mean_metrics
from jaxssl.objectives.joint_embedding.batch_statistics import (
    in_every_row,
    moved,
    over_rows,
    statistics_for,
)
from jaxssl.objectives.joint_embedding.geometry import geometry

Pairs = Float[Array, "batch 2 width"]


class Embeddings(NamedTuple):
    """What each row gives to a contrast of all rows."""

    features: Float[Array, "batch 2 features"]
    moments: Any  # of the encoder's batch norms, in every row; None: those of the state are used


def make_views(
    examples: KeyedImages, kinds: tuple[Augmentation, Augmentation]
) -> Float[Array, "views height width channels"]:
    """Both views of every image, beside each other so that no row is moved: 2 x batch rows."""
    made = [kind(examples.pixels, fold(examples.keys, i)) for i, kind in enumerate(kinds)]
    return jnp.stack(made, axis=1).reshape(-1, *made[0].shape[1:])


def embed_views(
    model: JointEmbedding,
    state: Any,
    views: Float[Array, "views height width channels"],
    key: Array | None,
) -> Embeddings:
    """Features of what `make_views` has made."""
    own = statistics_for(state, key)
    features, moments = model.encoder(
        views, key=key, statistics=None if own is None else own["encoder"]
    )
    pairs = in_pairs(features)
    return Embeddings(pairs, None if key is None else in_every_row(moments, len(pairs)))


def in_pairs(rows: Float[Array, "views width"]) -> Pairs:
    """Rows 2 i and 2 i + 1 are the views of image i."""
    return rows.reshape(-1, 2, rows.shape[-1])


def run_heads(
    model: JointEmbedding, state: Any, embeddings: Embeddings
) -> tuple[Pairs, Pairs, Any]:
    """Projections of all views, what the predictor makes of them, and the state with its statistics.

    Without a predictor the second is the first.
    """
    evaluated = embeddings.moments is None
    own = state["statistics"] if evaluated else {}
    projected, found = run_head(model.projector, embeddings.features, own.get("projector"))
    predicted, moments = projected, {"projector": found}
    if model.predictor is not None:
        predicted, moments["predictor"] = run_head(model.predictor, projected, own.get("predictor"))
    if not evaluated:
        state = moved(state, {"encoder": over_rows(embeddings.moments), **moments})
    return projected, predicted, state


def run_head(head: MLP, pairs: Pairs, statistics: Any = None) -> tuple[Pairs, Any]:
    """A head on both views of every image, and moments of its batch norms over all of them."""
    outputs, moments = head(pairs.reshape(-1, pairs.shape[-1]), statistics=statistics)
    return in_pairs(outputs), moments


def metrics_of(
    loss: Float[Array, ""], examples: KeyedImages, first: Array, second: Array
) -> Metrics:
    """The loss, a sum under weights that add up to one, and how the embeddings of these rows lie."""
    return {**mean_metrics(examples, loss=loss), **geometry(first, second)}


def check_widths(name: str, widths: tuple[int, ...], last: int | None = None) -> None:
    """Raises InputError where these are no widths of layers, or do not end with `last`."""
    if not widths or min(widths) < 1:
        raise InputError(f"{name}={widths} must be the widths of its layers, e.g. (2048, 128)")
    if last is not None and widths[-1] != last:
        raise InputError(f"{name}={widths} must end with {last}, the width of the projections")


def check_sizes(views: tuple[Augmentation, Augmentation]) -> None:
    """Raises InputError where the two kinds of views have different sizes."""
    first, second = (kind.size for kind in views)
    if first != second:
        raise InputError(f"views of {first} and {second} cannot be embedded together; set one size")
