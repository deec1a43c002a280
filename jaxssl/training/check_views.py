"""Checks at the start of a run that the augmentations of its objective fit the images."""

from typing import Any

import jax
import numpy as np

from jaxssl.data.images import ImageSpec
from jaxssl.errors import InputError
from jaxssl.pretrained.views import augmentations_of


def check_views(objective: Any, spec: Any) -> None:
    """Traces every augmentation of an objective for one image, without computing anything.

    Args:
      objective: Objective of the run, whose augmentations are found among its fields.
      spec: Description of the batch; one of text is let through.

    Raises:
      InputError: An augmentation refuses images of this size or number of channels.
    """
    if not isinstance(spec, ImageSpec):
        return
    pixels = jax.ShapeDtypeStruct((1, spec.height, spec.width, spec.channels), np.uint8)
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 1))
    for views in augmentations_of(objective):
        try:
            jax.eval_shape(views, pixels, keys)
        except ValueError as error:
            raise InputError(f"views: {error}") from error
