"""DINO, ViT-S/16 on ImageNet-1k (Caron et al. 2021, section 3.2).

    jaxssl prepare IMAGENET --size 256 --into prepared/imagenet
    python train.py --config configs/dino_vits16.py --data.path prepared/imagenet

Published, ViT-S/16: 77.0 % top-1 by a linear probe, 74.5 % by nearest neighbours (table 2). 800 epochs of
batches of 1,024, two large and ten small crops. Theirs raises weight decay from 0.04 to 0.4 and drops paths;
ours keeps 0.1 and drops none. Not yet measured here.
"""

from jaxssl.augment import dino_views
from jaxssl.data import Images
from jaxssl.models import VisionTransformerConfig, vit
from jaxssl.objectives import DINO, Momentum
from jaxssl.optimizers.recipes import AdamW
from jaxssl.training.config import Pretraining

config = Pretraining(
    data=Images("prepared/imagenet", batch=1024),
    objective=DINO(
        encoder=VisionTransformerConfig(
            vit(depth=12, width=384, heads=6, compute_dtype="bfloat16"),
            patch=16,
            positions="learned",
            positions_size=(224, 224),
        ),
        crops=dino_views(224, 96, small_count=10),
        projector=(2048, 2048, 256),
        prototypes=65_536,
        teacher_temperature=0.07,
        first_temperature=0.04,
        warmup=37_530,
        frozen=1_251,
        momentum=Momentum(0.996),
    ),
    optimizer=AdamW(
        peak=2e-3,
        warmup=12_510,
        epsilon=1e-8,
        decay=0.1,
        clip=0.0,
        schedule="cosine",
        final=5e-4,
    ),
    steps=1_000_800,
    evaluate_every=10_000,
    save_every=10_000,
)
