"""The command that `jaxssl prepare` proposes at its end: one that trains on the prepared set as it is."""

import math
import shlex

from jaxssl.data.prepared.image_manifest import ImageManifest
from jaxssl.data.prepared.manifest import Manifest

FEW_TOKENS = 5_000_000  # below, the smallest network is proposed
LONGEST_ROW = 512  # tokens that the proposed networks take by themselves
LONGEST_CAPTION = 32  # the same for captions
PATCHES = (8, 16, 12, 10, 6, 5, 4, 14)  # sides in pixels, the preferred ones first


def training_command(manifest: Manifest | ImageManifest, folder: str) -> str:
    """Returns a command that trains a network on a prepared set.

    Args:
      manifest: Manifest of the set.
      folder: Its folder, local or a URL of an object store.
    """
    if isinstance(manifest, Manifest):
        is_small = manifest.total("train", "tokens") < FEW_TOKENS
        recipe, flags = "bert_tiny" if is_small else "bert_small", []
        if manifest.length > LONGEST_ROW:
            flags = ["--objective.encoder.max-length", str(manifest.length)]
    elif manifest.length:
        recipe, flags = "siglip_tiny", _flags_of_pairs(manifest)
    else:
        recipe, flags = "simclr_cifar10", []
    return shlex.join(["jaxssl", "train", recipe, "--data.path", folder, *flags])


def _flags_of_pairs(manifest: ImageManifest) -> list[str]:
    """Returns the flags that fit `siglip_tiny` to the images and captions of a set."""
    flags = []
    side = math.gcd(manifest.height, manifest.width)
    patch = next((patch for patch in PATCHES if side % patch == 0), side)
    if patch != PATCHES[0]:
        flags += ["--objective.encoder.patch", str(patch)]
    if manifest.length > LONGEST_CAPTION:
        flags += ["--objective.text.max-length", str(manifest.length)]
    return flags
