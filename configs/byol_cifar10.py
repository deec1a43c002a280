"""BYOL on CIFAR-10 (Grill et al. 2020, made small: ResNet-10 by 16).

    jaxssl prepare SOURCE --size 32 --into prepared/cifar10
    python train.py --config configs/byol_cifar10.py
    jaxssl probe runs/byol_cifar10

SOURCE is CIFAR-10 in any form that `jaxssl prepare` reads. The teacher begins with a momentum of
0.97, as the run is short, and heads are wide: ones of 256 and 128 stay behind raw pixels. The loss lies
between 0 and 8. 18 CPU minutes: linear probe 44.0 %, raw pixels 40.4 % (measured while batch norms took
both views together).
"""

from jaxssl.augment import simclr_views
from jaxssl.data import Images
from jaxssl.models import ResNetConfig
from jaxssl.objectives import BYOL, Momentum
from jaxssl.optimizers.recipes import AdamW
from jaxssl.training.config import Pretraining

config = Pretraining(
    data=Images("prepared/cifar10", batch=256),
    objective=BYOL(
        encoder=ResNetConfig(10, width=16),
        views=(simclr_views(24, strength=0.5, blurred=False, smallest=0.2),) * 2,
        projector=(1024, 256),
        predictor=(1024, 256),
        momentum=Momentum(0.97),
    ),
    optimizer=AdamW(peak=2e-3, warmup=50, schedule="cosine"),
    steps=800,
    report_every=10,
    evaluate_every=250,
    evaluate_batches=5,
    save_every=250,
)
