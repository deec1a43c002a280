"""VICReg on CIFAR-10 (Bardes et al. 2022, made small: ResNet-10 by 16).

    jaxssl prepare SOURCE --size 32 --into prepared/cifar10
    python train.py --config configs/vicreg_cifar10.py
    jaxssl probe runs/vicreg_cifar10

SOURCE is CIFAR-10 in any form that `jaxssl prepare` reads. 12 CPU minutes;
linear probe 43.3 % (measured while batch norms took both views together).
"""

from jaxssl.augment import simclr_views
from jaxssl.data import Images
from jaxssl.models import ResNetConfig
from jaxssl.objectives import VICReg
from jaxssl.optimizers.recipes import AdamW
from jaxssl.training.config import Pretraining

config = Pretraining(
    data=Images("prepared/cifar10", batch=256),
    objective=VICReg(
        encoder=ResNetConfig(10, width=16),
        views=(simclr_views(24, strength=0.5, blurred=False, smallest=0.2),) * 2,
        projector=(256, 256),
    ),
    optimizer=AdamW(peak=2e-3, warmup=35, schedule="cosine"),
    steps=350,
    report_every=10,
    evaluate_every=250,
    evaluate_batches=5,
    save_every=250,
)
