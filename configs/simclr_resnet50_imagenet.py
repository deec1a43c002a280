"""SimCLR, ResNet-50 on ImageNet-1k (Chen et al. 2020, section 2.2 and table 6).

    jaxssl prepare IMAGENET --size 256 --into prepared/imagenet
    python train.py --config configs/simclr_resnet50_imagenet.py --data.path prepared/imagenet

Published, ResNet-50 after 1,000 epochs of batches of 4,096: 69.3 % top-1 by a linear probe (table 6).
The settings are those of the paper, whose crops are of images of full size. Not yet measured here.
"""

from jaxssl.augment import simclr_views
from jaxssl.data import Images
from jaxssl.models import ResNetConfig
from jaxssl.objectives import SimCLR
from jaxssl.optimizers.recipes import Lars
from jaxssl.training.config import Pretraining

config = Pretraining(
    data=Images("prepared/imagenet", batch=4096),
    objective=SimCLR(
        encoder=ResNetConfig(50, stem="imagenet", norm="batch", compute_dtype="bfloat16"),
        views=simclr_views(224),
        projector=(2048, 128),
        norm="batch",
        temperature=0.1,
    ),
    optimizer=Lars(peak=4.8, warmup=3_128, decay=1e-6),
    steps=312_800,
    evaluate_every=5_000,
    save_every=5_000,
)
