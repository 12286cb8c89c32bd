"""With which tokens the texts of a model begin and end, as the files beside its tokenizer say."""

from __future__ import annotations

from pathlib import Path

from bothways.errors import DataError
from bothways.files import read_json

Ids = dict[str, tuple[int, ...]]
"""{"bos_token_id": numbers of tokens, "eos_token_id": ...}"""


def read_ids(folder: Path) -> Ids:
    """With which tokens texts begin and end, as generation_config.json says, else config.json.

    Raises:
        DataError: a file that is no JSON object, or an id that is no number.
    """
    files = [folder / name for name in ("generation_config.json", "config.json")]
    said = [(path, read_json(path, dict, error=DataError)) for path in files if path.is_file()]
    found: Ids = {}
    for key in ("bos_token_id", "eos_token_id"):
        path, value = next(((path, values[key]) for path, values in said if values.get(key) is not None), (None, []))
        ids = value if isinstance(value, list) else [value]
        if any(type(number) is not int for number in ids):
            raise DataError(f"{path}: {key}: expected the number of a token, or a list of numbers, got {value!r}")
        found[key] = tuple(ids)
    return found
