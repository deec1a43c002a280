"""Colorization, ResNet-50 on ImageNet-1k (Zhang et al. 2016; the network of Goyal et al. 2019).

    jaxssl prepare IMAGENET --size 256 --into prepared/imagenet
    python train.py --config configs/colorization_resnet50.py --data.path prepared/imagenet

Published, ResNet-50 by a linear probe: 39.6 % top-1 (Misra & van der Maaten 2020, table 2). Colours of
56 x 56 positions, a quarter of the image as in Zhang et al., whose network was another. Not yet measured
here.
"""

from jaxssl.augment import Augmentation, RandomResizedCrop
from jaxssl.data import Images
from jaxssl.models import ResNetConfig
from jaxssl.objectives import Colorization
from jaxssl.optimizers.recipes import AdamW
from jaxssl.training.config import Pretraining

config = Pretraining(
    data=Images("prepared/imagenet", batch=256),
    objective=Colorization(
        encoder=ResNetConfig(50, stem="imagenet", norm="batch", compute_dtype="bfloat16"),
        decoder_width=64,
        doublings=3,
        views=Augmentation(size=(224, 224), crop=RandomResizedCrop((0.35, 1.0))),
    ),
    optimizer=AdamW(peak=1e-3, warmup=2_000, decay=0.05, schedule="cosine"),
    steps=140_000,
    evaluate_every=5_000,
    save_every=5_000,
)
