"""SimCLR on CIFAR-10 (Chen et al. 2020, appendix B.9, made small: ResNet-10 by 16).

    jaxssl prepare SOURCE --size 32 --into prepared/cifar10
    python train.py --config configs/simclr_cifar10.py

SOURCE is CIFAR-10 in any form that `jaxssl prepare` reads. An accuracy of 1 / 256 is chance: one partner
among the second views of the batch. 11 to 13 CPU minutes; linear probe 46.3 ± 1.3 %, 20
neighbours 46.1 ± 0.3 % (3 seeds; raw pixels 40.4 %).
"""

from jaxssl.augment import simclr_views
from jaxssl.data import Images
from jaxssl.models import ResNetConfig
from jaxssl.objectives import SimCLR
from jaxssl.optimizers.recipes import AdamW
from jaxssl.training.config import Pretraining

config = Pretraining(
    data=Images("prepared/cifar10", batch=256),
    objective=SimCLR(
        encoder=ResNetConfig(10, width=16),
        views=simclr_views(24, strength=0.5, blurred=False, smallest=0.2),
        projector=(256, 128),
        temperature=0.2,
    ),
    optimizer=AdamW(peak=3e-3, warmup=50, schedule="cosine"),
    steps=600,
    report_every=10,
    evaluate_every=250,
    evaluate_batches=5,
    save_every=250,
)
