"""Every public loss as a function of (parameters, batch, axis_name): the rows of the topology table."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxssl import losses

ROWS, DIM, VOCAB = 32, 4, 7
Batch = dict[str, jax.Array]


def make_batch(uneven: bool) -> Batch:
    """Uneven: the first half has most of the weight, one device in eight nothing at all."""
    random = np.random.default_rng(0)
    weights = np.ones(ROWS)
    if uneven:
        weights = random.uniform(0.1, 1, ROWS) * np.where(np.arange(ROWS) < 16, 4, 1)
        weights[[1, 2, 3, 17]] = 0
        weights[-4:] = 0
    return {
        "first": jnp.asarray(random.normal(size=(ROWS, DIM)), jnp.float32),
        "second": jnp.asarray(random.normal(size=(ROWS, DIM)), jnp.float32),
        "negatives": jnp.asarray(random.normal(size=(ROWS, 3, DIM)), jnp.float32),
        "targets": jnp.asarray(random.integers(0, VOCAB, ROWS)),
        "labels": jnp.asarray(random.integers(0, 2, ROWS)),
        "weights": jnp.asarray(weights, jnp.float32),
        "other_weights": jnp.asarray(weights[::-1].copy(), jnp.float32),
    }


def make_params() -> dict[str, jax.Array]:
    random = np.random.default_rng(1)
    return {
        "matrix": jnp.asarray(random.normal(size=(DIM, DIM)), jnp.float32),
        "kernel": jnp.asarray(random.normal(size=(VOCAB, DIM)), jnp.float32),
        "temperature": jnp.asarray(0.3, jnp.float32),
        "bias": jnp.asarray(-0.5, jnp.float32),
    }


def _token_loss(name: str) -> Callable[..., jax.Array]:
    """Losses whose rows stand for themselves: normalize=False makes them add up."""

    def loss(p: Any, b: Batch, **options: Any) -> jax.Array:
        hidden, weights = b["first"] @ p["matrix"], b["weights"]
        logits = hidden @ p["kernel"].T
        match name:
            case "masked_lm":
                return losses.masked_lm(
                    logits, b["targets"], weights, label_smoothing=0.1, z_loss=0.01, **options
                )
            case "cross_entropy":
                return losses.cross_entropy(logits, b["targets"], weights, **options)
            case "causal_lm":
                doubled = jnp.stack([logits, logits], axis=1)
                tokens = jnp.stack([b["labels"], b["targets"]], axis=1)
                pairs = jnp.stack([weights, weights], axis=1)
                return losses.causal_lm(doubled, tokens, pairs, **options)
            case "next_sentence":
                return losses.next_sentence(logits[:, :2], b["labels"], weights, **options)
            case "linear_cross_entropy":
                return losses.linear_cross_entropy(
                    hidden, p["kernel"], b["targets"], weights, block_size=2, z_loss=0.01, **options
                )
            case "replaced_token_detection":
                return losses.replaced_token_detection(
                    logits[:, 0], b["labels"] == 1, weights, **options
                )
            case "electra":
                valid = b["other_weights"]
                arrays = b["targets"], weights, b["labels"] == 1, valid
                return losses.electra(logits, logits[:, 0], *arrays, **options)
            case "negative_sampling":
                return losses.negative_sampling(
                    hidden, b["second"], b["negatives"], weights, **options
                )
            case "masked_reconstruction":
                return losses.masked_reconstruction(
                    hidden, b["second"], weights, normalize_target=True, **options
                )
            case "mean_squared_error":
                return losses.mean_squared_error(hidden, b["second"], weights, **options)
            case "byol":
                return losses.byol(hidden, b["second"], weights, **options)
            case "dino":
                views = jnp.stack([hidden, b["second"], hidden @ p["matrix"]])
                teacher = jnp.stack([b["second"], b["first"]])
                center = jnp.full(DIM, 0.1)
                return losses.dino(views, teacher, center, weights, temperature=0.5, **options)
        raise ValueError(name)

    return loss


def _batch_loss(name: str, block_size: int | None = None) -> Callable[..., jax.Array]:
    """Losses of all rows together."""

    def loss(p: Any, b: Batch, axis_name: str | None = None) -> jax.Array:
        first, second = b["first"] @ p["matrix"], b["second"] @ p["matrix"]
        return of_embeddings(p, (first, second, b["weights"]), axis_name)

    def of_embeddings(p: Any, rows: Any, axis_name: str | None) -> jax.Array:
        function = getattr(losses, name)
        if name in ("barlow_twins", "vicreg"):
            return function(*rows, axis_name=axis_name)
        options = {"temperature": p["temperature"], "axis_name": axis_name}
        options["block_size"] = block_size
        if name == "sigmoid_contrastive":
            options["bias"] = p["bias"]
        return function(*rows, **options)

    loss.of_embeddings = of_embeddings
    return loss


TOKEN_LOSSES = {
    name: _token_loss(name)
    for name in (
        "cross_entropy",
        "masked_lm",
        "causal_lm",
        "next_sentence",
        "linear_cross_entropy",
        "replaced_token_detection",
        "electra",
        "negative_sampling",
        "mean_squared_error",
        "masked_reconstruction",
        "byol",
        "dino",
    )
}
CONTRASTIVE = ("nt_xent", "info_nce", "sigmoid_contrastive")
BATCH_LOSSES = {name: _batch_loss(name) for name in ("barlow_twins", "vicreg", *CONTRASTIVE)} | {
    f"{name} in blocks": _batch_loss(name, 3) for name in CONTRASTIVE
}
ALL = TOKEN_LOSSES | BATCH_LOSSES
