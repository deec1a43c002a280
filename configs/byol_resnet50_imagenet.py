"""BYOL, ResNet-50 on ImageNet-1k (Grill et al. 2020, section 3.2 and 3.3).

    jaxssl prepare IMAGENET --size 256 --into prepared/imagenet
    python train.py --config configs/byol_resnet50_imagenet.py --data.path prepared/imagenet

Published, ResNet-50 after 1,000 epochs of batches of 4,096: 74.3 % top-1 by a linear probe (table 1).
The settings are those of the paper, whose crops are of images of full size. Not yet measured here.
"""

from jaxssl.augment import byol_views
from jaxssl.data import Images
from jaxssl.models import ResNetConfig
from jaxssl.objectives import BYOL, Momentum
from jaxssl.optimizers.recipes import Lars
from jaxssl.training.config import Pretraining

config = Pretraining(
    data=Images("prepared/imagenet", batch=4096),
    objective=BYOL(
        encoder=ResNetConfig(50, stem="imagenet", norm="batch", compute_dtype="bfloat16"),
        views=byol_views(224),
        projector=(4096, 256),
        predictor=(4096, 256),
        momentum=Momentum(0.996),
    ),
    optimizer=Lars(peak=3.2, warmup=3_128, decay=1.5e-6),
    steps=312_800,
    evaluate_every=5_000,
    save_every=5_000,
)
