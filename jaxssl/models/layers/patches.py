"""Images as rows of patches, and the positions of patches.

batch, height, width, channels    images        patches    of an image, row by row
numbers                           pixels of a patch x channels
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxssl.errors import InputError


def split_patches(
    pixels: Float[Array, "batch height width channels"], patch: int
) -> Float[Array, "batch patches numbers"]:
    """Splits images into square patches.

    Args:
      pixels: Images, `[batch, height, width, channels]`.
      patch: Side of a patch in pixels.

    Returns:
      The patches row by row, `[batch, patches, numbers]`, and the numbers of a patch by row, column and
      channel.

    Raises:
      InputError: `patch` does not divide the height or the width.
    """
    batch, height, width, channels = pixels.shape
    _check_patch(patch, height, width)
    grid = pixels.reshape(batch, height // patch, patch, width // patch, patch, channels)
    return grid.transpose(0, 1, 3, 2, 4, 5).reshape(batch, -1, patch * patch * channels)


def convolve_patches(
    pixels: Float[Array, "batch height width channels"],
    kernel: Float[Array, "numbers features"],
    patch: int,
) -> Float[Array, "batch patches features"]:
    """Computes `split_patches(pixels, patch) @ kernel` without moving pixels, as a convolution.

    On TPUs, where three channels fill a small part of a register, splitting costs several times as much as
    the product; on a CPU the convolution does.

    Args:
      pixels: Images, `[batch, height, width, channels]`.
      kernel: Kernel of the product, `[patch * patch * channels, features]`.
      patch: Side of a patch in pixels.

    Returns:
      What is computed of every patch, `[batch, patches, features]`.

    Raises:
      InputError: `patch` does not divide the height or the width.
    """
    batch, height, width, channels = pixels.shape
    _check_patch(patch, height, width)
    maps = jax.lax.conv_general_dilated(
        pixels,
        kernel.reshape(patch, patch, channels, -1),
        (patch, patch),
        "VALID",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    return maps.reshape(batch, -1, kernel.shape[1])


def join_patches(
    patches: Float[Array, "batch patches numbers"], patch: int, height: int, width: int
) -> Float[Array, "batch height width channels"]:
    """Joins patches to the images that `split_patches` was given.

    Args:
      patches: Patches row by row, `[batch, patches, numbers]`.
      patch: Side of a patch in pixels.
      height: Height of the images in pixels.
      width: Width of the images in pixels.

    Returns:
      Images, `[batch, height, width, channels]`.
    """
    batch = patches.shape[0]
    grid = patches.reshape(batch, height // patch, width // patch, patch, patch, -1)
    return grid.transpose(0, 1, 3, 2, 4, 5).reshape(batch, height, width, -1)


def sine_positions(rows: int, columns: int, width: int) -> Float[Array, "patches width"]:
    """Computes fixed positions: half of the width for a patch's column, half for its row.

    Each half is sines, then cosines. The i-th of its width / 4 sines at index p of the axis is

        sin(p / 10000^(i / (width / 4)))

    Args:
      rows: Rows of patches.
      columns: Columns of patches.
      width: Width of the states, a multiple of 4.

    Returns:
      Positions of the patches row by row, float32 `[rows * columns, width]`.

    References:
      He et al. 2022, "Masked autoencoders are scalable vision learners", section 3 and its code.
    """
    quarter = width // 4
    speed = 1.0 / 10_000 ** (jnp.arange(quarter, dtype=jnp.float32) / quarter)

    def along(count: int) -> Float[Array, "count half"]:
        angles = jnp.arange(count, dtype=jnp.float32)[:, None] * speed[None]
        return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=1)

    across = jnp.broadcast_to(along(columns)[None], (rows, columns, 2 * quarter))
    down = jnp.broadcast_to(along(rows)[:, None], (rows, columns, 2 * quarter))
    return jnp.concatenate([across, down], axis=2).reshape(rows * columns, width)


def resize_positions(
    table: Float[Array, "rows columns width"], rows: int, columns: int
) -> Float[Array, "new_rows new_columns width"]:
    """Interpolates learned positions for images of another size.

    Args:
      table: Positions of the patches of the size that they were learned for, `[rows, columns, width]`.
      rows: Rows of patches of the other size.
      columns: Columns of patches of the other size.

    Returns:
      Bicubic interpolation of the table, antialiased where it becomes smaller, `[rows, columns, width]`.

    References:
      Dosovitskiy et al. 2021, "An image is worth 16x16 words", section 3.2.
    """
    return jax.image.resize(table, (rows, columns, table.shape[-1]), "bicubic")


def _check_patch(patch: int, height: int, width: int) -> None:
    if height % patch or width % patch:
        raise InputError(
            f"images of {height}x{width} are not made of patches of {patch}x{patch}; set patch to a "
            "divisor of both sides, or make views of another size"
        )
