"""Configurations of tiny runs, of text and of images, to plan for eight devices."""

from jaxssl.data.images import Images
from jaxssl.data.rows import Rows
from jaxssl.models.recipes import bert, gpt2
from jaxssl.objectives import CausalLM, MaskedLM
from jaxssl.planning.plan import Plan, make_plan
from jaxssl.planning.targets import read_target
from jaxssl.training.config import Pretraining
from tests.test_train_images import Shade

SHAPE = {"depth": 3, "width": 32, "heads": 4, "max_length": 32, "dropout": 0.0}
MASKED = Pretraining(data=Rows("nowhere", batch=16), objective=MaskedLM(encoder=bert(**SHAPE)))
CAUSAL = Pretraining(data=Rows("nowhere", batch=16), objective=CausalLM(decoder=gpt2(**SHAPE)))
SHADES = Pretraining(data=Images("nowhere", batch=16), objective=Shade())
SIZES = {"data": 1, "fsdp": 8, "tensor": 1}


def plan_on(config: Pretraining, target: str = "cpu:8") -> Plan:
    return make_plan(config, read_target(target), length=32, vocab_size=64)
