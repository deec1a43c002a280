"""Converts docstrings from plain text with Google sections to reStructuredText.

    `name`                         becomes an inline literal
    indented or aligned lines      become a literal block: equations, glossaries of shapes, code
    * | \\ and a closing _          are escaped outside of literals, for they are no markup here
    Returns:                       becomes a field, so that a colon in its first line is no type

The other sections stay as they are: Sphinx's napoleon makes fields of them.
"""

import re
import textwrap
from collections.abc import Iterator

SECTION = re.compile(
    r"^(Args|Returns|Yields|Raises|References|Example|Examples|Note|Notes):$", re.MULTILINE
)
LITERAL = re.compile(r"(?<!`)`([^`]+)`(?!`)")
ALIGNED = re.compile(r"\S {3,}\S|[^.?!:\s] {2,}\S")
MARKUP = re.compile(r"[*|\\]|(?<=\w)_(?=\W|$)")


def to_rst(docstring: str) -> str:
    """Returns a docstring in plain text with Google sections as reStructuredText.

    Args:
      docstring: Text without common indentation.
    """
    head, *rest = SECTION.split(docstring)
    parts = [prose(head)]
    for title, body in zip(rest[::2], rest[1::2], strict=True):
        if title in ("Returns", "Yields"):
            parts.append(_as_field(title.lower(), body))
        elif title.startswith("Example"):
            parts.append(f".. rubric:: {title}\n\n{_example(textwrap.dedent(body).strip())}\n\n")
        else:
            parts.append(f"{title}:{inline(body)}")
    return "".join(parts)


def prose(text: str) -> str:
    """Returns paragraphs with their inline markup converted and their other blocks as literal blocks."""
    joined: list[list[str]] = []
    for lines in _blocks(text):
        if joined and _is_indented(lines[0]) and _is_indented(joined[-1][0]):
            joined[-1] += ["", *lines]  # one block of code with an empty line in it
        else:
            joined.append(lines)
    return "\n\n".join(map(_block, joined)) + "\n\n"


def inline(text: str) -> str:
    """Returns running text with `names` as inline literals and everything else free of markup."""
    done, start = [], 0
    for found in LITERAL.finditer(text):
        before, after = text[start : found.start()], text[found.end() : found.end() + 1]
        done.append(MARKUP.sub(r"\\\g<0>", before))
        glue = "\\ " if before[-1:].isalnum() else ""
        done.append(f"{glue}``{found[1]}``" + ("\\ " if after.isalnum() else ""))
        start = found.end()
    return "".join(done) + MARKUP.sub(r"\\\g<0>", text[start:])


def _blocks(text: str) -> Iterator[list[str]]:
    """Yields runs of lines of one kind: separated by blank lines, or by a change of indentation."""
    block: list[str] = []
    for line in text.split("\n"):
        is_new = bool(block) and _is_indented(line) != _is_indented(block[0])
        if _is_indented(line) and any(ALIGNED.search(before) for before in block):
            is_new = False  # the second line of a cell
        if block and (not line.strip() or is_new or line.startswith("- ")):
            yield block
            block = []
        if line.strip():
            block.append(line)
    if block:
        yield block


def _block(lines: list[str]) -> str:
    if lines[0].startswith(">>>"):
        return "\n".join(lines)
    is_list = lines[0].startswith("- ")
    if _is_indented(lines[0]) or (not is_list and any(ALIGNED.search(line) for line in lines)):
        return "::\n\n" + "\n".join("    " + line for line in lines)
    return inline("\n".join(lines))


def _is_indented(line: str) -> bool:
    return line.startswith("    ")


def _as_field(name: str, body: str) -> str:
    words = "\n".join("    " + line.strip() for line in body.strip().split("\n"))
    return f":{name}:\n{inline(words)}\n\n"


def _example(code: str) -> str:
    return code if ">>>" in code else "::\n\n" + textwrap.indent(code, "    ")
