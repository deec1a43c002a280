"""Views of images on the device: crops, colours, blur, each image from a key of its own."""

from jaxssl.objectives.views.blur import GaussianBlur
from jaxssl.objectives.views.colours import (
    hsv_to_rgb,
    lab_to_rgb,
    rgb_to_gray,
    rgb_to_hsv,
    rgb_to_lab,
)
from jaxssl.objectives.views.crop import RandomResizedCrop
from jaxssl.objectives.views.draws import example_keys, fold
from jaxssl.objectives.views.jitter import ColorJitter
from jaxssl.objectives.views.pipeline import Cutout, MultiCrop, Views, many_views

__all__ = [
    "ColorJitter",
    "Cutout",
    "GaussianBlur",
    "MultiCrop",
    "RandomResizedCrop",
    "Views",
    "example_keys",
    "fold",
    "hsv_to_rgb",
    "lab_to_rgb",
    "many_views",
    "rgb_to_gray",
    "rgb_to_hsv",
    "rgb_to_lab",
]
