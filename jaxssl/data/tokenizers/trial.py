"""Tries a tokenizer in a process of its own, with limits of time and memory, before it is used.

Some definitions make the library that runs them end the process, or fill the memory, or never return.
In a process of its own that is an error message.

    python -m jaxssl.data.tokenizers.trial tokenizer.json
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import jaxssl
from jaxssl.data.tokenizers.hugging_face_tokenizer import HuggingFaceTokenizer
from jaxssl.data.tokenizers.tokenizer import Tokenizer, fingerprint_of
from jaxssl.errors import InputError

SECONDS = 20.0
SECONDS_A_MIB = 5.0  # of the definition; reading it twice takes about one
MEMORY = 6 * 2**30  # bytes of address space
ONE_THREAD = {"TOKENIZERS_PARALLELISM": "false", "OPENBLAS_NUM_THREADS": "1"}  # each takes memory
NAME = "the tokenizer"  # of the definition in the process of its own
REFUSED = 3  # exit code: standard output has the message
PROBES = (
    "The cat, on [MASK] a mat.\n\n\t Über 中文 \U0001f600 x",
    "",
    " ",
    "\n",
    "\x00\u0301\u200b\ufeff",
    *(character * 2000 for character in "aA x1.▁"),
    "ab" * 1000 + "!",
)
_accepted: set[str] = set()  # fingerprints of definitions that this process has tried


def try_definition(definition: str, origin: str) -> None:
    """Tries a tokenizer.json in a process of its own; what was accepted once is not tried again.

    Args:
      definition: The contents of the file.
      origin: Name of the file, for error messages.

    Raises:
      InputError: The tokenizer is refused, fails, or takes too much time or memory.
    """
    key = fingerprint_of(definition)
    if key in _accepted:
        return
    if problem := _problem(definition):
        raise InputError(origin + problem)
    _accepted.add(key)


def check_tokenizer(tokenizer: Tokenizer, texts: Sequence[str] = PROBES) -> str:
    """Encodes and decodes some texts.

    Args:
      tokenizer: The tokenizer.
      texts: The texts.

    Returns:
      What is wrong, "" if nothing is.
    """
    try:
        for text, ids in zip(texts, tokenizer.encode(texts), strict=True):
            if ids.size and not 0 <= ids.min() <= ids.max() < tokenizer.vocab_size:
                return f"gives ids outside of its vocabulary of {tokenizer.vocab_size} for {text[:20]!r}"
            tokenizer.decode(ids.tolist())
    except Exception as error:  # both libraries raise many kinds
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        return f"cannot encode and decode a text: {reason}"
    return ""


def _problem(definition: str) -> str:
    """Returns what is wrong with a definition, to be read after its name; "" if nothing is."""
    limit = SECONDS + SECONDS_A_MIB * len(definition) / 2**20
    paths = [str(Path(jaxssl.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    try:
        done = subprocess.run(
            [sys.executable, "-m", __name__],
            input=definition.encode("utf-8", "surrogatepass"),
            capture_output=True,
            timeout=limit,
            env={**os.environ, **ONE_THREAD, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        )
    except subprocess.TimeoutExpired:
        return f" takes more than {limit:.3g} seconds to encode a few texts"
    if done.returncode == 0:
        return ""
    if done.returncode == REFUSED:
        return done.stdout.decode("utf-8", "replace").removeprefix(NAME)
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no message"]
    return f" fails, or uses more than {MEMORY >> 30} GiB of memory ({lines[0][:200]})"


def _limit_memory() -> None:
    """Limits the address space of this process, where the system can do that."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (ImportError, ValueError, OSError):
        return


def _main() -> None:
    """Tries the definition on standard input; this is the process of its own."""
    _limit_memory()
    definition = sys.stdin.buffer.read().decode("utf-8", "surrogatepass")
    try:
        tokenizer = HuggingFaceTokenizer(definition, NAME)
        problem = check_tokenizer(tokenizer)
        problem = problem and f" {problem}"
        again = HuggingFaceTokenizer(tokenizer.definition, NAME)
        pairs = zip(tokenizer.encode(PROBES), again.encode(PROBES), strict=True)
        if not problem and not all(np.array_equal(first, second) for first, second in pairs):
            problem = " gives other ids after it is saved and loaded"
    except InputError as error:
        problem = str(error)
    except BaseException as error:  # a panic of the library is no Exception
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        problem = f" makes its library fail: {reason}"
    if problem:
        sys.stdout.buffer.write(problem.encode("utf-8", "replace"))
        sys.stdout.flush()
        sys.exit(REFUSED)


if __name__ == "__main__":
    _main()
