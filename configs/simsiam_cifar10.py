"""SimSiam on CIFAR-10 (Chen & He 2021, appendix D, made small: ResNet-10 by 16).

    jaxssl prepare SOURCE --size 32 --into prepared/cifar10
    python train.py --config configs/simsiam_cifar10.py
    jaxssl probe runs/simsiam_cifar10

SOURCE is CIFAR-10 in any form that `jaxssl prepare` reads. The loss is -1 where the
embeddings of both views are equal. With `--objective.no-stop-gradient` they collapse, and the run says so.
Time and score: not yet measured.
"""

from jaxssl.augment import simclr_views
from jaxssl.data import Images
from jaxssl.models import ResNetConfig
from jaxssl.objectives import SimSiam
from jaxssl.optimizers.recipes import AdamW
from jaxssl.training.config import Pretraining

config = Pretraining(
    data=Images("prepared/cifar10", batch=256),
    objective=SimSiam(
        encoder=ResNetConfig(10, width=16),
        views=simclr_views(24, strength=0.5, blurred=False, smallest=0.2),
        projector=(256, 256),
        predictor=(64, 256),
    ),
    optimizer=AdamW(peak=2e-3, warmup=50, schedule="cosine"),
    steps=500,
    report_every=10,
    evaluate_every=250,
    evaluate_batches=5,
    save_every=250,
)
