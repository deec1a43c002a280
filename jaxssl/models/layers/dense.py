"""Linear, embedding, norm, feed-forward: float32 parameters, computed in the type of the input.

A kernel is [inputs, outputs]: optimizers that factor or orthogonalise it see a matrix.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from jaxssl.sharding.layout import constrain
from jaxssl.sharding.lookup import look_up

Rows = Float[Array, "batch length width"]


def along_last(vector: Array, like: Array) -> Array:
    """A vector in the type of `like`, with leading axes of one to stand beside it."""
    return vector.astype(like.dtype).reshape((1,) * (like.ndim - 1) + vector.shape)


class Linear(nnx.Module):
    """x @ kernel + bias."""

    def __init__(self, key: Array, inputs: int, outputs: int, *, stddev: float, bias: bool = True):
        self.kernel = nnx.Param(stddev * jax.random.normal(key, (inputs, outputs)))
        self.bias = nnx.Param(jnp.zeros(outputs)) if bias else None

    def __call__(self, x: Float[Array, "... inputs"]) -> Float[Array, "... outputs"]:
        # As a matrix of rows: XLA on CPU copies transposes for the kernel's gradient otherwise.
        rows = jnp.matmul(x.reshape(-1, x.shape[-1]), self.kernel[...].astype(x.dtype))
        y = rows.reshape(*x.shape[:-1], rows.shape[-1])
        return y if self.bias is None else y + along_last(self.bias[...], y)


class Embedding(nnx.Module):
    """Row `id` of a table [size, width]."""

    def __init__(self, key: Array, size: int, width: int, *, stddev: float):
        self.embedding = nnx.Param(stddev * jax.random.normal(key, (size, width)))

    def __call__(
        self, ids: Int[Array, "batch length"], axis: str | None = None
    ) -> Float[Array, "batch length width"]:
        """`axis` is the logical axis of the table's rows; a table without one is small, and gathered."""
        table = self.embedding[...]
        found = look_up(table, ids) if axis == "vocab" else None
        if found is not None:
            return found
        return constrain(constrain(table, axis, None)[ids], "batch", None, None)


def standardize(x: Float[Array, "... width"], epsilon: float) -> Float[Array, "... width"]:
    """(x - mean) / sqrt(variance + epsilon), in float32."""
    exact = x.astype(jnp.float32)
    centred = exact - exact.mean(axis=-1, keepdims=True)
    variance = jnp.square(centred).mean(axis=-1, keepdims=True)
    return centred * jax.lax.rsqrt(variance + epsilon)


class LayerNorm(nnx.Module):
    """(x - mean) / sqrt(variance + epsilon) * scale + bias, in float32 (Ba et al. 2016)."""

    def __init__(self, width: int, *, epsilon: float, bias: bool = True):
        self.epsilon = epsilon
        self.scale = nnx.Param(jnp.ones(width))
        self.bias = nnx.Param(jnp.zeros(width)) if bias else None

    def __call__(self, x: Float[Array, "... width"]) -> Float[Array, "... width"]:
        exact = standardize(x, self.epsilon)
        y = exact * along_last(self.scale[...], exact)
        y = y if self.bias is None else y + along_last(self.bias[...], y)
        return y.astype(x.dtype)


class RMSNorm(nnx.Module):
    """x / sqrt(mean(x^2) + epsilon) * scale, in float32 (Zhang and Sennrich 2019)."""

    def __init__(self, width: int, *, epsilon: float):
        self.epsilon = epsilon
        self.scale = nnx.Param(jnp.ones(width))

    def __call__(self, x: Float[Array, "... width"]) -> Float[Array, "... width"]:
        exact = x.astype(jnp.float32)
        size = jnp.square(exact).mean(axis=-1, keepdims=True)
        y = exact * jax.lax.rsqrt(size + self.epsilon) * along_last(self.scale[...], exact)
        return y.astype(x.dtype)


def make_norm(kind: str, width: int, *, epsilon: float, bias: bool) -> LayerNorm | RMSNorm:
    """`kind` is "layer" or "rms"; RMSNorm has no bias."""
    if kind == "layer":
        return LayerNorm(width, epsilon=epsilon, bias=bias)
    return RMSNorm(width, epsilon=epsilon)


def gelu(x: Array) -> Array:
    """x times the standard normal distribution function of x (Hendrycks and Gimpel 2016).

    Written with erf as torch does; `jax.nn.gelu` takes erfc, which costs twice as much on a CPU.
    """
    return x * 0.5 * (1 + jax.lax.erf(x * 0.5**0.5))


ACTIVATIONS = {  # name -> (function, whether a second kernel gates it)
    "gelu": (gelu, False),
    "gelu_tanh": (lambda x: jax.nn.gelu(x, approximate=True), False),
    "relu": (jax.nn.relu, False),
    "silu": (jax.nn.silu, False),
    "swiglu": (jax.nn.silu, True),
    "geglu": (gelu, True),
}


class FeedForward(nnx.Module):
    """down(f(up(x))), or down(f(gate(x)) * up(x)) for the gated activations (Shazeer 2020)."""

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
        function = ACTIVATIONS[self.activation][0]
        inner = function(self.up(x)) if self.gate is None else function(self.gate(x)) * self.up(x)
        return self.down(inner)
