"""Augmentations that do not fit the images are refused before anything is compiled, and name the way out."""

import dataclasses

import pytest

from jaxssl.augment import Augmentation, GaussianBlur
from jaxssl.augment.recipes import byol_views, dino_views
from jaxssl.data.images import ImageSpec
from jaxssl.errors import InputError
from jaxssl.training.check_views import check_views


@dataclasses.dataclass(frozen=True)
class Objective:
    views: object


@pytest.mark.parametrize("views", [byol_views(), dino_views(8, 4), byol_views()[0]])
def test_views_for_three_channels_refuse_grey_images(views):
    check_views(Objective(views), ImageSpec(4, 12, 12, 3))
    with pytest.raises(InputError) as told:
        check_views(Objective(views), ImageSpec(4, 12, 12, 1))
    line = str(told.value)
    assert line.startswith("views: the images have 1 channel, but mean=(0.485, 0.456, 0.406)")
    assert line.endswith("prepare the images with channels=3, or set mean and std to one number")


def test_one_number_fits_every_image():
    for channels in (1, 3):
        check_views(Objective(Augmentation(mean=(0.5,), std=(0.2,))), ImageSpec(4, 8, 8, channels))


def test_a_blur_must_fit_the_image():
    views = Augmentation(blur=GaussianBlur(size=23))
    check_views(Objective(views), ImageSpec(4, 32, 32, 1))
    with pytest.raises(InputError, match="size=23 does not fit an image of 8x8"):
        check_views(Objective(views), ImageSpec(4, 8, 8, 1))


def test_text_has_no_views():
    check_views(object(), None)
