"""The views of papers. Change single fields with `dataclasses.replace`."""

from jaxssl.augment.blur import GaussianBlur
from jaxssl.augment.crop import RandomResizedCrop
from jaxssl.augment.jitter import ColorJitter
from jaxssl.augment.pipeline import Augmentation, MultiCrop

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's channels


def simclr_views(
    size: int | None = None,
    *,
    strength: float = 1.0,
    blurred: bool = True,
    smallest: float = 0.08,
) -> Augmentation:
    """Chen et al. 2020, appendix A; on CIFAR-10 of strength 0.5 and not blurred (appendix B.9).

    The smallest crops have so much of the area; a short run learns more from larger ones.
    """
    return Augmentation(
        size=_square(size),
        crop=RandomResizedCrop((smallest, 1.0)),
        jitter=ColorJitter(0.8 * strength, 0.8 * strength, 0.8 * strength, 0.2 * strength),
        grayscale=0.2,
        blur=GaussianBlur() if blurred else None,
    )


def byol_views(
    size: int | None = None, *, blurred: bool = True
) -> tuple[Augmentation, Augmentation]:
    """The two kinds of BYOL, Barlow Twins and VICReg (Grill et al. 2020, table 6).

    The first is always blurred, the second seldom; the second is solarized now and then.
    """
    first, second = (1.0, 0.1) if blurred else (0.0, 0.0)
    return _byol_view(size, first, 0.0), _byol_view(size, second, 0.2)


def dino_views(
    large: int = 224, small: int = 96, *, large_count: int = 2, small_count: int = 8
) -> MultiCrop:
    """Caron et al. 2021: crops above and below 0.25 of the area for ViT-S (appendix E).

    Theirs blur the first large crop always, the second seldom and solarize it; here all large ones alike.
    """
    return MultiCrop(
        large=_byol_view(large, 0.5, 0.1, (0.25, 1.0)),
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
    return None if size is None else (size, size)
