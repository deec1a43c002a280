"""Multi-layer perceptrons behind an encoder: projectors, predictors and classifiers."""

from typing import Any, Literal

import jax
from flax import nnx
from jaxtyping import Array, Float

from jaxssl.errors import InputError
from jaxssl.models.layers.convolution import BatchNorm, Statistics
from jaxssl.models.layers.dense import ACTIVATIONS, LayerNorm, Linear
from jaxssl.sharding.layout import constrain

HeadNorm = Literal["none", "layer", "batch"]


class MLP(nnx.Module):
    """Dense layers with a norm and an activation after all but the last, which may have a norm, too.

    Args:
      key: Random key of the initial kernels, whose standard deviation is sqrt(2 / inputs) (He et al. 2015).
      widths: Width of the inputs, of every hidden layer and of the outputs.
      norm: Norm after every layer but the last: "none", "layer", or "batch" over the global batch.
      norm_outputs: Whether batch norms are followed by one more, of the outputs, without scale and bias.
        The last layer then has no bias, which the norm would take away.
      activation: What follows every layer but the last.

    Raises:
      InputError: `widths` has fewer than two entries or one that is not positive.
    """

    layout = (
        (r"layers/\d+/kernel", ("embed", "mlp")),
        (r"layers/\d+/bias", ("mlp",)),
        (r"norms/\d+/(?:scale|bias)", (None,)),
    )

    def __init__(
        self,
        key: Array,
        widths: tuple[int, ...],
        *,
        norm: HeadNorm = "none",
        norm_outputs: bool = False,
        activation: Literal["relu", "gelu"] = "relu",
    ):
        if len(widths) < 2 or min(widths) < 1:
            raise InputError(
                f"widths={widths} must be at least inputs and outputs, all positive; set it to widths such "
                "as (512, 128)"
            )
        keys = jax.random.split(key, len(widths) - 1)
        sizes = list(zip(widths[:-1], widths[1:], strict=True))
        self.activation = activation
        norm_outputs = norm_outputs and norm == "batch"
        self.layers = nnx.List(
            Linear(
                one,
                inputs,
                outputs,
                stddev=(2 / inputs) ** 0.5,
                bias=number + 1 < len(sizes) or not norm_outputs,
            )
            for number, (one, (inputs, outputs)) in enumerate(zip(keys, sizes, strict=True))
        )
        norms: list[LayerNorm | BatchNorm] = [
            _norm(norm, outputs) for _, outputs in sizes[:-1] if norm != "none"
        ]
        if norm_outputs:
            norms.append(BatchNorm(widths[-1], affine=False))
        self.norms = nnx.List(norms)

    def __call__(
        self, x: Float[Array, "batch inputs"], *, statistics: Statistics = None
    ) -> tuple[Float[Array, "batch outputs"], Statistics]:
        """Computes the outputs.

        Args:
          x: Features, `[batch, inputs]`.
          statistics: Running statistics of the batch norms, which normalise by them. `None`: batch norms
            normalise by the moments of this batch.

        Returns:
          Outputs `[batch, outputs]`, and the moments that the batch norms used, `()` without batch norms.
        """
        own = statistics or [None] * len(self.norms)
        moments: list[Statistics] = []
        for i, layer in enumerate(self.layers):
            # Without a constraint XLA mixes up the rows of the gradient.
            x = constrain(layer(x), "batch", None)
            if i < len(self.norms):
                x, found = _normed(self.norms[i], x, own[i])
                moments.append(found)
            if i + 1 < len(self.layers):
                x = ACTIVATIONS[self.activation][0](x)
        return x, moments if self._is_batch else ()

    def first_statistics(self) -> Statistics:
        """Returns the running statistics of new batch norms; `()` without batch norms."""
        return [n.first_statistics() for n in self.norms if isinstance(n, BatchNorm)] or ()

    @property
    def _is_batch(self) -> bool:
        return any(isinstance(norm, BatchNorm) for norm in self.norms)


def _norm(kind: HeadNorm, width: int) -> LayerNorm | BatchNorm:
    return BatchNorm(width) if kind == "batch" else LayerNorm(width, epsilon=1e-6)


def _normed(norm: Any, x: Array, statistics: Statistics) -> tuple[Array, Statistics]:
    return norm(x, statistics) if isinstance(norm, BatchNorm) else (norm(x), ())
