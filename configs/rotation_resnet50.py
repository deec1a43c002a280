"""Rotation, ResNet-50 on ImageNet-1k (Gidaris et al. 2018; the network of Kolesnikov et al. 2019).

    jaxssl prepare IMAGENET --size 256 --into prepared/imagenet
    python train.py --config configs/rotation_resnet50.py --data.path prepared/imagenet

Published, ResNet-50 by a linear probe: 48.9 % top-1 (Misra & van der Maaten 2020, table 2). 35 epochs of all
four rotations, as theirs; theirs with SGD, ours with AdamW. Crops have at least 0.35 of the area, those of
Gidaris et al. at least 0.08. Not yet measured here.
"""

from jaxssl.augment import Augmentation, RandomResizedCrop
from jaxssl.data import Images
from jaxssl.models import ResNetConfig
from jaxssl.objectives import Rotation
from jaxssl.optimizers.recipes import AdamW
from jaxssl.training.config import Pretraining

config = Pretraining(
    data=Images("prepared/imagenet", batch=1024),
    objective=Rotation(
        encoder=ResNetConfig(50, stem="imagenet", norm="batch", compute_dtype="bfloat16"),
        views=Augmentation(
            size=(224, 224),
            crop=RandomResizedCrop((0.35, 1.0)),
            mean=(0.485, 0.456, 0.406),
            std=(0.229, 0.224, 0.225),
        ),
    ),
    optimizer=AdamW(peak=1e-3, warmup=2_000, decay=0.05, schedule="cosine"),
    steps=44_000,
    evaluate_every=2_000,
    save_every=2_000,
)
