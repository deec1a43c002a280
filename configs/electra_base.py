"""ELECTRA-base (Clark et al. 2020, L12 H768, generator a third) on GPUs or TPUs.

    jaxssl prepare TEXT --into prepared/text --length 512 --tokenizer bert-base-uncased-vocab.txt
    python train.py --config configs/electra_base.py --data.path prepared/text

Published: batch 256 of 512 tokens, 766 k steps, 4 days on 16 TPUv3 chips; GLUE dev 85.1, where BERT-base has
82.2 (tables 1 and 6). Their Adam does not correct the bias of its moments; AdamW does.
"""

from jaxssl.data import Rows
from jaxssl.models import bert
from jaxssl.objectives import Electra
from jaxssl.optimizers.recipes import AdamW
from jaxssl.training.config import Pretraining

config = Pretraining(
    data=Rows("prepared/text", batch=256),
    objective=Electra(
        discriminator=bert(depth=12, width=768, heads=12, compute_dtype="bfloat16"),
        generator_size=1 / 3,
    ),
    optimizer=AdamW(peak=2e-4, warmup=10_000),
    steps=766_000,
    save_every=5_000,
    evaluate_every=5_000,
)
