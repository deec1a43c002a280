"""The gradient of a convolution's kernel on a CPU: products of matrices, a few images at a time.

    dk[i, j] = sum over images n and places y, x of  in[n, s y + i, s x + j]^T  dout[n, y, x]

XLA takes a convolution whose window is a whole map for it, which is right where there are fast ones and takes
a CPU several times as long as all the rest of a residual network. Here the window's inputs stand side by side
as the columns of a matrix, of as many images as stay in the cache. On one device: a batch that is cut would
be collected for it.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Maps = Float[Array, "batch height width channels"]
Kernel = Float[Array, "size size inputs outputs"]

CACHED = 1 << 20  # numbers of the columns of so many images as are looked at together


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def convolve_on_cpu(x: Maps, kernel: Kernel, stride: int) -> Maps:
    """As `convolve`."""
    return convolve(x, kernel, stride)


def convolve(x: Maps, kernel: Kernel, stride: int) -> Maps:
    """x * kernel; edges are padded so that stride 1 keeps the size."""
    side = kernel.shape[0] // 2
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        ((side, side), (side, side)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def _forward(x: Maps, kernel: Kernel, stride: int) -> tuple[Maps, tuple[Maps, Kernel]]:
    return convolve(x, kernel, stride), (x, kernel)


def _backward(stride: int, kept: tuple[Maps, Kernel], pull: Maps) -> tuple[Maps, Kernel]:
    x, kernel = kept
    _, transpose = jax.vjp(lambda x: convolve(x, kernel, stride), x)
    return transpose(pull)[0], kernel_gradient(x, pull, kernel.shape[0], stride).astype(
        kernel.dtype
    )


convolve_on_cpu.defvjp(_forward, _backward)


def kernel_gradient(x: Maps, pull: Maps, size: int, stride: int) -> Kernel:
    """The gradient of the kernel, float32, from that of the result, `pull`."""
    batch, height, width, outputs = pull.shape
    inputs = x.shape[3]
    together = max(1, CACHED // (height * width * size * size * inputs))
    parts = next(count for count in range(-(-batch // together), batch + 1) if batch % count == 0)

    def of_part(x: Maps, pull: Maps) -> Float[Array, "columns outputs"]:
        columns = _columns(x, size, stride, height, width)
        rows = pull.reshape(-1, outputs)
        return jnp.matmul(columns.T, rows, preferred_element_type=jnp.float32)

    if parts == 1:
        total = of_part(x, pull)
    else:
        cut = (maps.reshape(parts, -1, *maps.shape[1:]) for maps in (x, pull))
        zeros = jnp.zeros((size * size * inputs, outputs), jnp.float32)
        total, _ = jax.lax.scan(
            lambda total, part: (total + of_part(*part), None), zeros, tuple(cut)
        )
    return total.reshape(size, size, inputs, outputs)


def _columns(
    x: Maps, size: int, stride: int, height: int, width: int
) -> Float[Array, "places columns"]:
    """What the window sees at every place of the result."""
    side = size // 2
    padded = jnp.pad(x, ((0, 0), (side, side), (side, side), (0, 0)))
    down, across = (stride * (length - 1) + 1 for length in (height, width))
    seen = [
        padded[:, i : i + down : stride, j : j + across : stride]
        for i in range(size)
        for j in range(size)
    ]
    return jnp.concatenate(seen, axis=3).reshape(-1, size * size * x.shape[3])
