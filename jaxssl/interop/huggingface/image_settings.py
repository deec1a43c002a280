"""How the images of a folder are normalised and how large they are: preprocessor_config.json and config.json.

config.json has the size; preprocessor_config.json mean and standard deviation of the channels, which are
part of the objective's views: (pixel / 255 - mean) / std
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from jaxssl.augment import Augmentation
from jaxssl.data.images import LARGEST_SIDE, ImageSpec
from jaxssl.data.stores.json_files import read_json
from jaxssl.data.stores.json_types import short
from jaxssl.errors import InputError
from jaxssl.interop.huggingface.config_fields import flag, whole

PREPROCESSOR = "preprocessor_config.json"
# Newer folders have what images are processed with in here, as the field "image_processor".
PROCESSOR = "processor_config.json"
SETTINGS = (
    "jaxssl_image_settings"  # key that `with_image_settings` adds to the content of config.json
)
SCALE = 1 / 255  # of pixels before they are normalised

Channels = tuple[float, ...]
# Mean and standard deviation of folders without a file that says them
STANDARD: tuple[Channels, Channels] = ((0.5,) * 3, (0.5,) * 3)


def with_image_settings(config: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Returns the content of config.json with that of the file about images, where the folder has one.

    Args:
      config: Content of config.json.
      folder: The folder.

    Raises:
      InputError: The file is no JSON object.
    """
    for name in (PREPROCESSOR, PROCESSOR):
        if (folder / name).is_file():
            found: dict[str, Any] = read_json(folder / name, dict[str, Any])
            inner = found.get("image_processor", found if name == PREPROCESSOR else None)
            if isinstance(inner, dict):
                return {**config, SETTINGS: inner}
    return dict(config)


def normalized(
    views: Augmentation, config: Mapping[str, Any], default: tuple[Channels, Channels]
) -> Augmentation:
    """Returns views with the size and the normalisation of the images of a folder.

    Args:
      views: Augmentation of training.
      config: What `with_image_settings` has returned.
      default: Mean and standard deviation of a folder that says none.

    Raises:
      InputError: The images are scaled otherwise than by 1 / 255, or a field is no list of numbers.
    """
    settings = config.get(SETTINGS, {})
    factor = settings.get("rescale_factor", SCALE)
    is_scaled = flag(settings, "do_rescale", True) and isinstance(factor, float)
    if not is_scaled or not math.isclose(factor, SCALE, rel_tol=1e-5):
        raise InputError(
            f"{PREPROCESSOR} has do_rescale={short(settings.get('do_rescale', True))}, rescale_factor="
            f"{short(factor)}, and jaxssl divides pixels by 255: an import would change numbers"
        )
    size = image_size(config)
    if not flag(settings, "do_normalize", True):
        return replace(views, size=size, mean=(), std=())
    channels = whole(config, "num_channels", 3)
    mean = _channels(settings, "image_mean", default[0], channels)
    std = _channels(settings, "image_std", default[1], channels)
    return replace(views, size=size, mean=mean, std=std)


def image_size(config: Mapping[str, Any], default: int = 224) -> tuple[int, int]:
    """Returns height and width of the images, those of config.json or of the file about images.

    Args:
      config: What `with_image_settings` has returned.
      default: Side of the images where neither says it.

    Raises:
      InputError: The size is no number or pair of numbers.
    """
    settings = config.get(SETTINGS, {})
    value = config.get("image_size")
    if value is None:
        value = settings.get("crop_size") or settings.get("size") or default
    if isinstance(value, Mapping):
        edge = value.get("shortest_edge")
        value = edge if edge is not None else [value.get("height"), value.get("width")]
    pair = [value, value] if isinstance(value, int) else value
    is_pair = isinstance(pair, Sequence) and len(pair) == 2 and all(map(_is_side, pair))
    if not is_pair:
        raise InputError(
            f"the size of images is {short(value)}; it must be one whole number or two, height and width, "
            f"from 1 to {LARGEST_SIDE}"
        )
    return int(pair[0]), int(pair[1])


def image_spec(config: Mapping[str, Any]) -> ImageSpec:
    """Describes the images that the network of a folder reads.

    `config` is what `with_image_settings` has returned.

    Raises:
      InputError: Their size is none, or they have other than 1 or 3 channels.
    """
    channels = whole(config, "num_channels", 3)
    if channels not in (1, 3):
        raise InputError(f"config.json has num_channels={channels}; images have 1 or 3")
    return ImageSpec(1, *image_size(config), channels)


def preprocessor(views: Augmentation, spec: ImageSpec, kind: str) -> dict[str, Any]:
    """Returns the content of the preprocessor_config.json of a run.

    Args:
      views: Augmentation of the run.
      spec: Description of its images.
      kind: Class of transformers that reads images, such as "ViTImageProcessor".
    """
    height, width = views.size or (spec.height, spec.width)
    return {
        "image_processor_type": kind,
        "do_resize": True,
        "size": {"height": height, "width": width},
        "resample": 2,
        "do_rescale": True,
        "rescale_factor": SCALE,
        "do_normalize": bool(views.mean),
        "image_mean": list(views.mean or (0.0,) * spec.channels),
        "image_std": list(views.std or (1.0,) * spec.channels),
    }


def _is_side(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= LARGEST_SIDE


def _channels(settings: Mapping[str, Any], name: str, default: Channels, channels: int) -> Channels:
    value = settings.get(name, default[:channels])
    numbers = [value] if isinstance(value, (int, float)) else value
    is_list = isinstance(numbers, Sequence) and len(numbers) in (1, channels)
    if not is_list or not all(isinstance(one, (int, float)) for one in numbers):
        raise InputError(
            f"{PREPROCESSOR} has {name}={short(value)}; it must be {channels} numbers, one a channel"
        )
    return tuple(map(float, numbers))
