"""Fields that hold what their annotations do not allow are refused, in every configuration of the library."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pytest

from jaxssl.augment import Augmentation, MultiCrop, RandomResizedCrop
from jaxssl.data.rows import Rows
from jaxssl.errors import InputError, check_types, checked
from jaxssl.models.recipes import bert, gpt2, vit
from jaxssl.models.resnet import ResNetConfig
from jaxssl.models.transformer_config import TransformerConfig
from jaxssl.models.vision_transformer import VisionTransformerConfig
from jaxssl.objectives import (
    BYOL,
    DINO,
    CausalLM,
    MaskedLM,
    NextSentence,
    SimCLR,
    SimSiam,
    WordVectors,
)
from jaxssl.sharding.mesh import Mesh
from jaxssl.training.collapse import CollapseAlarm
from jaxssl.training.config import Pretraining


@dataclass(frozen=True)
class Inner:
    size: int = 1


@dataclass(frozen=True)
@checked
class Fields:
    whole: int = 1
    number: float = 1.0
    choice: Literal["a", "b"] | None = None
    level: Literal[1, 2] = 1
    flag: bool = False
    pair: tuple[int, float] = (1, 2.0)
    many: tuple[int, ...] = ()
    inner: Inner = Inner()
    either: Inner | str | None = None
    text: str = ""
    anything: Any = None

    def __post_init__(self):
        if self.whole < 0:
            raise InputError("whole is negative")


@pytest.mark.parametrize(
    "changes",
    [
        {"whole": np.int64(3)},
        {"number": 3},
        {"number": np.float32(0.5)},
        {"number": float("inf")},
        {"choice": "b"},
        {"level": 2},
        {"flag": True},
        {"pair": (2, 1)},
        {"many": [1, 2, 3]},
        {"either": "text"},
        {"either": Inner()},
        {"anything": object()},
        {"inner": object()},  # a class that behaves like it, as tests use
    ],
)
def test_what_fits_is_accepted(changes):
    assert Fields(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"whole": 2.5}, "whole=2.5 must be a whole number"),
        ({"whole": 2.0}, "whole=2.0 must be a whole number"),
        ({"whole": True}, "whole=True must be a whole number"),
        ({"whole": None}, "whole=None must be a whole number"),
        ({"number": "1"}, "number='1' must be a number"),
        ({"number": float("nan")}, "number=nan must be a number"),
        ({"choice": "c"}, "choice='c' is unknown; use a, b or None"),
        ({"choice": 7}, "choice=7 is unknown; use a, b or None"),
        ({"level": 1.0}, "level=1.0 is unknown; use 1 or 2"),
        ({"level": None}, "level=None is unknown; use 1 or 2"),
        ({"flag": 1}, "flag=1 must be True or False"),
        ({"flag": "no"}, "flag='no' must be True or False"),
        ({"pair": (1,)}, r"pair=\(1,\) must be 2 whole numbers, such as \(1, 2\)"),
        ({"pair": 3}, "pair=3 must be 2"),
        ({"many": (1, 2.5)}, r"many=\(1, 2.5\) must be several whole numbers"),
        ({"inner": 3}, "inner=3 must be a Inner"),
        ({"inner": None}, "inner=None must be a Inner"),
        ({"inner": Inner(size=1.5)}, r"inner\.size=1.5 must be a whole number"),
        ({"either": 3}, "either=3 must be a Inner, a text or None"),
        ({"text": 3}, "text=3 must be a text"),
        ({"whole": -1}, "whole is negative"),  # the class's own check comes after
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    with pytest.raises(InputError, match=message):
        Fields(**changes)


def test_a_copy_is_checked_as_well():
    with pytest.raises(InputError, match="whole=0.5"):
        dataclasses.replace(Fields(), whole=0.5)


def test_augmentations_are_checked_through_what_holds_them():
    for views, field in (
        (Augmentation(crop=None, flip=True), r"views\.flip=True must be a number"),
        (Augmentation(crop=RandomResizedCrop((0.5, True))), r"views\.crop\.scale"),
    ):

        @dataclass(frozen=True)
        class Holder:
            views: Any

        with pytest.raises(InputError, match=field):
            check_types(Holder(views))
    check_types(MultiCrop())


ENCODER = ResNetConfig(10, width=8)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BYOL(ENCODER, norm="bacth"), "norm='bacth' is unknown; use none, layer or batch"),
        (lambda: SimSiam(ENCODER, norm=None), "norm=None is unknown"),
        (lambda: SimCLR(ENCODER, norm=7), "norm=7 is unknown"),
        (lambda: SimCLR(None), "encoder=None must be a ResNetConfig or a VisionTransformerConfig"),
        (lambda: SimCLR(ENCODER, temperature="warm"), "temperature='warm' must be a number"),
        (lambda: BYOL(ENCODER, projector=(16.0, 8)), "projector=.* must be several whole numbers"),
        (lambda: BYOL(ENCODER, momentum=0.99), "momentum=0.99 must be a Momentum"),
        (lambda: DINO(ENCODER, prototypes=24.5), "prototypes=24.5 must be a whole number"),
        (
            lambda: TransformerConfig(positions=None),
            "positions=None is unknown; use learned, rotary or relative",
        ),
        (lambda: TransformerConfig(depth=2.5), "depth=2.5 must be a whole number"),
        (lambda: TransformerConfig(norm=None), "norm=None is unknown; use layer or rms"),
        (lambda: TransformerConfig(causal=1), "causal=1 must be True or False"),
        (lambda: TransformerConfig(norm_epsilon=-1e-6), "norm_epsilon=-1e-06 must be at least 0"),
        (
            lambda: TransformerConfig(initializer_range=-0.02),
            "initializer_range=-0.02 must be at least 0",
        ),
        (lambda: TransformerConfig(rotary_base=0.0), "rotary_base=0.0 must be above 0"),
        (lambda: TransformerConfig(dropout=1.5), r"dropout=1.5 is not in \[0, 1\)"),
        (lambda: TransformerConfig(dropout=float("nan")), "dropout=nan must be a number"),
        (
            lambda: ResNetConfig(depth=17),
            "depth=17 is unknown; use 10, 14, 18, 26, 34, 50, 101 or 152",
        ),
        (lambda: ResNetConfig(norm=None), "norm=None is unknown"),
        (lambda: ResNetConfig(width=8.5), "width=8.5 must be a whole number"),
        (lambda: VisionTransformerConfig(vit(), patch=4.0), "patch=4.0 must be a whole number"),
        (lambda: VisionTransformerConfig(vit(), pooling=None), "pooling=None is unknown"),
        (lambda: MaskedLM(bert(), label_smoothing=1.0), "label_smoothing=1.0 must be at least 0"),
        (lambda: MaskedLM(bert(), span_stop=0.0), "span_stop=0.0 must be above 0"),
        (lambda: MaskedLM(bert(), span_limit=0), "span_limit=0 must be at least 1"),
        (lambda: CausalLM(gpt2(), z_loss=-1.0), "z_loss=-1.0 must be at least 0"),
        (
            lambda: NextSentence(random_share=1.5),
            "random_share=1.5 must be at least 0 and at most 1",
        ),
        (lambda: WordVectors(power=-1.0), "power=-1.0 must be at least 0"),
        (lambda: Mesh(data=1.5), "data=1.5 must be a whole number"),
        (lambda: CollapseAlarm(reports=2.5), "reports=2.5 must be a whole number"),
        (lambda: Rows("rows", batch=2.5), "batch=2.5 must be a whole number"),
        (lambda: Rows("rows", weights=(1.0, "2")), "weights=.* must be several numbers"),
        (
            lambda: Pretraining(Rows("rows"), WordVectors(), steps=1.5),
            "steps=1.5 must be a whole number",
        ),
        (lambda: Pretraining(Rows("rows"), WordVectors(), seed=-1), "seed=-1 must be at least 0"),
        (lambda: Pretraining(Rows("rows"), WordVectors(), seed=10**20), "seed=1.* must be at most"),
    ],
)
def test_configurations_of_the_library_refuse_what_they_do_not_know(make, message):
    with pytest.raises(InputError, match=message):
        make()
