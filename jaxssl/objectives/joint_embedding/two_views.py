"""The base of objectives that compare two views of every image: SimCLR, BYOL, SimSiam, Barlow Twins, VICReg.

    two views of image i -> encoder -> features -> projector -> projections [-> predictor -> predictions]
    the teacher, where there is one:  encoder -> features -> projector -> targets

`embed` computes the features of some rows; `contrast` runs the heads on the features of the whole batch at
once. So the batch norms of projectors and predictors normalise over the global batch, however it is split
into microbatches: they couple its rows as a contrast does. They, and those of the encoder, take one view of
all images at a time, as the authors' code of all of these does but SimCLR's, where they take both together.

Deviations from the papers that all of them share, with the reason for each:
  - Kernels of the heads are drawn with a variance of 2 / inputs (He et al. 2015); theirs by the defaults of
    their frameworks, 1 / (3 inputs) in PyTorch's and 1 / inputs in Haiku's, SimCLR's with a standard
    deviation of 0.01 (one class of heads).
  - The encoder is any network; theirs is a ResNet-50. Its batch norms see the rows of one microbatch, theirs
    those of all devices (a microbatch that saw the others could not be computed without them).
  - Views are resized, blurred and changed in colour as torchvision does; SimCLR and BYOL use other formulas,
    which `augment/recipes.py` lists (one implementation, that of the later papers).
  - The update rule, weight decay and learning rate are those of a recipe. Its LARS multiplies by the learning
    rate before the momentum, as SimCLR's does; that of BYOL, Barlow Twins and VICReg after it.

    batch      images of a batch             views   2 x batch; rows 2 i and 2 i + 1 are the views of image i
    features   numbers that the encoder      width   numbers of a projection
               makes of a view
"""

import dataclasses
from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, NamedTuple, final

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxssl.augment import Augmentation, fold
from jaxssl.errors import InputError
from jaxssl.models.layers.mlp import HeadNorm
from jaxssl.models.pretraining.joint_embedding import Encoder, JointEmbedding
from jaxssl.objectives.batches.batch import Images
from jaxssl.objectives.batches.keyed_images import KeyedImages, Metrics, draw, mean_metrics
from jaxssl.objectives.contract import ContrastiveObjective
from jaxssl.objectives.joint_embedding.batch_statistics import (
    OWN,
    TEACHERS,
    first_statistics,
    in_every_row,
    over_rows,
    statistics_for,
    update_statistics,
)
from jaxssl.objectives.joint_embedding.geometry import geometry
from jaxssl.objectives.joint_embedding.teacher import Momentum, follow, teacher_of

Pairs = Float[Array, "batch 2 width"]


class Embeddings(NamedTuple):
    """What each row contributes to a comparison of all rows."""

    features: Float[Array, "batch 2 features"]
    """Features of both views of every image."""
    moments: Any
    """Moments of the encoder's batch norms, repeated for every row; None in evaluation."""
    teacher: Float[Array, "batch 2 features"] | None = None
    """The teacher's features of both views, without gradient; None where there is no teacher."""
    teacher_moments: Any = None
    """Moments of the batch norms of the teacher's encoder, as `moments`."""


class Projections(NamedTuple):
    """What the heads make of the features of a batch."""

    projected: Pairs
    """Projections of both views."""
    predicted: Pairs
    """What the predictor makes of the projections; the projections themselves without a predictor."""
    targets: Pairs
    """The teacher's projections; the projections themselves without a teacher."""


class TwoViews(ContrastiveObjective):
    """An objective on two views of every image; a subclass has the fields below and writes `compare`."""

    corrupts_rows_apart: ClassVar[bool] = True
    """Whether `corrupt` takes every row by itself."""

    encoder: Encoder
    """Configuration of the network for images."""
    views: Augmentation | tuple[Augmentation, Augmentation]
    """Augmentation of both views, or one for each."""
    projector: tuple[int, ...]
    """Widths of the projector's layers."""
    predictor: tuple[int, ...] = ()
    """Widths of the predictor's layers; `()` for no predictor."""
    norm: HeadNorm
    """Norm between the layers of the heads."""
    views_apart: ClassVar[bool] = True
    """Whether batch norms take one view of all images at a time."""
    norm_projections: ClassVar[bool] = False
    """Whether, with batch norms, the projections are normalised, too."""
    momentum: Momentum | None = None
    """Momentum of the teacher; None for no teacher."""

    @abstractmethod
    def compare(self, rows: Projections, weights: Float[Array, " batch"]) -> Float[Array, ""]:
        """Computes the loss of the global batch.

        Args:
          rows: Projections, predictions and targets, `[batch, 2, width]` each.
          weights: Weights of the images, `[batch]`, which add up to one.

        Returns:
          Scalar loss.
        """

    @final
    def check_fields(self, *, with_predictor: bool = False) -> None:
        """Raises `InputError` where the views differ in size or the widths of a head do not fit.

        `with_predictor`: the objective needs a predictor, whose outputs are as wide as the projections.
        """
        first, second = (kind.size for kind in self._both_views)
        if first != second:
            raise InputError(
                f"views: sizes {first} and {second} cannot be embedded together; set one size for both"
            )
        check_widths("projector", self.projector)
        if with_predictor:
            check_widths("predictor", self.predictor, last=self.projector[-1])

    @final
    def init(self, key: Array, spec: Any) -> JointEmbedding:
        """Makes encoder, projector and predictor for images as in `spec`, with parameters drawn by `key`."""
        return JointEmbedding(
            key,
            self.encoder,
            spec.channels,
            projector=self.projector,
            predictor=self.predictor,
            norm=self.norm,
            norm_projections=self.norm_projections,
        )

    @final
    def init_state(self, model: JointEmbedding) -> Any:
        """Makes the running statistics of batch norms and, with `momentum`, a teacher: a copy of `model`."""
        state = {OWN: first_statistics(model)}
        if self.momentum is None:
            return state
        teacher = teacher_of(model)
        return {**state, "teacher": teacher, TEACHERS: first_statistics(teacher)}

    @final
    def for_run(self, steps: int) -> Any:
        """Returns the objective with the momentum of a run of `steps` steps."""
        if self.momentum is None:
            return self
        changed: Any = self
        return dataclasses.replace(changed, momentum=self.momentum.for_run(steps))

    @final
    def follow(self, state: Any, model: JointEmbedding, step: Int[Array, ""]) -> Any:
        """Moves the teacher in `state` towards `model` by the momentum of this `step`, a scalar."""
        if self.momentum is None:
            return state
        return {**state, "teacher": follow(state["teacher"], model, self.momentum.at(step))}

    @final
    def corrupt(self, batch: Images, key: Array) -> KeyedImages:
        """Gives every image of the global `batch` a random key of its own, made from `key`, and a weight."""
        return draw(batch, key)

    @final
    def embed(
        self, model: JointEmbedding, state: Any, examples: KeyedImages, key: Array | None
    ) -> Embeddings:
        """Computes the features of both views of some images.

        Args:
          model: Encoder and heads.
          state: Running statistics of batch norms, and the teacher where there is one.
          examples: Images with their keys.
          key: Random key of dropout; None in evaluation, where batch norms take the running statistics.

        Returns:
          Features, `[batch, 2, features]`.
        """
        views = make_views(examples, self._both_views)
        own = statistics_for(state, key)
        features, moments = self._run(
            model.encoder, views, None if own is None else own["encoder"], key=key
        )
        made = Embeddings(features, None if key is None else in_every_row(moments, len(features)))
        if self.momentum is None:
            return made
        own = statistics_for(state, key, TEACHERS)
        features, moments = self._run(
            state["teacher"].encoder, views, None if own is None else own["encoder"]
        )
        targets = jax.lax.stop_gradient(features)
        rows = None if key is None else in_every_row(moments, len(targets))
        return made._replace(teacher=targets, teacher_moments=rows)

    @final
    def contrast(
        self, model: JointEmbedding, state: Any, embeddings: Embeddings, examples: KeyedImages
    ) -> tuple[Float[Array, ""], tuple[Any, Metrics]]:
        """Computes the loss of the global batch from the features of all its rows.

        Args:
          model: Encoder and heads.
          state: Running statistics of batch norms, and the teacher where there is one.
          embeddings: What `embed` has made of all rows, `[batch, 2, features]`.
          examples: The images of the global batch.

        Returns:
          The loss, a scalar, and (the state with moved statistics, metrics by name).
        """
        projected, predicted, after = self.run_heads(model, state, embeddings)
        targets = projected
        if embeddings.teacher is not None:
            targets, after = self._run_teacher_head(state, after, embeddings)
        loss = self.compare(Projections(projected, predicted, targets), examples.weights)
        return loss, (after, metrics_of(loss, examples, projected[:, 0], projected[:, 1]))

    @final
    def run_heads(
        self, model: JointEmbedding, state: Any, embeddings: Embeddings
    ) -> tuple[Pairs, Pairs, Any]:
        """Runs projector and predictor on the features of all views.

        Args:
          model: Encoder and heads.
          state: Running statistics of batch norms, used where `embeddings` have no moments (in evaluation).
          embeddings: Features, `[batch, 2, features]`.

        Returns:
          Projections and predictions, `[batch, 2, width]` each (the same without a predictor), and the state
          with its statistics moved towards the moments of this batch.
        """
        evaluated = embeddings.moments is None
        own = state["statistics"] if evaluated else {}
        projected, found = self._run(model.projector, embeddings.features, own.get("projector"))
        predicted, moments = projected, {"projector": found}
        if model.predictor is not None:
            predicted, moments["predictor"] = self._run(
                model.predictor, projected, own.get("predictor")
            )
        if not evaluated:
            state = update_statistics(state, {"encoder": over_rows(embeddings.moments), **moments})
        return projected, predicted, state

    def _run_teacher_head(
        self, state: Any, after: Any, embeddings: Embeddings
    ) -> tuple[Pairs, Any]:
        """Runs the teacher's projector on the teacher's features of all views.

        Args:
          state: The teacher, and the running statistics of its batch norms, which are used in evaluation.
          after: State in which these statistics are moved towards the moments of this batch.
          embeddings: The teacher's features, `[batch, 2, features]`, and the moments of its encoder.

        Returns:
          The targets, `[batch, 2, width]`, and the state after this batch.
        """
        evaluated, features = embeddings.teacher_moments is None, embeddings.teacher
        assert features is not None  # there is a teacher
        own = state[TEACHERS]["projector"] if evaluated else None
        targets, moments = self._run(state["teacher"].projector, features, own)
        if not evaluated:
            found = {"encoder": over_rows(embeddings.teacher_moments), "projector": moments}
            after = update_statistics(after, found, TEACHERS)
        return targets, after

    def _run(
        self, network: Any, pairs: Array, statistics: Any, **options: Any
    ) -> tuple[Pairs, Any]:
        has_batch_norms = bool(jax.tree.leaves(network.first_statistics()))
        apart = self.views_apart and has_batch_norms and statistics is None
        run = partial(network, statistics=statistics, **options)
        return on_both_views(run, pairs, apart=apart)

    @property
    def _both_views(self) -> tuple[Augmentation, Augmentation]:
        return self.views if isinstance(self.views, tuple) else (self.views, self.views)


def make_views(
    examples: KeyedImages, kinds: tuple[Augmentation, Augmentation]
) -> Float[Array, "batch 2 height width channels"]:
    """Makes two views of every image, `[batch, 2, height, width, channels]`.

    Args:
      examples: Images with their keys.
      kinds: Augmentation of the first and of the second view.

    Returns:
      Both views of an image beside each other, so that no row moves to another device.
    """
    made = [kind(examples.pixels, fold(examples.keys, i)) for i, kind in enumerate(kinds)]
    return jnp.stack(made, axis=1)


def on_both_views(
    run: Callable[[Array], tuple[Array, Any]],
    pairs: Float[Array, "batch 2 ..."],
    *,
    apart: bool,
) -> tuple[Pairs, Any]:
    """Runs an encoder or a head on both views of every image.

    Args:
      run: Function of rows that returns outputs, `[rows, width]`, and the moments of its batch norms.
      pairs: What it reads, `[batch, 2, ...]`.
      apart: Whether it reads one view of all images at a time, so that moments are those of a view. The mean
        of both is returned then.

    Returns:
      The outputs, `[batch, 2, width]`, and the moments.
    """
    if apart:
        made = [run(pairs[:, view]) for view in range(2)]
        outputs = jnp.stack([one[0] for one in made], axis=1)
        return outputs, jax.tree.map(lambda a, b: (a + b) / 2, made[0][1], made[1][1])
    outputs, moments = run(pairs.reshape(-1, *pairs.shape[2:]))
    return outputs.reshape(-1, 2, outputs.shape[-1]), moments


def metrics_of(
    loss: Float[Array, ""], examples: KeyedImages, first: Array, second: Array
) -> Metrics:
    """Returns the loss and the geometry of the embeddings (`geometry.py`) as metrics.

    Args:
      loss: Scalar loss, a sum under weights that add up to one.
      examples: The images that it was computed of.
      first: Embeddings of the first views, `[batch, width]`.
      second: Embeddings of the second views, `[batch, width]`.
    """
    return {**mean_metrics(examples, loss=loss), **geometry(first, second, examples.weights > 0)}


def check_widths(name: str, widths: tuple[int, ...], last: int | None = None) -> None:
    """Checks the widths of the layers of a head.

    Args:
      name: Name of the field, for the message.
      widths: Widths of the layers behind the inputs.
      last: Required width of the last layer; None for any.

    Raises:
      InputError: There is no layer, a width is below 1, or the last is not `last`.
    """
    if not widths or min(widths) < 1:
        raise InputError(f"{name}={widths} must be the widths of its layers, e.g. (2048, 128)")
    if last is not None and widths[-1] != last:
        raise InputError(f"{name}={widths} must end with {last}, the width of the projections")
