"""Linear layer, embedding, norms and feed-forward part: float32 parameters, computed in the input's type.

A kernel is [inputs, outputs], so that optimizers which factor or orthogonalise it see a matrix.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from jaxssl.models.layers.remat import kept
from jaxssl.sharding.layout import constrain, path_of
from jaxssl.sharding.lookup import look_up

Module = TypeVar("Module")
Rows = Float[Array, "batch length width"]
Activation = Callable[[Array], Array]


def _exact_type(x: Array) -> Any:
    """The type in which `x` is computed without rounding in between: float32, or float64 for float64."""
    return jnp.promote_types(jnp.float32, x.dtype)


def broadcast_last(vector: Array, like: Array) -> Array:
    """Reshapes `vector` `[n]` to `[1, ..., 1, n]`, of as many axes as `like` has and in its type."""
    return vector.astype(like.dtype).reshape((1,) * (like.ndim - 1) + vector.shape)


class Linear(nnx.Module):
    """Dense layer, x @ kernel + bias.

    Args:
      key: Random key of the initial kernel.
      inputs: Width of what is read.
      outputs: Width of what is computed.
      stddev: Standard deviation of the initial kernel; the bias starts at zero.
      bias: Whether there is a bias.
    """

    def __init__(self, key: Array, inputs: int, outputs: int, *, stddev: float, bias: bool = True):
        self.kernel = nnx.Param(stddev * jax.random.normal(key, (inputs, outputs)))
        self.bias = nnx.Param(jnp.zeros(outputs)) if bias else None

    def __call__(
        self, x: Float[Array, "... inputs"], *, as_logits: bool = False
    ) -> Float[Array, "... outputs"]:
        """Maps `x` `[..., inputs]` to `[..., outputs]`.

        Args:
          x: What is read.
          as_logits: Whether the sums of products stay in float32, as a softmax takes them, and are not
            rounded to the type of `x`.

        Returns:
          The outputs, in the type of `x` or in float32.
        """
        # As a matrix of rows: XLA on CPU copies transposes for the kernel's gradient otherwise.
        rows = jnp.matmul(
            x.reshape(-1, x.shape[-1]),
            self.kernel[...].astype(x.dtype),
            preferred_element_type=_exact_type(x) if as_logits else None,
        )
        y = rows.reshape(*x.shape[:-1], rows.shape[-1])
        if self.bias is None:
            return y
        # Added in float32, in which the gradient of the bias is summed over rows then.
        exact = y.astype(_exact_type(y))
        return (exact + broadcast_last(self.bias[...], exact)).astype(y.dtype)


def with_kernels_in(module: Module, dtype: Any) -> Module:
    """Casts the kernels of a module's dense layers to the type that their products are computed in.

    A loop over stacked layers then reads them in that type and does not cast them in every iteration,
    forward and backward; the result is the same. Biases, norms and all other parameters stay as they are.

    Args:
      module: A module, whose arrays may be stacked.
      dtype: Type of the states that its dense layers read.

    Returns:
      The module with cast kernels. Their gradients are rounded to this type, layer by layer, and then
      converted back, as where `Linear` itself casts.
    """

    def cast(part: Any) -> Any:
        return jax.tree_util.tree_map_with_path(cast_kernel, part) if is_dense(part) else part

    def cast_kernel(path: Any, array: Array) -> Array:
        return array.astype(dtype) if path_of(path) == "kernel" else array

    def is_dense(part: Any) -> bool:
        return isinstance(part, Linear)

    return jax.tree.map(cast, module, is_leaf=is_dense)


class Embedding(nnx.Module):
    """Table `[size, width]` whose rows are looked up.

    Args:
      key: Random key of the initial table.
      size: Number of rows.
      width: Width of a row.
      stddev: Standard deviation of the initial table.
    """

    def __init__(self, key: Array, size: int, width: int, *, stddev: float):
        self.embedding = nnx.Param(stddev * jax.random.normal(key, (size, width)))

    def __call__(
        self, ids: Int[Array, "batch length"], axis: str | None = None
    ) -> Float[Array, "batch length width"]:
        """Looks up rows of the table.

        Args:
          ids: Numbers of rows, `[batch, length]`.
          axis: Logical axis of the table's rows, "vocab" for tokens. `None`: a small table, which every
            device gathers.

        Returns:
          Rows, float32 `[batch, length, width]`; NaN for an id that no row has, on every mesh.
        """
        table = self.embedding[...]
        found = look_up(table, ids) if axis == "vocab" else None
        if found is None:
            found = constrain(constrain(table, axis, None)[ids], "batch", None, None)
        is_known = (ids >= 0) & (ids < table.shape[0])
        return jnp.where(is_known[:, :, None], found, jnp.nan)


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def standardize(x: Float[Array, "... width"], epsilon: float) -> Float[Array, "... width"]:
    """Computes (x - mean) / sqrt(variance + epsilon) over the last axis of `x` `[..., width]`, in float32."""
    return _standardized(x, epsilon)[0]


@standardize.defjvp
def _standardize_rule(epsilon: float, primals: Any, tangents: Any) -> tuple[Array, Array]:
    # With the derivative written out, its two means over a row are computed in one pass.
    (x,), (tangent,) = primals, tangents
    y, inverse = _standardized(x, epsilon)
    exact = tangent.astype(jnp.float32)
    common = exact.mean(axis=-1, keepdims=True) + y * (y * exact).mean(axis=-1, keepdims=True)
    return y, inverse * (exact - common)


def _standardized(x: Array, epsilon: float) -> tuple[Array, Array]:
    """The result of `standardize`, and the inverse standard deviation of every row."""
    exact = x.astype(jnp.float32)
    mean = exact.mean(axis=-1)
    if x.dtype.itemsize < 4:
        # In one pass; the difference loses less than the rounding of x has lost.
        variance = jnp.maximum(jnp.square(exact).mean(axis=-1) - jnp.square(mean), 0.0)
    else:
        variance = jnp.square(exact - mean[..., None]).mean(axis=-1)
    mean, inverse = kept(mean), kept(jax.lax.rsqrt(variance + epsilon))
    return (exact - mean[..., None]) * inverse[..., None], inverse[..., None]


class LayerNorm(nnx.Module):
    """Layer norm, (x - mean) / sqrt(variance + epsilon) * scale + bias over the last axis, in float32.

    Args:
      width: Width of the last axis.
      epsilon: Number added to the variance.
      bias: Whether there is a bias.

    References:
      Ba et al. 2016, "Layer normalization".
    """

    def __init__(self, width: int, *, epsilon: float, bias: bool = True):
        self.epsilon = epsilon
        self.scale = nnx.Param(jnp.ones(width))
        self.bias = nnx.Param(jnp.zeros(width)) if bias else None

    def __call__(self, x: Float[Array, "... width"]) -> Float[Array, "... width"]:
        """Normalises `x` `[..., width]`; the result is in its type."""
        exact = standardize(x, self.epsilon)
        y = exact * broadcast_last(self.scale[...], exact)
        y = y if self.bias is None else y + broadcast_last(self.bias[...], y)
        return y.astype(x.dtype)


class RMSNorm(nnx.Module):
    """Root mean square norm, x / sqrt(mean(x^2) + epsilon) * scale over the last axis, in float32.

    Args:
      width: Width of the last axis.
      epsilon: Number added to the mean square.

    References:
      Zhang & Sennrich 2019, "Root mean square layer normalization".
    """

    def __init__(self, width: int, *, epsilon: float):
        self.epsilon = epsilon
        self.scale = nnx.Param(jnp.ones(width))

    def __call__(self, x: Float[Array, "... width"]) -> Float[Array, "... width"]:
        """Normalises `x` `[..., width]`; the result is in its type."""
        exact = x.astype(jnp.float32)
        size = jnp.square(exact).mean(axis=-1, keepdims=True)
        y = exact * jax.lax.rsqrt(size + self.epsilon) * broadcast_last(self.scale[...], exact)
        return y.astype(x.dtype)


def make_norm(kind: str, width: int, *, epsilon: float, bias: bool) -> LayerNorm | RMSNorm:
    """Makes a norm over the last axis.

    Args:
      kind: "layer" or "rms".
      width: Width of the last axis.
      epsilon: Number added to the variance or the mean square.
      bias: Whether a layer norm has a bias; RMSNorm has none.

    Returns:
      A `LayerNorm` or `RMSNorm`.
    """
    if kind == "layer":
        return LayerNorm(width, epsilon=epsilon, bias=bias)
    return RMSNorm(width, epsilon=epsilon)


def _rounded_once(value_and_slope: Callable[[Array], tuple[Array, Array]]) -> Activation:
    """Makes an activation that is computed in float32 and rounded once to the type of its argument.

    In half precision the 1 + erf(x) of GELU would cancel for negative x. Where a gradient is asked for,
    the slope is computed beside the value and is all that is kept for the backward pass.

    Args:
      value_and_slope: Function of a float32 array that returns its values and its derivatives.
    """

    @jax.custom_jvp
    def activation(x: Array) -> Array:
        return value_and_slope(x.astype(_exact_type(x)))[0].astype(x.dtype)

    @activation.defjvp
    def rule(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
        (x,), (tangent,) = primals, tangents
        value, slope = value_and_slope(x.astype(_exact_type(x)))
        return value.astype(x.dtype), slope.astype(x.dtype) * tangent

    return activation


def _gelu(x: Array) -> tuple[Array, Array]:
    # With erf as in PyTorch; `jax.nn.gelu` uses erfc, which takes twice as long on a CPU.
    below = 0.5 * (1 + jax.lax.erf(x * 0.5**0.5))
    density = jnp.exp(-0.5 * jnp.square(x)) / (2 * jnp.pi) ** 0.5
    return x * below, below + x * density


def _gelu_tanh(x: Array) -> tuple[Array, Array]:
    # (1 + tanh(u)) / 2 = sigmoid(2 u), which does not cancel.
    factor = 2 * (2 / jnp.pi) ** 0.5
    below = jax.nn.sigmoid(factor * (x + 0.044715 * x**3))
    inner = factor * (1 + 3 * 0.044715 * jnp.square(x))
    return x * below, below + x * below * (1 - below) * inner


def _silu(x: Array) -> tuple[Array, Array]:
    share = jax.nn.sigmoid(x)
    return x * share, share * (1 + x * (1 - share))


def _quick_gelu(x: Array) -> tuple[Array, Array]:
    share = jax.nn.sigmoid(1.702 * x)
    return x * share, share * (1 + 1.702 * x * (1 - share))


def gelu(x: Array) -> Array:
    """Computes GELU, `x` `[...]` times the standard normal distribution function of `x`.

    It is computed in float32 and rounded once to the type of `x`.

    References:
      Hendrycks & Gimpel 2016, "Gaussian error linear units".
    """
    return _GELU(x)


_GELU, _GELU_TANH, _SILU, _QUICK_GELU = (
    _rounded_once(function) for function in (_gelu, _gelu_tanh, _silu, _quick_gelu)
)

# Name of an activation -> its function, and whether a second kernel gates it.
ACTIVATIONS: dict[str, tuple[Activation, bool]] = {
    "gelu": (gelu, False),
    "gelu_tanh": (_GELU_TANH, False),
    "quick_gelu": (_QUICK_GELU, False),
    "relu": (jax.nn.relu, False),
    "silu": (_SILU, False),
    "swiglu": (_SILU, True),
    "geglu": (gelu, True),
    "geglu_tanh": (_GELU_TANH, True),
}


class FeedForward(nnx.Module):
    """Feed-forward part: down(f(up(x))), or down(f(gate(x)) * up(x)) for the gated activations.

    Args:
      key: Random key of the initial kernels.
      width: Width of the states.
      inner: Width between the two layers.
      activation: Key of `ACTIVATIONS`.
      bias: Whether the layers have biases.
      stddev: Standard deviation of the initial kernels but the last.
      out_stddev: Standard deviation of the initial kernel of the last layer.

    References:
      Vaswani et al. 2017, section 3.3; Shazeer 2020, "GLU variants improve transformer".
    """

    def __init__(
        self,
        key: Array,
        width: int,
        inner: int,
        *,
        activation: str,
        bias: bool,
        stddev: float,
        out_stddev: float,
    ):
        first, second, third = jax.random.split(key, 3)
        self.activation = activation
        self.up = Linear(first, width, inner, stddev=stddev, bias=bias)
        self.down = Linear(second, inner, width, stddev=out_stddev, bias=bias)
        gated = ACTIVATIONS[activation][1]
        self.gate = Linear(third, width, inner, stddev=stddev, bias=bias) if gated else None

    def __call__(self, x: Rows) -> Rows:
        """Maps states `x` `[batch, length, width]` to states of the same shape and type."""
        function = ACTIVATIONS[self.activation][0]
        up = kept(self.up(x))
        return self.down(function(up) if self.gate is None else function(kept(self.gate(x))) * up)
