"""ModernBERT-base's recipe (Warner et al. 2024, L22 H768): rotary, GeGLU, local and global layers.

    jaxssl prepare TEXT --into prepared/text --length 1024 --tokenizer tokenizer.json
    python train.py --config configs/modernbert_base.py --data.path prepared/text

A rate of 30 % and no second task (section 2.2); the published run saw 1.7 T tokens at length 1024, then
300 G at 8192: GLUE 88.4 (table 1). Here: the first phase, warmup-stable-decay, for as long as you like.
"""

from jaxssl.data import Rows
from jaxssl.models import modernbert
from jaxssl.objectives import MaskedLM
from jaxssl.optimizers.recipes import AdamW
from jaxssl.training.config import Pretraining

config = Pretraining(
    data=Rows("prepared/text", batch=512),
    objective=MaskedLM(
        encoder=modernbert(depth=22, width=768, heads=12, compute_dtype="bfloat16"),
        rate=0.3,
        shares=(1.0, 0.0, 0.0),
    ),
    optimizer=AdamW(peak=8e-4, warmup=3_000, schedule="warmup_stable_decay", decay=1e-5, b2=0.98),
    steps=200_000,
    save_every=5_000,
    evaluate_every=5_000,
)
