"""A GPT of 1.3 B parameters (Brown et al. 2020, "GPT-3 XL", L24 H2048), causal LM, on many GPUs or TPUs.

    jaxssl plan configs/gpt_1b3.py --on v5e:16x16 --length 2048 --vocab-size 50304
    jaxssl prepare TEXT --into prepared/text --length 2048 --tokenizer gpt2/tokenizer.json
    python train.py --config configs/gpt_1b3.py --data.path prepared/text

As published (table 2.1, appendix B): 1 M tokens a batch, 300 G tokens, Adam with b2 0.95, peak 2e-4 after
375 M tokens, cosine to a tenth, weight decay 0.1, clipping at 1. Here 16 heads of 128 (the table's 24 do
not divide the width), attention to all earlier tokens in every layer (theirs alternate with sparse ones),
the full batch from the first step (theirs grows) and a cosine that ends with the run (theirs after 260 G
tokens). The state is sharded over 8 devices and replicated over the others.
"""

from jaxssl.data import Rows
from jaxssl.models import gpt2
from jaxssl.objectives import CausalLM
from jaxssl.optimizers.recipes import AdamW
from jaxssl.sharding.mesh import Mesh
from jaxssl.training.config import Pretraining

config = Pretraining(
    data=Rows("prepared/text", batch=512),
    objective=CausalLM(
        decoder=gpt2(
            depth=24,
            width=2048,
            heads=16,
            max_length=2048,
            dropout=0.0,
            compute_dtype="bfloat16",
        )
    ),
    optimizer=AdamW(
        peak=2e-4, warmup=375, schedule="cosine", decay=0.1, b2=0.95, epsilon=1e-8, final=0.1
    ),
    mesh=Mesh(data=-1, fsdp=8),
    steps=286_000,
    save_every=1_000,
    evaluate_every=1_000,
)
