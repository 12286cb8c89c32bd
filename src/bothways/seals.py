"""Files that hold their own hash, so that a single flipped bit in them is found when they are read.

JSON has it under the last key, YAML in a last line that is a comment, safetensors in its metadata. What an earlier
version wrote has none, and is read as it is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from bothways.errors import ModelError
from bothways.files import whole_file, write_text
from bothways.reading import parse_json, read_arrays, read_metadata

_KEY = "sha256_of_this"
_AGAIN = "Bring it back from a copy, or begin again in another folder."
_MADE = "Bring it back from a copy, or delete it: what goes on makes it again."
_PARTS = ("sha256_", "of_this")
"""Of the key: a flipped bit spoils one of them at most, so that what has neither was never sealed."""


def sealed(record: Mapping[str, Any]) -> str:
    """The record as JSON that holds its own hash: written anew from what was read, it is the same to the letter."""
    return json.dumps({**record, _KEY: _hash(json.dumps(record, indent=1))}, indent=1)


def write_sealed(path: Path, record: Mapping[str, Any]) -> None:
    """Writes it to a file, with a line end; MachineError: it cannot be written."""
    write_text(path, sealed(record) + "\n")


def unsealed(path: Path) -> dict[str, Any]:
    """The record in a file of such a text.

    Raises:
        ModelError: it does not match its hash, or is no JSON object.
    """
    text = path.read_bytes().decode(errors="replace")
    try:
        record: dict[str, Any] = parse_json(text)
        seal = record.pop(_KEY, None)
    except (ValueError, AttributeError, TypeError) as error:
        raise _damaged(path, f"is damaged: expected a JSON object ({error})") from None
    if _once_sealed(text) and (seal is None or sealed(record) != text.removesuffix("\n")):
        raise _damaged(path)
    return record


def sealed_yaml(text: str) -> str:
    """The text with a comment behind it that is its hash."""
    return f"{text}# {_KEY}: {_hash(text)}\n"


def check_yaml(path: Path) -> None:
    """
    Raises:
        ModelError: a file that `sealed_yaml` wrote does not match its hash.
    """
    whole = path.read_bytes().decode(errors="replace")
    text, mark, _ = whole.rpartition(f"# {_KEY}: ")
    if _once_sealed(whole) and (not mark or sealed_yaml(text) != whole):
        raise _damaged(path, do=f"Settings are changed by --set, where they may. {_AGAIN}")


def save_sealed(path: Path, tensors: Mapping[str, np.ndarray], **told: str) -> None:
    """Writes tensors as safetensors with their hash, and with what is told of them; the same bytes for the same values.

    Raises:
        MachineError: it cannot be written.
    """
    content = save(dict(tensors), metadata={**told, _KEY: _hash_of(tensors, told)})
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps(parse_json(content[8:end].decode()), sort_keys=True)  # the library's metadata has no order
    header += " " * (-len(header) % 8)
    with whole_file(path, "wb") as file:
        file.write(len(header).to_bytes(8, "little") + header.encode() + content[end:])


def read_sealed(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The tensors, and what was told of them.

    Raises:
        ModelError: they do not read, or do not match their hash.
    """
    tensors = read_arrays(path, then=_MADE)
    told = dict(read_metadata(path, then=_MADE))
    seal = told.pop(_KEY, None)
    if (seal or _once_sealed(" ".join(told))) and seal != _hash_of(tensors, told):
        raise _damaged(path, do=_MADE)
    return tensors, told


def _once_sealed(text: str) -> bool:
    return any(part in text for part in _PARTS)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()


def _hash_of(tensors: Mapping[str, np.ndarray], told: Mapping[str, str]) -> str:
    found = hashlib.sha256(json.dumps(sorted(told.items())).encode())
    for name, tensor in sorted(tensors.items()):
        found.update(f"{name} {tensor.dtype} {tensor.shape} ".encode() + np.ascontiguousarray(tensor).tobytes())
    return found.hexdigest()


def _damaged(path: Path, why: str = "does not match the hash in it", *, do: str = _AGAIN) -> ModelError:
    return ModelError(f"{path} {why}: it was damaged or changed by hand, and is not used. {do}")
