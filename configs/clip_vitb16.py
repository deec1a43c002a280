"""CLIP, ViT-B/16 on image-text pairs (Radford et al. 2021, section 2 and tables 18 to 20).

    jaxssl prepare IMAGES --captions CAPTIONS.jsonl --size 256 --length 77 --vocab-size 49408 \\
        --into prepared/pairs
    python train.py --config configs/clip_vitb16.py --data.path prepared/pairs

The published run read 400 million pairs 32 times in batches of 32,768, as this recipe does, and embedded a
caption by its last state; here it is the mean of its states. Crops are those of OpenCLIP, of 0.9 to 1 of the
area; the paper's are squares at random positions. Not yet measured here.
"""

from jaxssl.augment import Augmentation, RandomResizedCrop
from jaxssl.data import Images
from jaxssl.models import VisionTransformerConfig, gpt2, vit
from jaxssl.objectives import ImageText
from jaxssl.optimizers.recipes import AdamW
from jaxssl.training.config import Pretraining

config = Pretraining(
    data=Images("prepared/pairs", batch=32_768),
    objective=ImageText(
        encoder=VisionTransformerConfig(vit(compute_dtype="bfloat16"), patch=16),
        text=gpt2(
            depth=12, width=512, heads=8, max_length=77, dropout=0.0, compute_dtype="bfloat16"
        ),
        width=512,
        views=Augmentation(
            size=(224, 224),
            crop=RandomResizedCrop((0.9, 1.0), filter="bicubic"),
            flip=0.0,
            mean=(0.4815, 0.4578, 0.4082),
            std=(0.2686, 0.2613, 0.2758),
        ),
        temperature=0.07,
    ),
    optimizer=AdamW(peak=5e-4, warmup=2_000, b2=0.98, decay=0.2, clip=0.0, schedule="cosine"),
    microbatches=4,
    steps=390_600,
    evaluate_every=5_000,
    save_every=5_000,
)
