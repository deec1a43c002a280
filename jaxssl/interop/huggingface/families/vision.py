"""What the families of vision transformers share: arrangements of tensors, sizes of patches, and checks."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxssl.augment import Augmentation, MultiCrop
from jaxssl.data.stores.json_types import short
from jaxssl.errors import InputError
from jaxssl.interop.huggingface.config_fields import THEIR_ACTIVATIONS, Config
from jaxssl.interop.huggingface.rules import Arrangement
from jaxssl.models.layers.patches import sine_positions
from jaxssl.models.transformer_config import TransformerConfig

FIRST = Arrangement(lambda tensor: (tensor[0],), lambda arrays: arrays[0][None])
"""Theirs has one more axis in front, of size 1."""
ROW = Arrangement(lambda tensor: (tensor[None],), lambda arrays: arrays[0][0])
"""Ours has one more axis in front, of size 1."""
WITH_ROW_OF_ZEROS = Arrangement(
    lambda tensor: (tensor[0, 1:],),
    lambda arrays: np.pad(arrays[0], ((1, 0), (0, 0)))[None],
)
"""Their table of positions has a row for the class token, which ours has no position for."""
CONVOLUTION = Arrangement(
    lambda tensor: (tensor.transpose(2, 3, 1, 0),),
    lambda arrays: arrays[0].transpose(3, 2, 0, 1),
)
"""Kernel of a convolution: theirs is `[out, in, height, width]`, ours `[height, width, in, out]`."""


def patches(patch: int) -> Arrangement:
    """Makes the arrangement of the layer that embeds square patches of side `patch`.

    Theirs is the kernel of a convolution, `[width, channels, patch, patch]`, ours that of a dense layer,
    `[patch * patch * channels, width]`.
    """

    def inward(tensor: np.ndarray) -> tuple[np.ndarray, ...]:
        return (tensor.transpose(2, 3, 1, 0).reshape(-1, tensor.shape[0]),)

    def outward(arrays: Sequence[np.ndarray]) -> np.ndarray:
        kernel = arrays[0]
        return kernel.reshape(patch, patch, -1, kernel.shape[1]).transpose(3, 2, 0, 1)

    return Arrangement(inward, outward)


def square_patch(config: Config) -> int:
    """Returns the side of a patch in pixels, from the content of a `config`.json.

    Raises:
      InputError: Patches are not square.
    """
    value = config.get("patch_size", 16)
    sides = [value, value] if isinstance(value, int) else value
    is_square = isinstance(sides, list) and len(sides) == 2 and sides[0] == sides[1]
    if not is_square or isinstance(sides[0], bool) or not isinstance(sides[0], int):
        raise InputError(
            f"config.json has patch_size={short(value)}; patches must be square, one whole number"
        )
    return int(sides[0])


def sine_table(height: int, width: int, patch: int, features: int) -> np.ndarray:
    """Returns the table of sines and cosines that MAE's files hold, `[1, 1 + patches, features]`.

    Args:
      height: Height of the images in pixels.
      width: Width of the images.
      patch: Side of a patch.
      features: Width of the states. The row of the class token is 0.
    """
    table = np.asarray(sine_positions(height // patch, width // patch, features))
    return np.pad(table, ((1, 0), (0, 0)))[None]


def check_fields(part: Any, what: str, name: str, wanted: Mapping[str, Any]) -> None:
    """Raises InputError where a network has other fields than a class of transformers computes.

    Args:
      part: A configuration.
      what: What it is, such as "encoder".
      name: Name of the family.
      wanted: Values that the fields must have.
    """
    for field, value in wanted.items():
        if getattr(part, field) != value:
            raise InputError(
                f"{name} has {field}={value!r}, and {what} of this run has "
                f"{field}={getattr(part, field)!r}; export it as another family, or to numpy"
            )


def check_blocks(blocks: TransformerConfig, name: str) -> None:
    """Raises InputError where layers are not those of ViT, which normalise what their parts read.

    Args:
      blocks: The layers.
      name: Name of the family.
    """
    wanted: dict[str, Any] = {
        "norm": "layer",
        "norm_first": True,
        "norm_before_first": True,
        "bias": True,
        "final_norm": True,
        "qk_norm": False,
        "attention_scale": None,
    }
    check_fields(blocks, "the network", name, wanted)
    shared = blocks.kv_heads not in (None, blocks.heads)
    if shared or blocks.head_dim * blocks.heads != blocks.width:
        raise InputError(
            f"{name} has heads that share no keys and are width / heads wide, and this network has not; "
            "export it to numpy"
        )
    if blocks.activation not in THEIR_ACTIVATIONS:
        raise InputError(
            f"{name} has no feed-forward part with activation={blocks.activation}; export it to numpy"
        )


def first_views(objective: Any) -> Augmentation:
    """Returns the augmentation of the (first) views of an objective, for their size and normalisation."""
    views = getattr(objective, "views", None) or getattr(objective, "crops", None)
    if isinstance(views, MultiCrop):
        return views.large_kinds[0]
    found = views[0] if isinstance(views, tuple) else views
    return found if isinstance(found, Augmentation) else Augmentation()


def one_number(size: Sequence[int]) -> int | list[int]:
    """Returns a `size`, height and width, as config.json holds it: one number where both are the same."""
    return size[0] if size[0] == size[1] else list(size)
