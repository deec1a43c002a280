"""The special tokens that a Hugging Face tokenizer puts around a text."""

from pathlib import Path

import tokenizers

from jaxssl.errors import InputError

SAMPLE = "a"  # any text that has tokens


def tokens_around(folder: str | Path) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Finds the ids before and behind a single text, as the tokenizer.json of a folder sets them.

    BERT's are [CLS] and [SEP], Llama's begin token alone, and GPT-2 has none.

    Args:
      folder: Folder of a tokenizer.

    Returns:
      Ids before a text, and ids behind it; None if the folder has no tokenizer.json.

    Raises:
      InputError: The file is damaged.
    """
    path = Path(folder) / "tokenizer.json"
    if not path.is_file():
        return None
    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises bare Exception
        reason = str(error).splitlines()[0][:200]
        raise InputError(f"{path} is not a valid tokenizer.json: {reason}") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    text = tokenizer.encode(SAMPLE, add_special_tokens=False).ids
    whole = tokenizer.encode(SAMPLE).ids
    size = len(text)
    for first in range(len(whole) - size + 1):
        if whole[first : first + size] == text:
            return tuple(whole[:first]), tuple(whole[first + size :])
    raise InputError(f"{path} changes the tokens of a text where it adds special tokens to it")
