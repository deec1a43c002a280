"""Tiny joint embeddings and captions, for tests of the objectives on two or more views."""

import dataclasses

import numpy as np

from jaxssl.augment import Augmentation, MultiCrop, RandomResizedCrop
from jaxssl.data.images import ImageSpec
from jaxssl.models.recipes import bert, vit
from jaxssl.models.vision_transformer import VisionTransformerConfig
from jaxssl.objectives import BYOL, DINO, BarlowTwins, ImageText, SimCLR, SimSiam, VICReg
from tests.tiny import tiny_image_spec, tiny_rows, tiny_spec

# It compiles in a fraction of a residual network's time; those are in test_meshes.py.
BLOCKS = vit(depth=1, width=16, heads=2, initializer_range=0.2)
ENCODER = VisionTransformerConfig(BLOCKS, patch=4, pooling="mean")
GENTLE = Augmentation(  # of pixels from 0 to 1 a fresh network makes almost the same of all images
    crop=RandomResizedCrop((0.4, 1.0)), grayscale=0.2, mean=(0.5,) * 3, std=(0.25,) * 3
)
OTHER = dataclasses.replace(GENTLE, grayscale=0.0, solarize=0.2)
CROPS = MultiCrop(
    large=Augmentation(size=(16, 16), crop=RandomResizedCrop((0.4, 1.0))),
    small=Augmentation(size=(8, 8), crop=RandomResizedCrop((0.1, 0.4))),
    large_count=2,
    small_count=2,
)
WIDTHS = (16, 8)
TEXT = bert(depth=1, width=16, heads=2, max_length=16, dropout=0.0, initializer_range=0.2)
OBJECTIVES = {
    "simclr": SimCLR(ENCODER, GENTLE, WIDTHS),
    "byol": BYOL(ENCODER, (GENTLE, OTHER), WIDTHS, WIDTHS),
    "simsiam": SimSiam(ENCODER, GENTLE, WIDTHS, WIDTHS),
    "barlow_twins": BarlowTwins(ENCODER, (GENTLE, OTHER), WIDTHS),
    "vicreg": VICReg(ENCODER, (GENTLE, OTHER), WIDTHS),
    "dino": DINO(ENCODER, CROPS, WIDTHS, prototypes=24),
    "clip": ImageText(ENCODER, TEXT, width=8, views=GENTLE),
    "siglip": ImageText(ENCODER, TEXT, "siglip", width=8, views=GENTLE, temperature=0.1),
}


def tiny_pairs_spec(batch: int = 16) -> ImageSpec:
    """Colour images with captions of 16 tokens."""
    return dataclasses.replace(
        tiny_image_spec(batch=batch), captions=tiny_spec(batch=batch, length=16)
    )


def tiny_captions(seed: int = 0, batch: int = 16) -> np.ndarray:
    """One text a row, int32 [batch, 16]."""
    rows = tiny_rows(seed, batch=batch, length=16)
    first = np.cumsum(rows == rows[:, :1], axis=1) == 1
    return np.where(first & (rows > 0), rows, 0).astype(np.int32)
