"""VICReg, ResNet-50 on ImageNet-1k (Bardes et al. 2022, section 4.2).

    jaxssl prepare IMAGENET --size 256 --into prepared/imagenet
    python train.py --config configs/vicreg_resnet50.py --data.path prepared/imagenet

Published, ResNet-50 after 1,000 epochs of batches of 2,048: 73.2 % top-1 by a linear probe (table 1).
The settings are those of the paper, whose crops are of images of full size, with the last learning rate of
the authors' code, 0.0016; the paper's is 0.002. Not yet measured here.
"""

from jaxssl.augment import byol_views
from jaxssl.data import Images
from jaxssl.models import ResNetConfig
from jaxssl.objectives import VICReg
from jaxssl.optimizers.recipes import Lars
from jaxssl.training.config import Pretraining

config = Pretraining(
    data=Images("prepared/imagenet", batch=2048),
    objective=VICReg(
        encoder=ResNetConfig(50, stem="imagenet", norm="batch", compute_dtype="bfloat16"),
        views=byol_views(224),
        projector=(8192, 8192, 8192),
    ),
    optimizer=Lars(peak=1.6, warmup=6_256, decay=1e-6, final=1e-3),
    steps=625_600,
    evaluate_every=10_000,
    save_every=10_000,
)
