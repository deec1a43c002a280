"""Views of images on the device: crops, colours, blur, each image from a key of its own."""

from jaxssl import show_fields
from jaxssl.augment.blur import GaussianBlur
from jaxssl.augment.colours import (
    hsv_to_rgb,
    lab_to_rgb,
    rgb_to_gray,
    rgb_to_hsv,
    rgb_to_lab,
)
from jaxssl.augment.crop import RandomResizedCrop
from jaxssl.augment.jitter import ColorJitter
from jaxssl.augment.pipeline import Augmentation, Cutout, MultiCrop, many_views
from jaxssl.augment.random_numbers import example_keys, fold
from jaxssl.augment.recipes import byol_views, dino_views, simclr_views

__all__ = [
    "ColorJitter",
    "Cutout",
    "GaussianBlur",
    "MultiCrop",
    "RandomResizedCrop",
    "Augmentation",
    "byol_views",
    "dino_views",
    "example_keys",
    "fold",
    "hsv_to_rgb",
    "lab_to_rgb",
    "many_views",
    "rgb_to_gray",
    "rgb_to_hsv",
    "rgb_to_lab",
    "simclr_views",
]

show_fields(globals()[name] for name in __all__)
