"""The gradient of a convolution's kernel on a CPU: matrix products, a few images at a time.

    dk[i, j] = sum over images n and positions y, x of  in[n, s y + i, s x + j]^T  dout[n, y, x]

XLA computes it as a convolution whose window is a whole map, which is right where there are fast ones and
takes a CPU several times as long as all the rest of a residual network. Here the inputs of the window are
laid side by side as the columns of a matrix, for as many images as fit into the cache. This is for one
device: a sharded batch would be gathered for it.

    batch, height, width    of the result's maps        size      side of the square kernel
    inputs, outputs         channels                    stride    step of the window, the same on both axes
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Maps = Float[Array, "batch height width channels"]
Kernel = Float[Array, "size size inputs outputs"]

CACHED = 1 << 20  # numbers of the columns of the images that are multiplied at a time


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def convolve_on_cpu(x: Maps, kernel: Kernel, stride: int) -> Maps:
    """Computes what `convolve` does, with the kernel's gradient as matrix products.

    Args:
      x: Maps, `[batch, height, width, inputs]`.
      kernel: Kernel, `[size, size, inputs, outputs]`.
      stride: Step of the window on both axes.

    Returns:
      Maps, `[batch, height / stride, width / stride, outputs]`, sides rounded up.
    """
    return convolve(x, kernel, stride)


def convolve(x: Maps, kernel: Kernel, stride: int) -> Maps:
    """Convolves maps with a square kernel; edges are padded with zeros so that stride 1 keeps the size.

    Args:
      x: Maps, `[batch, height, width, inputs]`.
      kernel: Kernel of an odd side, `[size, size, inputs, outputs]`.
      stride: Step of the window on both axes.

    Returns:
      Maps, `[batch, height / stride, width / stride, outputs]`, sides rounded up.
    """
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


def _backward(stride: int, kept: tuple[Maps, Kernel], cotangent: Maps) -> tuple[Maps, Kernel]:
    x, kernel = kept
    _, transpose = jax.vjp(lambda x: convolve(x, kernel, stride), x)
    (to_x,) = transpose(cotangent)
    to_kernel = kernel_gradient(x, cotangent, kernel.shape[0], stride)
    return to_x, to_kernel.astype(kernel.dtype)


convolve_on_cpu.defvjp(_forward, _backward)


def kernel_gradient(x: Maps, cotangent: Maps, size: int, stride: int) -> Kernel:
    """Computes the gradient of a convolution's kernel.

    Args:
      x: Maps that were convolved, `[batch, rows, columns, inputs]`.
      cotangent: Gradient with respect to the result, `[batch, height, width, outputs]`.
      size: Side of the kernel.
      stride: Step of the window on both axes.

    Returns:
      Gradient with respect to the kernel, float32 `[size, size, inputs, outputs]`.
    """
    batch, height, width, outputs = cotangent.shape
    inputs = x.shape[3]
    together = max(1, CACHED // (height * width * size * size * inputs))
    parts = next(count for count in range(-(-batch // together), batch + 1) if batch % count == 0)

    def of_part(x: Maps, cotangent: Maps) -> Float[Array, "columns outputs"]:
        columns = _columns(x, size, stride, height, width)
        rows = cotangent.reshape(-1, outputs)
        return jnp.matmul(columns.T, rows, preferred_element_type=jnp.float32)

    if parts == 1:
        total = of_part(x, cotangent)
    else:
        split = (maps.reshape(parts, -1, *maps.shape[1:]) for maps in (x, cotangent))
        zeros = jnp.zeros((size * size * inputs, outputs), jnp.float32)
        total, _ = jax.lax.scan(
            lambda total, part: (total + of_part(*part), None), zeros, tuple(split)
        )
    return total.reshape(size, size, inputs, outputs)


def _columns(
    x: Maps, size: int, stride: int, height: int, width: int
) -> Float[Array, "positions columns"]:
    """What the window sees at every position of the result."""
    side = size // 2
    padded = jnp.pad(x, ((0, 0), (side, side), (side, side), (0, 0)))
    down, across = (stride * (length - 1) + 1 for length in (height, width))
    seen = [
        padded[:, i : i + down : stride, j : j + across : stride]
        for i in range(size)
        for j in range(size)
    ]
    return jnp.concatenate(seen, axis=3).reshape(-1, size * size * x.shape[3])
