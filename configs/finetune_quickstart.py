"""Which package of the standard library a docstring comes from, after `configs/quickstart.py`.

    python train.py --config configs/quickstart.py
    python finetune.py --config configs/finetune_quickstart.py
    python finetune.py --config configs/finetune_quickstart.py --from-scratch

Eight packages, about 1,500 docstrings to train on; dev and test are shares of the same.
"""

from jaxssl.data import Labelled
from jaxssl.finetuning.setup import Finetuning
from jaxssl.optimizers.recipes import AdamW
from jaxssl.tasks.classify import Classify

config = Finetuning(
    data=Labelled("stdlib", dev=0.15, test=0.15),
    task=Classify("runs/quickstart"),
    optimizer=AdamW(peak=5e-4, warmup=28),
    batch=32,
    epochs=6,
    seeds=(0, 1, 2),
)
