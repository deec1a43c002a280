"""data2vec for text, base size (Baevski et al. 2022, section 4.3 and appendix).

    jaxssl prepare TEXT --into prepared/text --length 512
    python train.py --config configs/data2vec_base.py --data.path prepared/text

The published run: BERT's books and Wikipedia, batch 256 of 512 tokens, 1 M updates; GLUE 82.7 where their
RoBERTa on the same data has 82.5 (table 3). The configuration in their code has other numbers: 35 % hidden in
runs of four tokens, a cosine after a warm-up of 10,000 steps, b2 0.98, clipping at 5, and a momentum that
grows for 300,000 steps.
"""

from jaxssl.data import Rows
from jaxssl.models import bert
from jaxssl.objectives import MaskedEmbedding
from jaxssl.optimizers.recipes import AdamW
from jaxssl.training.config import Pretraining

config = Pretraining(
    data=Rows("prepared/text", batch=256),
    objective=MaskedEmbedding(
        encoder=bert(depth=12, width=768, heads=12, compute_dtype="bfloat16"),
        momentum_steps=100_000,
    ),
    optimizer=AdamW(peak=2e-4, warmup=50_000),
    steps=1_000_000,
    save_every=5_000,
    evaluate_every=5_000,
)
