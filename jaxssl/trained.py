"""What a run has learned, as one object: `jaxssl.load(run)`.

    model = jaxssl.load("runs/quickstart")
    model.embed(["two dogs run", "a cat sleeps"])              # float32 [2, width]
    model.fill("the [MASK] of the list")                       # guesses for every mask
    jaxssl.load("runs/gpt").generate("It was a bright", top_p=0.95)        # the text behind it
    jaxssl.load("runs/finetune_quickstart").predict("a text")  # its most probable label

One input gives one result. A list of inputs gives a list of results, or an array with one more axis in front.
"""

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxssl.data.images import ImageSpec
from jaxssl.data.stores.store import Store, is_url
from jaxssl.errors import InputError
from jaxssl.finetuning.finetuned import Finetuned, load_finetuned
from jaxssl.finetuning.results import DESCRIPTION
from jaxssl.objectives.image_text import ImageText
from jaxssl.objectives.masked_lm import MaskedLM
from jaxssl.pretrained.fill import MaskFiller
from jaxssl.pretrained.generate import WRITERS, GenerationConfig, Generator
from jaxssl.pretrained.images import embedder_of, has_image_encoder
from jaxssl.pretrained.load import Pretrained, load_pretrained
from jaxssl.pretrained.texts import caption_embedder, text_embedder
from jaxssl.runs.modules import load_code

Embed = Callable[[Any], Float[np.ndarray, "inputs width"]]


@dataclass(frozen=True, repr=False)
class TrainedModel:
    """A model with the parameters of the best checkpoint of a run, and what reads its inputs."""

    run: str
    """Folder of the run, or its address on an object store."""
    kind: str
    """The kind of the run in words, such as "a pretraining with MaskedLM"."""
    step: int
    """Number of optimizer steps that the parameters have taken."""
    loaded: Pretrained | Finetuned
    """Configuration, parameters and tokenizer, as `load_pretrained` or `load_finetuned` returns them."""
    embedders: Mapping[str, Embed]
    """What embeds "texts" and "images", as far as the run can."""
    filler: MaskFiller | None = None
    """What guesses masked tokens; None for a run that cannot."""
    generator: Generator | None = None
    """What goes on with texts; None for a run that cannot."""
    classifier: Finetuned | None = None
    """What predicts labels; None for a run that cannot."""
    origin: str = ""
    """Run that a finetuning began from; empty for a pretraining."""

    @property
    def can(self) -> tuple[str, ...]:
        """What the run can do, such as `("embed texts", "fill masks")`."""
        found = [f"embed {things}" for things in self.embedders]
        found += ["fill masks"] if self.filler else []
        found += ["generate texts"] if self.generator else []
        found += ["predict labels"] if self.classifier else []
        return tuple(found)

    def embed(self, inputs: str | Sequence[str] | np.ndarray) -> Float[np.ndarray, "..."]:
        """Embeds texts or images, without dropout or augmentation.

        The vector of a text is made as the objective has trained it, else as the mean over the states of its
        tokens; texts that are too long are truncated. The vector of an image is the features of the encoder.
        A run with `ImageText` embeds both into the space that they share.

        Args:
          inputs: A text or a list of texts; or pixels of one image, uint8 `[height, width, channels]`, or of
            several, uint8 `[images, height, width, channels]`, in the size that the run has read.

        Returns:
          float32 `[width]` for one input, `[inputs, width]` for several.

        Raises:
          InputError: The run cannot embed such inputs, or images have another type or size.
        """
        pixels = (
            inputs if isinstance(inputs, np.ndarray) and inputs.dtype.kind not in "USO" else None
        )
        things = "texts" if pixels is None else "images"
        if things not in self.embedders:
            raise self._refusal(f"embed {things}")
        embed = self.embedders[things]
        if pixels is None:
            return _one_or_all(embed, inputs)
        return embed(pixels[None])[0] if pixels.ndim == 3 else embed(pixels)

    def fill(self, texts: str | Sequence[str], count: int = 5) -> list[Any]:
        """Guesses the tokens at the masks of texts.

        Args:
          texts: A text, or a list of texts, with one `[MASK]` or several; each stands for one token.
          count: Number of guesses for each mask.

        Returns:
          For one text, a list with an entry for each of its masks: the most probable tokens, best first, as
          `Guess(text, probability)`. For several texts, the list of these lists.

        Raises:
          InputError: The run has not learned with `MaskedLM`, or a text has no mask or too many tokens.
        """
        filler = self.filler
        if filler is None:
            raise self._refusal("fill masks")
        return _one_or_all(lambda every: filler(every, count), texts)

    def generate(self, prompts: str | Sequence[str], **options: Any) -> str | list[str]:
        """Goes on with texts.

        Args:
          prompts: Beginning of a text, or a list of them. What an encoder-decoder has learned with reads
            them with its encoder, and writes a text of its own.
          options: Fields of `GenerationConfig`, such as `tokens=50`, `temperature=0.8`, `top_p=0.95`,
            `beams=4`, `stop=("\n",)` or `seed=1`.

        Returns:
          The text behind a prompt, without it, or the list of those of all prompts. `text_generator` also
          says why each ends, and yields a text while it is made (`Generator`).

        Raises:
          InputError: The run does not write texts, a prompt is empty or too long, or an option has a value
            that it cannot have.
        """
        generator, config = self.text_generator, GenerationConfig(**options)
        return _one_or_all(lambda every: [one.text for one in generator(every, config)], prompts)

    @property
    def text_generator(self) -> Generator:
        """What goes on with texts. Raises InputError for a run that cannot."""
        if self.generator is None:
            raise self._refusal("generate texts")
        return self.generator

    def predict(
        self, texts: str | Sequence[str], seconds: str | Sequence[str] | None = None
    ) -> str | list[str]:
        """Predicts the most probable label of texts, or of pairs of texts.

        Args:
          texts: A text or a list of texts; those that are too long are truncated.
          seconds: The second text of each pair, for a model that was finetuned on pairs.

        Returns:
          The label of one text, or the list of labels of several.

        Raises:
          InputError: The run is not a finetuning, or it was finetuned on pairs and gets single texts, or the
            reverse.
        """
        classifier = self.classifier
        if classifier is None:
            raise self._refusal("predict labels")
        if seconds is not None and isinstance(seconds, str) != isinstance(texts, str):
            raise InputError("texts and seconds must both be one text, or both be lists of texts")
        others = [seconds] if isinstance(seconds, str) else seconds
        return _one_or_all(lambda every: classifier.predict(every, others), texts)

    def __repr__(self) -> str:
        return f"TrainedModel({self.run!r}: {self.kind}, step {self.step:,}; {self._abilities})"

    @property
    def _abilities(self) -> str:
        return f"it can {' and '.join(self.can)}" if self.can else "it can only be looked into"

    def _refusal(self, wish: str) -> InputError:
        """The error for a wish that this run cannot serve, with the way out."""
        if wish == "predict labels":
            way_out = "load a finetuning of a run that has read text"
            if set(self.embedders) == {"texts"}:
                way_out = (
                    f"finetune it (jaxssl finetune finetune_text --task.checkpoint {shlex.quote(self.run)} "
                    "--data.train train.tsv) and load that run"
                )
        elif self.origin:
            way_out = f"load the pretraining that it began from, {self.origin!r}"
        elif wish == "fill masks":
            way_out = "load a run that has learned with MaskedLM"
        elif wish == "generate texts":
            way_out = "load a run that has learned with CausalLM, Denoising or SpanCorruption"
        else:
            way_out = f"load a run that has read {wish.removeprefix('embed ')}"
        return InputError(f"{self.run} is {self.kind}: {self._abilities}, not {wish}; {way_out}")


def load_trained(run: str | Path, *, code: Sequence[str | Path] = ()) -> TrainedModel:
    """Loads the best checkpoint of a pretraining or of a finetuning. `jaxssl.load` is this function.

    Args:
      run: Folder of a run, or its address on an object store; or a Hugging Face folder as `hf:FOLDER`. The
        folder of a finetuning stands for its folder `pretrained`. Of several seeds the best on dev is taken.
      code: Python files, or names of modules, that define classes of the user's own which the run was
        made with.

    Raises:
      InputError: There is no run, or it has no checkpoint.
    """
    load_code(code)
    for folder in (str(run), f"{run}/pretrained"):
        if _has_file(folder, DESCRIPTION):
            return _from_finetuning(str(run), load_finetuned(folder))
    return _from_pretraining(str(run), load_pretrained(run, carried=True))


def _from_finetuning(run: str, found: Finetuned) -> TrainedModel:
    task = found.config.task
    return TrainedModel(
        run=run,
        kind=f"a finetuning with {type(task).__name__}",
        step=found.step,
        loaded=found,
        embedders={},
        classifier=found,
        origin=task.checkpoint,
    )


def _from_pretraining(run: str, found: Pretrained) -> TrainedModel:
    is_images = isinstance(found.spec, ImageSpec)
    return TrainedModel(
        run=run,
        kind=_kind(found),
        step=found.step,
        loaded=found,
        embedders=_embedders_of_images(run, found)
        if is_images
        else _embedders_of_texts(run, found),
        filler=MaskFiller.of(found) if _can_fill(found) else None,
        generator=Generator.of(found) if _can_write(found) else None,
    )


def _kind(found: Pretrained) -> str:
    """The kind of a pretraining in words."""
    if found.origin is not None:
        return f"an imported {found.origin.architecture}"
    return f"a pretraining with {type(found.objective).__name__}"


def _can_fill(found: Pretrained) -> bool:
    """Whether the network has learned to guess masked tokens; an imported encoder has a random head."""
    has_head = found.origin is None or not found.origin.missing
    return isinstance(found.objective, MaskedLM) and found.texts is not None and has_head


def _can_write(found: Pretrained) -> bool:
    """Whether the network writes texts; an imported one may lack its head, or its tokenizer."""
    has_head = found.origin is None or not found.origin.missing
    return isinstance(found.objective, WRITERS) and found.texts is not None and has_head


def _embedders_of_texts(run: str, found: Pretrained) -> dict[str, Embed]:
    objective = found.objective
    try:
        objective.network(found.model)
    except InputError:  # the objective says that it has none
        return {}
    if found.texts is None:  # a Hugging Face folder without a tokenizer
        return {}
    return {"texts": text_embedder(run, found)}


def _embedders_of_images(run: str, found: Pretrained) -> dict[str, Embed]:
    """What embeds images and, after a contrast of images and texts, also texts."""
    model, objective = found.model, found.objective
    if not has_image_encoder(model):
        return {}
    features = embedder_of(objective, model, found.carried, run)
    wanted = (found.spec.height, found.spec.width, found.spec.channels)

    def embed_images(pixels: np.ndarray) -> np.ndarray:
        if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1:] != wanted:
            raise InputError(
                f"the inputs are {pixels.dtype} of shape {pixels.shape}, and {run} has read uint8 images of "
                f"(height, width, channels) = {wanted}; resize and convert them, and stack several images "
                "along a first axis"
            )
        return features(pixels)

    if not isinstance(objective, ImageText):
        return {"images": embed_images}

    def embed_in_common_space(pixels: np.ndarray) -> np.ndarray:
        return np.asarray(model.project_images(jnp.asarray(embed_images(pixels))))

    if found.texts is None:  # a Hugging Face folder without a tokenizer
        return {"images": embed_in_common_space}
    states = caption_embedder(run, found)
    return {
        "images": embed_in_common_space,
        "texts": lambda texts: np.asarray(model.text_projection(jnp.asarray(states(texts)))),
    }


def _has_file(folder: str, name: str) -> bool:
    return Store(folder).exists(name) if is_url(folder) else (Path(folder) / name).is_file()


def _one_or_all(function: Callable[[list[str]], Any], texts: Any) -> Any:
    """Calls a function of lists of texts: the result for one text, or all results for a list."""
    every = [texts] if isinstance(texts, str) else list(texts)
    if not all(isinstance(text, str) for text in every):
        raise InputError("texts must be strings; images must be one numpy array of uint8 pixels")
    return function(every)[0] if isinstance(texts, str) else function(every)
