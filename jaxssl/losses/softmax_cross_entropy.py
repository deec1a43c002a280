"""Softmax cross-entropy from logits, with label smoothing and z-loss.

nll_i    = log sum_c exp(z_ic) - z_i,target_i
smoothed = (1 - s) nll_i + s mean_c(log sum exp(z_i) - z_ic)      (Szegedy et al. 2016, section 7)
z-loss   = k (log sum_c exp(z_ic))^2, added to the loss           (Chowdhery et al. 2022, section 5)

i    example (any number of leading axes)      z    logits        s    label_smoothing
c    class                                     w    weights       k    z_loss
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxssl.losses.arguments import (
    check_classes,
    check_factor,
    check_floats,
    check_part,
    check_range,
    checked_weights,
    without_ignored,
)
from jaxssl.losses.axes import AxisName
from jaxssl.losses.precision import softmax_type
from jaxssl.losses.weighting import keep_used, sum_weighted, weighted_mean


def cross_entropy(
    logits: Float[Array, "*rows classes"],
    targets: Int[Array, "*rows"],
    weights: Float[Array, "*rows"] | Bool[Array, "*rows"] | None = None,
    *,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    ignore_index: int | None = None,
    axis_name: AxisName = None,
    normalize: bool = True,
) -> Float[Array, ""]:
    """Computes the weighted mean of the softmax cross-entropy of every example.

        loss = sum_i w_i (log sum_c exp(z_ic) - z_i,target_i) / sum_i w_i

    The softmax is computed in float32 whatever the type of the logits (in float64 for float64
    logits). Where a weight is 0, the logits may hold anything, NaN included, and the target may be
    any integer. If all weights are 0, the loss and its gradient are 0.

    Args:
      logits: Unnormalised scores, `[..., classes]`, in any floating-point type.
      targets: Index of the right class of every example, `[...]`. A target below 0 or beyond the
        last class that has a weight raises ValueError, or makes the loss NaN where it is traced, so
        that the mistake is noticed.
      weights: Non-negative weight of every example, `[...]`, or a mask. `None` weights all examples
        by 1.
      label_smoothing: Share of the target distribution, 0 to 1, that is spread evenly over all
        classes.
      z_loss: Factor of the squared logarithm of the softmax normaliser, which keeps logits small. 0
        leaves the term out.
      ignore_index: Target that marks examples without a loss, for instance -100 as in PyTorch: they
        get weight 0. `None` marks none.
      axis_name: Mapped axis (of `pmap`, `vmap` or `shard_map`) over which the examples are sharded.
        Losses and weights are then summed over all its devices, so value and gradient are those of
        the global batch (`jaxssl.losses.axes` describes the convention).
      normalize: Whether the sum is divided by the sum of the weights. `False` returns the weighted
        sum itself, for weights that add up to one over the global batch already.

    Returns:
      Scalar loss in nats, float32.

    Raises:
      ValueError: The shapes or types do not fit, or a number is outside its range.

    References:
      Szegedy et al. 2016, "Rethinking the Inception architecture for computer vision", section 7
      (label smoothing).
      Chowdhery et al. 2022, "PaLM: Scaling language modeling with Pathways", section 5 (z-loss).

    >>> import jax.numpy as jnp
    >>> logits = jnp.array([[2.0, 0.0], [0.0, 0.0]])
    >>> round(float(cross_entropy(logits, jnp.array([0, 1]), jnp.array([1.0, 3.0]))), 4)
    0.5516
    """
    check_targets(logits, targets)
    weights = checked_weights(weights, targets.shape, f"each of targets {targets.shape}")
    weights = without_ignored(targets, weights, ignore_index)
    check_range(targets, weights, logits.shape[-1], way_out=", or pass ignore_index=-100")
    losses = cross_entropy_per_example(
        keep_used(logits, weights),
        keep_used(targets, weights),
        label_smoothing=label_smoothing,
        z_loss=z_loss,
    )
    total, weight = sum_weighted(losses, weights), weights.astype(losses.dtype).sum()
    return weighted_mean(total, weight, axis_name=axis_name, normalize=normalize)


def cross_entropy_per_example(
    logits: Float[Array, "*rows classes"],
    targets: Int[Array, "*rows"],
    *,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    ignore_index: int | None = None,
) -> Float[Array, "*rows"]:
    """Computes the softmax cross-entropy of every example, unweighted.

    Args:
      logits: Unnormalised scores, `[..., classes]`.
      targets: Index of the right class of every example, `[...]`. A target outside the classes
        gives NaN.
      label_smoothing: As in `cross_entropy`.
      z_loss: As in `cross_entropy`.
      ignore_index: Target whose loss is 0, for instance -100. `None`: there is none.

    Returns:
      Losses in nats, `[...]`, float32.

    Raises:
      ValueError: The shapes or types do not fit, or a number is outside its range.

    References:
      Szegedy et al. 2016, section 7 (label smoothing). Chowdhery et al. 2022, section 5 (z-loss).

    >>> import jax.numpy as jnp
    >>> [round(x, 4) for x in cross_entropy_per_example(jnp.zeros((2, 4)), jnp.array([0, 3])).tolist()]
    [1.3863, 1.3863]
    """
    check_targets(logits, targets)
    check_smoothing(label_smoothing, z_loss)
    if ignore_index is not None:
        used = without_ignored(targets, jnp.ones(targets.shape, bool), ignore_index)
        losses = cross_entropy_per_example(
            keep_used(logits, used),
            keep_used(targets, used),
            label_smoothing=label_smoothing,
            z_loss=z_loss,
        )
        return jnp.where(used, losses, 0.0)
    logits = logits.astype(softmax_type(logits))
    log_sum = jax.nn.logsumexp(logits, axis=-1)
    # A negative index would count from the end; beyond the last class, JAX's gather gives NaN.
    positions = jnp.where(targets < 0, logits.shape[-1], targets)
    losses = log_sum - jnp.take_along_axis(logits, positions[..., None], axis=-1)[..., 0]
    if label_smoothing:
        uniform = log_sum - logits.mean(axis=-1)
        losses = (1 - label_smoothing) * losses + label_smoothing * uniform
    return losses + z_loss * jnp.square(log_sum) if z_loss else losses


def check_smoothing(label_smoothing: float, z_loss: float) -> None:
    """Raises ValueError if `label_smoothing` is not between 0 and 1, or `z_loss` is negative."""
    check_part(label_smoothing, "label_smoothing")
    check_factor(z_loss, "z_loss")


def check_targets(
    logits: Float[Array, "*rows classes"],
    targets: Int[Array, "*targets_shape"],
    name: str = "targets",
) -> None:
    """Raises ValueError unless `logits` are `[..., classes]` for integers `targets`, called `name`."""
    check_floats(logits=logits)
    if logits.ndim == 0 or logits.shape[-1] == 0:
        raise ValueError(f"logits of shape {logits.shape} must be [..., classes]")
    of = f"logits of shape {logits.shape}"
    check_classes(targets, logits.shape[:-1], logits.shape[-1], name=name, of=of)
