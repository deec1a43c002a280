"""Go on with texts, as a causal language model or a decoder beside an encoder writes.

  jaxssl generate runs/gpt "It was a bright"
  jaxssl generate runs/gpt "It was a bright" --tokens 200 --temperature 0.8 --top-p 0.95 --seed 1
  jaxssl generate runs/gpt --file prompts.txt --into texts.jsonl --beams 4

The text behind one prompt is shown while it is made. Of several prompts each has a JSON object on a line of
its own, in their order: prompt, text, and ended, which is "end" (end token), "stop" (stop string), "tokens"
(as many as --tokens says) or "max_length" (the network takes no more).
"""

import argparse
import json
import sys
from typing import Literal

from jaxssl.data.labelled.text_lists import read_lines
from jaxssl.errors import InputError
from jaxssl.pretrained.generate import Generated, GenerationConfig, Generator
from jaxssl.tools.output_files import check_output_file, replaced_when_whole
from jaxssl.trained import load_trained

EARLY: dict[str, bool | Literal["never"]] = {"true": True, "false": False, "never": "never"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `jaxssl generate` to `parser`."""
    config = GenerationConfig()
    parser.add_argument(
        "folder", metavar="RUN", help="folder of a pretraining run that writes texts"
    )
    parser.add_argument("prompts", nargs="*", metavar="PROMPT", help="beginnings of texts")
    parser.add_argument("--file", metavar="FILE", help="UTF-8 text file with one prompt a line")
    parser.add_argument("--into", metavar="FILE.jsonl", help="file to write the texts to")
    parser.add_argument(
        "--tokens",
        type=int,
        default=config.tokens,
        help="most tokens of a text (default: %(default)s)",
    )
    parser.add_argument(
        "--stop",
        action="append",
        default=[],
        metavar="STRING",
        help="end a text before this string; may be repeated",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=config.seed,
        help="seed of what is drawn; equal seeds give equal texts (default: %(default)s)",
    )
    _add_drawing(parser, config)
    _add_beams(parser, config)


def _add_drawing(parser: argparse.ArgumentParser, config: GenerationConfig) -> None:
    parser.add_argument(
        "--temperature",
        type=float,
        default=config.temperature,
        help="below 1 probable tokens are drawn more often; 0 takes the most probable one (default: "
        "%(default)s)",
    )
    parser.add_argument(
        "--top-k", type=int, metavar="N", help="draw from the N most probable tokens"
    )
    parser.add_argument(
        "--top-p",
        type=float,
        metavar="SHARE",
        help="draw from the fewest tokens that together have this share of the probability",
    )
    parser.add_argument(
        "--min-p",
        type=float,
        metavar="SHARE",
        help="draw no token with less than this share of the greatest probability",
    )


def _add_beams(parser: argparse.ArgumentParser, config: GenerationConfig) -> None:
    parser.add_argument(
        "--beams",
        type=int,
        default=config.beams,
        help="search the most probable text with so many beams, instead of drawing (default: %(default)s)",
    )
    parser.add_argument(
        "--length-penalty",
        type=float,
        default=config.length_penalty,
        help="power of the length that scores of beams are divided by (default: %(default)s)",
    )
    parser.add_argument(
        "--early-stopping",
        choices=EARLY,
        default="false",
        help="when beams are done: with as many finished texts as beams (true), when no better one is likely "
        "(false) or possible (never; default: %(default)s)",
    )


def run(options: argparse.Namespace) -> None:
    """Writes the texts behind the prompts, as `options` say."""
    if bool(options.prompts) == bool(options.file):
        raise InputError("give prompts, or a file of prompts with --file; one of both")
    into = check_output_file(options.into, "--into") if options.into else None
    prompts = read_lines(options.file) if options.file else options.prompts
    if into is not None and options.file and into.exists() and into.samefile(options.file):
        raise InputError(f"--into {options.into} is the file of the prompts; name another one")
    config = GenerationConfig(
        tokens=options.tokens,
        temperature=options.temperature,
        top_k=options.top_k,
        top_p=options.top_p,
        min_p=options.min_p,
        beams=options.beams,
        length_penalty=options.length_penalty,
        early_stopping=EARLY[options.early_stopping],
        stop=tuple(options.stop),
        seed=options.seed,
    )
    generator = load_trained(options.folder).text_generator
    if into is not None:
        with replaced_when_whole(into) as path:
            path.write_text(_lines(prompts, generator(prompts, config)), encoding="utf-8")
        print(f"{len(prompts):,} texts: {options.into}")
    elif len(prompts) == 1:
        _stream(generator, prompts[0], config)
    else:
        sys.stdout.write(_lines(prompts, generator(prompts, config)))


def _stream(generator: Generator, prompt: str, config: GenerationConfig) -> None:
    """Shows a prompt and the text behind it, piece by piece."""
    pieces = generator.stream(prompt, config)
    first = next(pieces, "")  # a prompt that is refused is not shown
    if generator.is_causal:
        sys.stdout.write(prompt)
    sys.stdout.write(first)
    for piece in pieces:
        sys.stdout.flush()
        sys.stdout.write(piece)
    sys.stdout.write("\n")
    sys.stdout.flush()


def _lines(prompts: list[str], found: list[Generated]) -> str:
    """One JSON object a line for each prompt."""
    rows = [
        {"prompt": prompt, "text": one.text, "ended": one.ended}
        for prompt, one in zip(prompts, found, strict=True)
    ]
    return "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
