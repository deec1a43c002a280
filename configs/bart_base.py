"""BART-base (Lewis et al. 2020, L6+6 H768), text infilling and permuted sentences, on GPUs or TPUs.

    jaxssl prepare TEXT --into prepared/text --length 512 --tokenizer gpt2/tokenizer.json
    python train.py --config configs/bart_base.py --data.path prepared/text

30 % of the tokens hidden in spans of Poisson(3), each replaced by one mask, and all sentences permuted
(sections 2.2 and 5.1). The base model of section 4 was trained for 1 M steps on books and Wikipedia; with
text infilling and sentence shuffling: SQuAD 1.1 F1 90.8, MNLI 83.8 (table 1). BART-large: 500,000 steps of
8,000 rows; SQuAD 1.1 F1 94.6, MNLI 89.9 (table 2). Learning rate, warm-up and clipping are those of the
command in fairseq's issue 1899.
"""

from jaxssl.data import Rows
from jaxssl.models import bart
from jaxssl.objectives import Denoising
from jaxssl.optimizers.recipes import AdamW
from jaxssl.training.config import Pretraining

HALF = {"max_length": 512, "compute_dtype": "bfloat16"}

config = Pretraining(
    data=Rows("prepared/text", batch=512),
    objective=Denoising(encoder=bart(**HALF), decoder=bart(**HALF, causal=True)),
    optimizer=AdamW(peak=4e-4, warmup=10_000, clip=0.1),
    steps=1_000_000,
    save_every=5_000,
    evaluate_every=5_000,
)
