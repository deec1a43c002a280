"""SigLIP on image-text pairs of your own (Zhai et al. 2023, made small: L4 W128 twice, patches of 8 x 8).

    jaxssl prepare IMAGES --captions CAPTIONS.jsonl --size 64 --length 32 --vocab-size 1024 \\
        --into prepared/pairs
    python train.py --config configs/siglip_tiny.py

IMAGES is a folder or a ZIP; CAPTIONS.jsonl has a line {"image": NAME, "caption": TEXT} for each of a few
hundred pairs or more. An accuracy of 1 / 64 is chance: one caption of the batch. `--objective.kind clip` is
CLIP's loss. Time and score: not yet measured.
"""

from jaxssl.augment import Augmentation, RandomResizedCrop
from jaxssl.data import Images
from jaxssl.models import VisionTransformerConfig, modern, vit
from jaxssl.objectives import ImageText
from jaxssl.optimizers.recipes import AdamW
from jaxssl.training.config import Pretraining

config = Pretraining(
    data=Images("prepared/pairs", batch=64),
    objective=ImageText(
        encoder=VisionTransformerConfig(vit(depth=4, width=128, heads=4), patch=8),
        text=modern(depth=4, width=128, heads=4, max_length=32),
        kind="siglip",
        width=128,
        views=Augmentation(crop=RandomResizedCrop((0.6, 1.0)), mean=(0.5,) * 3, std=(0.25,) * 3),
    ),
    optimizer=AdamW(peak=1e-3, warmup=50, decay=0.1, schedule="cosine"),
    steps=500,
    report_every=10,
    evaluate_every=250,
    evaluate_batches=1,
    save_every=250,
)
