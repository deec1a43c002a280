"""DINO on CIFAR-10 (Caron et al. 2021, made small: L4 W128, patches of 4 x 4).

    jaxssl prepare SOURCE --size 32 --into prepared/cifar10
    python train.py --config configs/dino_cifar10.py
    jaxssl probe runs/dino_cifar10

SOURCE is CIFAR-10 in any form that `jaxssl prepare` reads. Two crops of 32 x 32 and four
of 16 x 16. A teacher's entropy of log(1,024) = 6.9, or of 0, is a collapse. Time and score: not yet measured.
"""

from jaxssl.augment import Augmentation, ColorJitter, MultiCrop, RandomResizedCrop
from jaxssl.data import Images
from jaxssl.models import VisionTransformerConfig, vit
from jaxssl.objectives import DINO, Momentum
from jaxssl.optimizers.recipes import AdamW
from jaxssl.training.config import Pretraining

COLOURS = {"jitter": ColorJitter(0.4, 0.4, 0.2, 0.1), "grayscale": 0.2}

config = Pretraining(
    data=Images("prepared/cifar10", batch=128),
    objective=DINO(
        encoder=VisionTransformerConfig(vit(depth=4, width=128, heads=4), patch=4),
        crops=MultiCrop(
            large=Augmentation(size=(32, 32), crop=RandomResizedCrop((0.4, 1.0)), **COLOURS),
            small=Augmentation(size=(16, 16), crop=RandomResizedCrop((0.1, 0.4)), **COLOURS),
            large_count=2,
            small_count=4,
        ),
        projector=(256, 256, 64),
        prototypes=1024,
        frozen=50,
        momentum=Momentum(0.99),
    ),
    optimizer=AdamW(peak=1e-3, warmup=50, decay=0.05, schedule="cosine"),
    steps=500,
    report_every=10,
    evaluate_every=250,
    evaluate_batches=5,
    save_every=250,
)
