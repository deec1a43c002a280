"""SimSiam, ResNet-50 on ImageNet-1k (Chen & He 2021, section 3).

    jaxssl prepare IMAGENET --size 256 --into prepared/imagenet
    python train.py --config configs/simsiam_resnet50.py --data.path prepared/imagenet

Published, ResNet-50 after 100 epochs of batches of 512: 68.1 % top-1 by a linear probe (table 4). The
settings are those of the paper, except that there the predictor's learning rate stays constant. Not yet
measured here.
"""

from jaxssl.augment import simsiam_views
from jaxssl.data import Images
from jaxssl.models import ResNetConfig
from jaxssl.objectives import SimSiam
from jaxssl.optimizers.recipes import Sgd
from jaxssl.training.config import Pretraining

config = Pretraining(
    data=Images("prepared/imagenet", batch=512),
    objective=SimSiam(
        encoder=ResNetConfig(50, stem="imagenet", norm="batch", compute_dtype="bfloat16"),
        views=simsiam_views(224),
        projector=(2048, 2048, 2048),
        predictor=(512, 2048),
    ),
    optimizer=Sgd(peak=0.1, warmup=0, decay=1e-4),
    steps=250_200,
    evaluate_every=5_000,
    save_every=5_000,
)
