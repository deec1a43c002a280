"""GPT-2 small (Radford et al. 2019, L12 H768, 124 M parameters), causal LM, on GPUs or TPUs.

    jaxssl prepare TEXT --into prepared/text --length 1024 --tokenizer gpt2/tokenizer.json
    python train.py --config configs/gpt2_small.py --data.path prepared/text

Published: 0.5 M tokens a batch; WikiText-103 perplexity 37.5 without finetuning (table 3). Learning rate
and schedule were not: these are those of the smallest GPT-3 (Brown et al. 2020, table 2.1 and appendix B),
for 315 G tokens. There is no dropout.
"""

from jaxssl.data import Rows
from jaxssl.models import gpt2
from jaxssl.objectives import CausalLM
from jaxssl.optimizers.recipes import AdamW
from jaxssl.training.config import Pretraining

config = Pretraining(
    data=Rows("prepared/text", batch=512),
    objective=CausalLM(
        decoder=gpt2(depth=12, width=768, heads=12, dropout=0.0, compute_dtype="bfloat16")
    ),
    optimizer=AdamW(peak=6e-4, warmup=2_000, schedule="cosine", decay=0.1, b2=0.95, final=0.1),
    microbatches=8,
    steps=600_000,
    save_every=5_000,
    evaluate_every=5_000,
)
