"""MAE, ViT-B/16 on ImageNet-1k (He et al. 2022, appendix A.1, table 8; decoder L8 W512).

    jaxssl prepare IMAGENET --size 256 --into prepared/imagenet
    python train.py --config configs/mae_vitb16.py --data.path prepared/imagenet

Published, ViT-B/16 after 1,600 epochs, as here: 83.6 % top-1 finetuned (table 3), 68.0 % by a linear probe
(table 12). The paper crops from images of full size; here they are prepared at 256 x 256. Not yet measured
here.
"""

from jaxssl.augment import Augmentation, RandomResizedCrop
from jaxssl.data import Images
from jaxssl.models import VisionTransformerConfig, vit
from jaxssl.objectives import MaskedAutoencoder
from jaxssl.optimizers.recipes import AdamW
from jaxssl.training.config import Pretraining

config = Pretraining(
    data=Images("prepared/imagenet", batch=4096),
    objective=MaskedAutoencoder(
        encoder=VisionTransformerConfig(vit(compute_dtype="bfloat16"), patch=16),
        decoder=vit(depth=8, width=512, heads=16, compute_dtype="bfloat16"),
        mask_ratio=0.75,
        views=Augmentation(
            size=(224, 224),
            crop=RandomResizedCrop((0.2, 1.0), filter="bicubic"),
            mean=(0.485, 0.456, 0.406),
            std=(0.229, 0.224, 0.225),
        ),
    ),
    optimizer=AdamW(
        peak=2.4e-3,
        warmup=12_500,
        b2=0.95,
        epsilon=1e-8,
        decay=0.05,
        clip=0.0,
        schedule="cosine",
    ),
    steps=500_000,
    evaluate_every=5_000,
    save_every=5_000,
)
