"""The views of papers. Change single fields with `dataclasses.replace`."""

from jaxssl.objectives.views.blur import GaussianBlur
from jaxssl.objectives.views.crop import RandomResizedCrop
from jaxssl.objectives.views.jitter import ColorJitter
from jaxssl.objectives.views.pipeline import MultiCrop, Views

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's channels


def simclr_views(strength: float = 1.0, *, blurred: bool = True) -> Views:
    """Chen et al. 2020, appendix A; on CIFAR-10 of strength 0.5 and not blurred (appendix B.9)."""
    return Views(
        jitter=ColorJitter(0.8 * strength, 0.8 * strength, 0.8 * strength, 0.2 * strength),
        grayscale=0.2,
        blur=GaussianBlur() if blurred else None,
    )


def byol_views(size: int = 224) -> tuple[Views, Views]:
    """The two kinds of BYOL, Barlow Twins and VICReg (Grill et al. 2020, table 6)."""
    return _byol_view(size, 1.0, 0.0), _byol_view(size, 0.1, 0.2)


def dino_views(
    large: int = 224, small: int = 96, *, large_count: int = 2, small_count: int = 8
) -> MultiCrop:
    """Caron et al. 2021: crops above and below 0.25 of the area for ViT-S (appendix E).

    Theirs blur the first large crop always, the second seldom and solarize it; here all large ones alike.
    """
    return MultiCrop(
        large=_dino_view(large, (0.25, 1.0), 0.5, 0.1),
        small=_dino_view(small, (0.05, 0.25), 0.5, 0.0),
        large_count=large_count,
        small_count=small_count,
    )


def _byol_view(size: int, blurred: float, solarized: float) -> Views:
    return Views(
        size=(size, size),
        crop=RandomResizedCrop(filter="bicubic"),
        jitter=ColorJitter(0.4, 0.4, 0.2, 0.1),
        grayscale=0.2,
        blur=GaussianBlur(blurred),
        solarize=solarized,
        mean=MEAN,
        deviation=DEVIATION,
    )


def _dino_view(size: int, scale: tuple[float, float], blurred: float, solarized: float) -> Views:
    return Views(
        size=(size, size),
        crop=RandomResizedCrop(scale, filter="bicubic"),
        jitter=ColorJitter(0.4, 0.4, 0.2, 0.1),
        grayscale=0.2,
        blur=GaussianBlur(blurred),
        solarize=solarized,
        mean=MEAN,
        deviation=DEVIATION,
    )
