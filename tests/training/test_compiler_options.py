"""Options of the compiler: what is read, what the table has, and what a compiler that lacks some is given."""

import functools
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from jaxssl.errors import InputError
from jaxssl.sharding.mesh import Mesh
from jaxssl.training import compiler_options
from jaxssl.training.chips import CHIPS
from jaxssl.training.compiler_options import (
    FLOAT32_SUMS,
    TABLE,
    in_words,
    options_for,
    read_options,
)
from jaxssl.training.config import Pretraining, read_config

QUICK = ["--config", "configs/quickstart.py"]


def mesh_of(kind: str):
    device = SimpleNamespace(platform="tpu", device_kind=kind)
    return SimpleNamespace(devices=np.array([[device]]))


def asking(words=None, sums="computed"):
    return SimpleNamespace(compiler_options=words, gradient_sums=sums)


def knows(*names: str):
    """A compiler that knows these options alone."""
    return lambda options, mesh: tuple(name for name, _ in options if name not in names)


def test_options_are_read_as_launch_scripts_write_them():
    assert read_options(("--xla_one=true", "xla_two=a=b")) == {"xla_one": "true", "xla_two": "a=b"}
    assert read_options(()) == {}


@pytest.mark.parametrize("words", [("xla_one",), ("xla_one=",), ("=true",), ("xla one=true",)])
def test_what_is_no_option_is_refused(words):
    with pytest.raises(InputError, match="write it as NAME=VALUE"):
        read_options(words)


def test_an_option_is_named_once():
    with pytest.raises(InputError, match="has xla_one twice"):
        read_options(("xla_one=1", "--xla_one=2"))


def test_the_table_names_chips_and_options():
    assert TABLE.keys() <= {chip.name for chip in CHIPS if chip.is_tpu}
    assert {"v5e", "v5p", "v6e"} <= TABLE.keys()
    for options in TABLE.values():
        words = tuple(f"{name}={value}" for name, value in options.items())
        assert read_options(words) == options


@pytest.mark.parametrize("chip", sorted(TABLE))
def test_a_tpu_gets_the_options_of_its_table(chip, monkeypatch):
    monkeypatch.setattr(compiler_options, "unknown_options", knows(*TABLE[chip]))
    (kind,) = (known.kind for known in CHIPS if known.name == chip)
    assert options_for(asking(None), mesh_of(kind)) == TABLE[chip]
    assert options_for(asking(()), mesh_of(kind)) == {}


def test_an_option_of_the_table_that_the_compiler_lacks_is_left_out_and_told(monkeypatch):
    first, *others = TABLE["v5e"]
    monkeypatch.setattr(compiler_options, "unknown_options", knows(*others))
    assert list(options_for(asking(None), mesh_of("TPU v5 lite"))) == others
    assert f"(this compiler does not know {first})" in in_words(
        asking(None), mesh_of("TPU v5 lite")
    )


def test_other_devices_get_none():
    mesh = Mesh().make(jax.devices()[:1])
    assert options_for(asking(None), mesh) == {}
    assert in_words(asking(None), mesh) == ""
    assert options_for(asking(None), mesh_of("TPU v99")) == {}


def test_an_option_of_the_user_that_the_compiler_lacks_is_refused():
    mesh = Mesh().make(jax.devices()[:1])
    with pytest.raises(
        InputError, match="has xla_tpu_nonsense, which the compiler for cpu does not"
    ):
        options_for(asking(("xla_tpu_nonsense=true",)), mesh)
    with pytest.raises(InputError, match="xla_embed_ir_in_executable=perhaps: .* this value"):
        options_for(asking(("xla_embed_ir_in_executable=perhaps",)), mesh)
    words = ("xla_embed_ir_in_executable=true",)
    assert options_for(asking(words), mesh) == {"xla_embed_ir_in_executable": "True"}
    assert in_words(asking(words), mesh) == "xla_embed_ir_in_executable=True"


def test_sums_in_float32_are_options_of_tpus_alone(monkeypatch):
    monkeypatch.setattr(compiler_options, "unknown_options", knows(*TABLE["v5e"], *FLOAT32_SUMS))
    tpu, cpu = mesh_of("TPU v5 lite"), Mesh().make(jax.devices()[:1])
    assert options_for(asking(sums="float32"), tpu) == {**TABLE["v5e"], **FLOAT32_SUMS}
    assert options_for(asking((), "float32"), tpu) == FLOAT32_SUMS
    assert options_for(asking(sums="float32"), cpu) == {}
    monkeypatch.setattr(compiler_options, "unknown_options", knows(*TABLE["v5e"]))
    with pytest.raises(InputError, match="f32_accum_for_bf16_ar.* does not know"):
        options_for(asking(sums="float32"), tpu)


def test_flags_give_options():
    read = functools.partial(read_config, Pretraining, "")
    assert read(QUICK).compiler_options is None
    flags = ["--compiler-options", "xla_one=1", "xla_two=2"]
    assert read([*QUICK, *flags]).compiler_options == ("xla_one=1", "xla_two=2")
    assert read([*QUICK, "--compiler-options"]).compiler_options == ()
    with pytest.raises(InputError, match="write it as NAME=VALUE"):
        read([*QUICK, "--compiler-options", "xla_one"])
