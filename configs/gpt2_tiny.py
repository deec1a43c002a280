"""A GPT-2 of 3 M parameters beside its embedding (L4 H256), causal LM, on your own text.

jaxssl prepare TEXT --into prepared/text --length 128 --vocab-size 8192
python train.py --config configs/gpt2_tiny.py --data.path prepared/text
"""

from jaxssl.data import Rows
from jaxssl.models import gpt2
from jaxssl.objectives import CausalLM
from jaxssl.optimizers.recipes import AdamW
from jaxssl.training.config import Pretraining

config = Pretraining(
    data=Rows("prepared/text", batch=64),
    objective=CausalLM(decoder=gpt2(depth=4, width=256, heads=4, dropout=0.0)),
    optimizer=AdamW(peak=1e-3, warmup=500, schedule="cosine", decay=0.1, b2=0.95, final=0.1),
    steps=20_000,
)
