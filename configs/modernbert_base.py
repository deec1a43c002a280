"""ModernBERT-base's recipe (Warner et al. 2024, L22 H768): rotary, GeGLU, local and global layers.

    jaxssl prepare TEXT --into prepared/text --length 1024 --tokenizer tokenizer.json
    python train.py --config configs/modernbert_base.py --data.path prepared/text

A rate of 30 % and no second task (section 2.2); the published run saw 1.7 T tokens at length 1024, then
300 G at 8192: GLUE 88.4 (table 1). Here: the first phase, with its rotary base of 10,000 (160,000 later),
warmup-stable-decay, for as long as you like. Published: 4,608 rows a batch, fewer in the first 50 G tokens; a
warm-up of 3 G tokens; StableAdamW, which limits the step of each parameter where AdamW clips the whole
gradient. Its weight decay of 1e-5 is not multiplied by the learning rate: here it is 1e-5 / 8e-4.
"""

from jaxssl.data import Rows
from jaxssl.models import modernbert
from jaxssl.objectives import MaskedLM
from jaxssl.optimizers.recipes import AdamW
from jaxssl.training.config import Pretraining

config = Pretraining(
    data=Rows("prepared/text", batch=512),
    objective=MaskedLM(
        encoder=modernbert(
            depth=22, width=768, heads=12, rotary_base=10_000.0, compute_dtype="bfloat16"
        ),
        rate=0.3,
    ),
    optimizer=AdamW(peak=8e-4, warmup=3_000, schedule="warmup_stable_decay", decay=0.0125, b2=0.98),
    steps=200_000,
    save_every=5_000,
    evaluate_every=5_000,
)
