"""A denoising autoencoder, ResNet-50 on ImageNet-1k (Vincent et al. 2008, at the size of the other recipes).

    jaxssl prepare IMAGENET --size 256 --into prepared/imagenet
    python train.py --config configs/autoencoder_resnet50.py --data.path prepared/imagenet

A quarter of the pixels is hidden, one of the shares of the paper's section 4; its images had 28 x 28
pixels, and nobody has published this size. Not yet measured here.
"""

from jaxssl.augment import Augmentation, RandomResizedCrop
from jaxssl.data import Images
from jaxssl.models import ResNetConfig
from jaxssl.objectives import ImageAutoencoder
from jaxssl.optimizers.recipes import AdamW
from jaxssl.training.config import Pretraining

config = Pretraining(
    data=Images("prepared/imagenet", batch=1024),
    objective=ImageAutoencoder(
        encoder=ResNetConfig(50, stem="imagenet", norm="batch", compute_dtype="bfloat16"),
        code=1024,
        mask_ratio=0.25,
        views=Augmentation(size=(224, 224), crop=RandomResizedCrop((0.35, 1.0))),
    ),
    optimizer=AdamW(peak=1e-3, warmup=2_000, decay=0.05, schedule="cosine"),
    steps=125_000,
    evaluate_every=2_000,
    save_every=2_000,
)
