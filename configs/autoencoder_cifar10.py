"""A denoising autoencoder on CIFAR-10 (Vincent et al. 2008): ResNet-10 by 16, a code of 128 numbers.

    jaxssl prepare SOURCE --size 32 --into prepared/cifar10
    python train.py --config configs/autoencoder_cifar10.py
    python train.py --config configs/autoencoder_cifar10.py --objective.mask-ratio 0 --run runs/plain

`explained` is the share of the images' variance about their own means. 10 CPU
minutes: linear probe 41.7 %, raw pixels 40.4 %.
"""

from jaxssl.augment import Augmentation
from jaxssl.data import Images
from jaxssl.models import ResNetConfig
from jaxssl.objectives import ImageAutoencoder
from jaxssl.optimizers.recipes import AdamW
from jaxssl.training.config import Pretraining

config = Pretraining(
    data=Images("prepared/cifar10", batch=64),
    objective=ImageAutoencoder(
        encoder=ResNetConfig(10, width=16),
        code=128,
        mask_ratio=0.1,
        decoder_width=8,
        views=Augmentation(crop=None, flip=0.5),
    ),
    optimizer=AdamW(peak=2e-3, warmup=100, schedule="cosine"),
    steps=1_200,
    evaluate_every=250,
    evaluate_batches=20,
    save_every=250,
)
