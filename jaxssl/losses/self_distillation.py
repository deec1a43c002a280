"""Losses against a teacher, whose weights are a moving average of the student's: BYOL and DINO.

    byol    2 - 2 cos(prediction, target)
    dino    mean over pairs of different views of -sum_d p_d log q_d
            p = softmax((teacher - center) / teacher_temperature)      q = softmax(student / temperature)

The teacher's side is not differentiated.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxssl.losses.arguments import (
    check_floats,
    check_part,
    check_temperature,
    checked_weights,
)
from jaxssl.losses.axes import AxisName
from jaxssl.losses.precision import softmax_type
from jaxssl.losses.unit_vectors import to_unit
from jaxssl.losses.weighting import keep_used, sum_weighted, weighted_mean


def byol(
    predictions: Float[Array, "batch dim"],
    targets: Float[Array, "batch dim"],
    weights: Float[Array, " batch"] | None = None,
    *,
    axis_name: AxisName = None,
    normalize: bool = True,
) -> Float[Array, ""]:
    """Computes the weighted mean of 2 - 2 cos(prediction, target), the squared distance of unit vectors.

    The published loss is the sum over both orders of the views: call the function for each and add.

    Args:
      predictions: Predictions of the student, `[batch, dim]`. They are normalised inside.
      targets: Projections of the teacher, in the same order, `[batch, dim]`. Not differentiated.
      weights: Non-negative weight of every row, `[batch]`. `None` weights all rows by 1.
      axis_name: Mapped axis (of `pmap`, `vmap` or `shard_map`) over which the batch is sharded.
        Value and gradient are then those of the global batch (`jaxssl.losses.axes` describes the
        convention).
      normalize: Whether the sum is divided by the sum of the weights. `False` returns the weighted
        sum itself.

    Returns:
      Scalar loss, float32. It is 0 if all weights are 0.

    Raises:
      ValueError: The shapes or types do not fit, or a number is outside its range.

    References:
      Grill et al. 2020, "Bootstrap your own latent: A new approach to self-supervised learning",
      equation 2.

    >>> import jax.numpy as jnp
    >>> float(byol(jnp.array([[2.0, 0.0]]), jnp.array([[0.0, 3.0]])))
    2.0
    """
    _check_targets(predictions, targets)
    weights = checked_weights(
        weights, predictions.shape[:-1], f"each row of predictions {predictions.shape}"
    )
    losses = byol_per_example(keep_used(predictions, weights), keep_used(targets, weights))
    total, weight = sum_weighted(losses, weights), weights.astype(losses.dtype).sum()
    return weighted_mean(total, weight, axis_name=axis_name, normalize=normalize)


def byol_per_example(
    predictions: Float[Array, "*rows dim"], targets: Float[Array, "*rows dim"]
) -> Float[Array, "*rows"]:
    """Computes 2 - 2 cos(prediction, target) for every row, unweighted.

    Args:
      predictions: Predictions of the student, `[..., dim]`.
      targets: Projections of the teacher, `[..., dim]`. Not differentiated.

    Returns:
      Losses, `[...]`, float32.

    Raises:
      ValueError: The shapes differ.

    References:
      Grill et al. 2020, equation 2.

    >>> import jax.numpy as jnp
    >>> byol_per_example(jnp.ones((1, 2)), jnp.array([[1.0, -1.0]])).tolist()
    [2.0]
    """
    _check_targets(predictions, targets)
    cosine = (to_unit(predictions) * to_unit(jax.lax.stop_gradient(targets))).sum(axis=-1)
    return 2 - 2 * cosine


def dino(
    student: Float[Array, "views batch dim"],
    teacher: Float[Array, "teacher_views batch dim"],
    center: Float[Array, " dim"],
    weights: Float[Array, " batch"] | None = None,
    *,
    temperature: float = 0.1,
    teacher_temperature: float | Float[Array, ""] = 0.04,
    axis_name: AxisName = None,
    normalize: bool = True,
) -> Float[Array, ""]:
    """Computes the cross-entropy of every view of the student with every other view of the teacher.

        loss = mean_i mean_{t != s} -sum_d p_tid log q_sid
        p = softmax((teacher - center) / teacher_temperature)      q = softmax(student / temperature)

    The teacher sees only the first views of the student (the large crops), in the same order; a
    view is not compared with itself.

    Args:
      student: Outputs of the student, `[views, batch, dim]`, at least two views.
      teacher: Outputs of the teacher for the first of these views, `[teacher_views, batch, dim]`.
        Not differentiated.
      center: Running mean of the teacher's outputs, `[dim]`, which the caller updates with
        `dino_center`.
      weights: Non-negative weight of every image, `[batch]`. `None` weights all images by 1.
      temperature: Positive number that divides the outputs of the student.
      teacher_temperature: Positive number that divides the outputs of the teacher; a lower one
        sharpens them.
      axis_name: Mapped axis (of `pmap`, `vmap` or `shard_map`) over which the batch is sharded.
        Value and gradient are then those of the global batch (`jaxssl.losses.axes` describes the
        convention).
      normalize: Whether to divide by the sum of the weights of all rows; `False` returns the
        weighted sum.

    Returns:
      Scalar loss in nats, float32. It is 0 if all weights are 0.

    Raises:
      ValueError: The shapes or types do not fit, a number is outside its range, or the student has
        fewer than two views or fewer than the teacher.

    References:
      Caron et al. 2021, "Emerging properties in self-supervised vision transformers", equation 3
      and algorithm 1.

    >>> import jax.numpy as jnp
    >>> round(float(dino(jnp.zeros((3, 2, 4)), jnp.zeros((2, 2, 4)), jnp.zeros(4))), 4)
    1.3863
    """
    _check_views(student, teacher, center)
    weights = checked_weights(weights, student.shape[1:2], f"each image of student {student.shape}")
    student, teacher = (
        jax.vmap(keep_used, in_axes=(0, None))(views, weights) for views in (student, teacher)
    )
    losses = dino_per_example(
        student, teacher, center, temperature=temperature, teacher_temperature=teacher_temperature
    )
    total, weight = sum_weighted(losses, weights), weights.astype(losses.dtype).sum()
    return weighted_mean(total, weight, axis_name=axis_name, normalize=normalize)


def dino_per_example(
    student: Float[Array, "views batch dim"],
    teacher: Float[Array, "teacher_views batch dim"],
    center: Float[Array, " dim"],
    *,
    temperature: float = 0.1,
    teacher_temperature: float | Float[Array, ""] = 0.04,
) -> Float[Array, " batch"]:
    """Computes the DINO loss of every image, the mean over the pairs of views, unweighted.

    Args:
      student: Outputs of the student, `[views, batch, dim]`.
      teacher: Outputs of the teacher for the first of these views, `[teacher_views, batch, dim]`.
      center: Running mean of the teacher's outputs, `[dim]`.
      temperature: Positive number that divides the outputs of the student.
      teacher_temperature: Positive number that divides the outputs of the teacher.

    Returns:
      Losses in nats, `[batch]`, float32.

    Raises:
      ValueError: The shapes or types do not fit, a number is outside its range, or the student has
        fewer than two views or fewer than the teacher.

    References:
      Caron et al. 2021, equation 3 and algorithm 1.

    >>> import jax.numpy as jnp
    >>> views = jnp.zeros((2, 1, 4))
    >>> [round(x, 4) for x in dino_per_example(views, views, jnp.zeros(4)).tolist()]
    [1.3863]
    """
    _check_views(student, teacher, center)
    check_temperature(temperature)
    check_temperature(teacher_temperature, "teacher_temperature")
    kind = softmax_type(student)
    logits = (teacher.astype(kind) - center[None, None].astype(kind)) / teacher_temperature
    wanted = jax.lax.stop_gradient(jax.nn.softmax(logits, axis=-1))
    guesses = jax.nn.log_softmax(student.astype(kind) / temperature, axis=-1)
    # The sum over all pairs of views is a product of two sums; the pairs of a view with itself are
    # then subtracted.
    crossed = -(wanted.sum(axis=0) * guesses.sum(axis=0)).sum(axis=-1)
    own = -(wanted * guesses[: len(teacher)]).sum(axis=(0, 2))
    return (crossed - own) / (len(teacher) * (len(student) - 1))


def dino_center(
    center: Float[Array, " dim"],
    teacher: Float[Array, "teacher_views batch dim"],
    weights: Float[Array, " batch"] | None = None,
    *,
    momentum: float = 0.9,
    axis_name: AxisName = None,
) -> Float[Array, " dim"]:
    """Updates the running mean of the teacher's outputs, which DINO subtracts against collapse.

        new center = momentum * center + (1 - momentum) * mean of the teacher's outputs over the global batch

    Args:
      center: Running mean so far, `[dim]`.
      teacher: Outputs of the teacher, `[teacher_views, batch, dim]`.
      weights: Non-negative weight of every image in the mean, `[batch]`. `None` weights all images
        by 1.
      momentum: Share of the old center, 0 to 1.
      axis_name: Mapped axis over whose devices the mean is taken, or `None`.

    Returns:
      New center, `[dim]`, without gradient. It is the old one if all weights are 0.

    Raises:
      ValueError: The shapes or types do not fit, or a number is outside its range.

    References:
      Caron et al. 2021, "Emerging properties in self-supervised vision transformers", equation 4.

    >>> import jax.numpy as jnp
    >>> dino_center(jnp.zeros(2), jnp.ones((2, 3, 2)), momentum=0.5).tolist()
    [0.5, 0.5]
    """
    check_floats(center=center, teacher=teacher)
    check_part(momentum, "momentum")
    if teacher.ndim != 3 or center.shape != teacher.shape[2:]:
        raise ValueError(
            f"teacher {teacher.shape} must be [views, batch, dim], and center {center.shape} its [dim]"
        )
    weights = checked_weights(weights, teacher.shape[1:2], f"each image of teacher {teacher.shape}")
    weights = weights.astype(softmax_type(teacher))
    rows = keep_used(teacher.astype(weights.dtype).mean(axis=0), weights)
    total, weight = weights @ rows, weights.sum()
    if axis_name is not None:
        total, weight = jax.lax.psum((total, weight), axis_name)
    mean = total / jnp.where(weight > 0, weight, 1.0)
    moved = momentum * center + (1 - momentum) * mean
    return jax.lax.stop_gradient(jnp.where(weight > 0, moved, center))


def _check_targets(predictions: Array, targets: Array) -> None:
    """Raises ValueError unless both sides have the same shape."""
    check_floats(predictions=predictions, targets=targets)
    if predictions.ndim == 0:
        raise ValueError("predictions is a single number and must be [..., dim]")
    if predictions.shape != targets.shape:
        raise ValueError(
            f"targets of shape {targets.shape} must have the shape of predictions, {predictions.shape}"
        )


def _check_views(student: Array, teacher: Array, center: Array) -> None:
    """Raises ValueError unless the views of student and teacher and the center fit together."""
    check_floats(student=student, teacher=teacher, center=center)
    if student.ndim != 3 or teacher.ndim != 3 or student.shape[1:] != teacher.shape[1:]:
        raise ValueError(
            f"student {student.shape} and teacher {teacher.shape} must be [views, batch, dim] with the "
            "same batch and dim"
        )
    if len(student) < max(2, len(teacher)):
        raise ValueError(
            f"student has {len(student)} views and teacher {len(teacher)}: the student needs two or "
            "more, the teacher's first among them"
        )
    if center.shape != student.shape[2:]:
        raise ValueError(f"center of shape {center.shape} must be [{student.shape[2]}]")
