"""Augmentations of published methods. Change single fields with `dataclasses.replace`.

Their probabilities, strengths and areas are the published ones; how a crop is resized, and how colours are
changed and blurred, is torchvision's for all of them. The code of Barlow Twins, VICReg, DINO and SimSiam
does the same, but for the blur, which is Pillow's approximation of a Gaussian. That of SimCLR and BYOL
differs in the following:

  - Crops are resized by bicubic interpolation without antialiasing. SimCLR draws their aspect ratio
    uniformly, not on a logarithmic scale; BYOL clips a box that does not fit, and draws no other.
  - Contrast is changed about the mean of each channel, not about that of the gray image, and saturation is
    multiplied in HSV, not blended with the gray image. BYOL adds a number to the brightness, as the first
    version of SimCLR did, instead of multiplying it.
  - The blur takes pixels outside the image for black; here the image is reflected at its edges.
"""

from dataclasses import replace

from jaxssl.augment.blur import GaussianBlur
from jaxssl.augment.crop import RandomResizedCrop
from jaxssl.augment.jitter import ColorJitter
from jaxssl.augment.pipeline import Augmentation, MultiCrop

# Statistics of ImageNet's red, green and blue channels, from 0 to 1.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def simclr_views(
    size: int | None = None,
    *,
    strength: float = 1.0,
    blurred: bool = True,
    smallest: float = 0.08,
) -> Augmentation:
    """Returns the augmentation of SimCLR.

    Crops are resized by the bilinear filter, torchvision's default; the authors' is bicubic.

    Args:
      size: Side of a view, in pixels. None keeps the size of the images.
      strength: Factor of the strengths of the colour jitter; 1 for ImageNet, 0.5 for CIFAR-10.
      blurred: Whether views are blurred (with probability 0.5); not for CIFAR-10.
      smallest: Least area of a crop, as a share of the image. 0.08 in the paper; short runs learn
        more from larger crops.

    Returns:
      The augmentation, without `mean` and `std`.

    References:
      Chen et al. 2020, "A simple framework for contrastive learning of visual representations",
      appendix A, and appendix B.9 for CIFAR-10.
    """
    return Augmentation(
        size=_square(size),
        crop=RandomResizedCrop((smallest, 1.0)),
        jitter=ColorJitter(0.8 * strength, 0.8 * strength, 0.8 * strength, 0.2 * strength),
        grayscale=0.2,
        blur=GaussianBlur() if blurred else None,
    )


def simsiam_views(size: int | None = None) -> Augmentation:
    """Returns the augmentation of SimSiam: SimCLR's at half the strength, of crops of 0.2 to 1 of the area.

    Args:
      size: Side of a view, in pixels. None keeps the size of the images.

    Returns:
      The augmentation, normalised by ImageNet's statistics.

    References:
      Chen & He 2021, "Exploring simple siamese representation learning", section 3 and its code.
    """
    views = simclr_views(size, strength=0.5, smallest=0.2)
    return replace(views, mean=IMAGENET_MEAN, std=IMAGENET_STD)


def byol_views(
    size: int | None = None, *, blurred: bool = True
) -> tuple[Augmentation, Augmentation]:
    """Returns the two augmentations of BYOL, Barlow Twins and VICReg, normalised by ImageNet's statistics.

    The first view is always blurred and never solarized, the second is seldom blurred and sometimes
    solarized.

    Args:
      size: Side of a view, in pixels. None keeps the size of the images.
      blurred: Whether views are blurred at all.

    Returns:
      The augmentations of the first and of the second view.

    References:
      Grill et al. 2020, "Bootstrap your own latent: A new approach to self-supervised learning",
      table 6.
    """
    first, second = (1.0, 0.1) if blurred else (0.0, 0.0)
    return _byol_view(size, first, 0.0), _byol_view(size, second, 0.2)


def dino_views(
    large: int = 224, small: int = 96, *, large_count: int = 2, small_count: int = 8
) -> MultiCrop:
    """Returns the multi-crop augmentation of DINO for ViT-S: crops of more and of less than 0.25 of the area.

    The large views are those of BYOL in turn: the first is always blurred, the second seldom, and
    sometimes solarized. The kernel of a blur is a tenth of the view's height wide, 9 pixels in views
    of 96, which ends at 2 standard deviations of the widest Gaussian; theirs has no such limit.

    Args:
      large: Side of a large view, in pixels.
      small: Side of a small view, in pixels.
      large_count: Number of large views.
      small_count: Number of small views.

    Returns:
      The augmentation, normalised by ImageNet's statistics.

    References:
      Caron et al. 2021, "Emerging properties in self-supervised vision transformers", appendix E.
    """
    scale = (0.25, 1.0)
    return MultiCrop(
        large=(_byol_view(large, 1.0, 0.0, scale), _byol_view(large, 0.1, 0.2, scale)),
        small=_byol_view(small, 0.5, 0.0, (0.05, 0.25)),
        large_count=large_count,
        small_count=small_count,
    )


def _byol_view(
    size: int | None,
    blurred: float,
    solarized: float,
    scale: tuple[float, float] = (0.08, 1.0),
) -> Augmentation:
    """A view of BYOL with these probabilities of blurring and solarizing."""
    return Augmentation(
        size=_square(size),
        crop=RandomResizedCrop(scale, filter="bicubic"),
        jitter=ColorJitter(0.4, 0.4, 0.2, 0.1),
        grayscale=0.2,
        blur=GaussianBlur(blurred) if blurred else None,
        solarize=solarized,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
    )


def _square(size: int | None) -> tuple[int, int] | None:
    """Height and width of a square view; None stays None."""
    return None if size is None else (size, size)
