"""Files that others may have written: JSON, YAML and safetensors, read in one way, with limits, named when they fail.

What does not read is an error that says which file, and where in it: never a traceback, never memory without end.
Nothing is run: there is no pickle, and of YAML only what JSON could say too.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml
from pydantic_core import from_json
from safetensors import SafetensorError, safe_open

from bothways.errors import BothwaysError, ModelError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

LARGEST = 256 << 20
"""Bytes of a JSON file, or of a line of one: the tokenizers of the largest vocabularies have a tenth of them."""
LARGEST_YAML = 1 << 20
"""Bytes of a YAML file: written by hand, and read slowly."""
DEEPEST = 200
"""Lists and objects within each other, as the JSON parser has it."""
MOST = 1 << 20
"""Values of a YAML file, each counted as often as it is referred to."""

T = TypeVar("T")
NAMES: dict[type, str] = {
    dict: "an object",
    list: "a list",
    str: "a text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    type(None): "null",
}
"""What JSON calls a value of Python's."""


class UnreadableError(ValueError):
    """What is no JSON, or no YAML; the message says what came instead."""


def parse_json(text: str | bytes) -> Any:
    """The value that a JSON text says.

    Raises:
        UnreadableError: something else, half a character (a lone surrogate), or values within values without end.
    """
    try:
        return from_json(text)
    except (ValueError, TypeError) as error:  # TypeError: a str that no UTF-8 can hold
        raise UnreadableError(_in_words(str(error))) from None


def _in_words(told: str) -> str:
    """What the parser says, where it speaks of itself."""
    told = told.replace(" at line 1 column ", " at column ")
    at = told[told.rfind(" at ") :] if " at " in told else ""
    if "recursion" in told:
        return f"lists or objects more than {DEEPEST} deep{at}"
    if "hex escape" in told or "surrogate" in told or "Expected bytes" in told:
        return f"a lone surrogate, which is half a character{at}"
    if "unicode code point" in told:
        return f"bytes that are no UTF-8{at}"
    if "out of range" in told:
        return f"a whole number of more than {sys.get_int_max_str_digits():,} digits{at}"
    return told


def read_json(path: Path, kind: type[T], *, error: type[BothwaysError]) -> T:
    """The JSON object (dict) or list in a file.

    Raises:
        BothwaysError: of the kind that is given: the file does not read, or holds another kind of value.
    """
    expected = f"{path}: expected a JSON {NAMES[kind].split()[-1]}, got"
    try:
        value = parse_json(_content(path, LARGEST))
    except (OSError, ValueError) as wrong:
        raise error(f"{expected} what does not read: {wrong}") from None
    if not isinstance(value, kind):
        raise error(f"{expected} {NAMES[type(value)]}")
    return value


def read_json_lines(path: Path, *, error: type[BothwaysError]) -> Iterator[dict[str, Any]]:
    """The JSON objects in a file, a line each. A last line without an end was being written by what was killed, and is
    left out; a file that is not there has none.

    Raises:
        BothwaysError: of the kind that is given: a line that is no JSON object; it is named.
    """
    if not path.exists():
        return
    try:
        opened = _opened(path)
    except OSError as wrong:
        raise error(f"{path}: expected lines of JSON, got what does not read: {wrong}") from None
    with opened as file:
        for number, line in enumerate(iter(lambda: file.readline(LARGEST), b""), start=1):
            try:
                value = parse_json(line.rstrip()) if line.endswith(b"\n") else {}
            except UnreadableError as wrong:
                raise error(f"{path}, line {number}: expected JSON, got what does not read: {wrong}") from None
            if not isinstance(value, dict):
                raise error(f"{path}, line {number}: expected a JSON object, got {NAMES[type(value)]}")
            if line.endswith(b"\n"):
                yield value


def read_yaml(path: Path) -> Any:
    """What a YAML file says.

    Raises:
        UsageError: the file does not read.
    """
    try:
        return parse_yaml(_content(path, LARGEST_YAML).decode())
    except UnicodeDecodeError as wrong:
        line = wrong.object.count(b"\n", 0, wrong.start) + 1
        byte = wrong.object[wrong.start : wrong.start + 1]
        raise UsageError(f"{path}, line {line}: expected UTF-8, got {byte!r}: save it as UTF-8") from None
    except (OSError, UnreadableError) as wrong:
        raise UsageError(f"{path}: cannot be read as YAML: {wrong}") from None


class _EachKeyOnce(yaml.SafeLoader):
    """Of a key that stands twice YAML's own loader forgets the first, silently."""

    def compose_mapping_node(self, anchor: Any) -> Any:
        """Before anything is merged into it."""
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    line = key.start_mark.line + 1
                    raise yaml.YAMLError(f"line {line}: expected each key once, got {key.value!r} again")
                seen.add(key.value)
        return node


def parse_yaml(text: str) -> Any:
    """What a YAML text says, as the values that JSON has.

    Raises:
        UnreadableError: no YAML, other values (a date), or more of them, or deeper, than any configuration has.
    """
    try:
        value = yaml.load(text, Loader=_EachKeyOnce)  # a SafeLoader
    except yaml.YAMLError as error:
        raise UnreadableError(" ".join(str(error).split())) from None
    except RecursionError:
        raise UnreadableError("expected values, got lists or mappings too deep") from None
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
        # of what a tag asks for: !!int of nothing, the 31st of February
        raise UnreadableError(f"expected values, got one that its tag does not fit ({error})") from None
    _check_plain(value)
    return value


def _check_plain(value: Any) -> None:
    """Breadth first, so that an anchor within itself ends at the limit of depth, and many of many at that of values."""
    level, count = [("", value)], 0
    for _ in range(DEEPEST):
        below: list[tuple[str, Any]] = []
        for path, one in level:
            if isinstance(one, str):
                _check_text(path, one)
            elif isinstance(one, dict):
                for key in one:
                    if not isinstance(key, str):
                        raise UnreadableError(
                            f"expected names before colons, got {key!r:.40} below {path or 'the top'}"
                        )
                    _check_text(path, key)
                below += [(f"{path}.{key}".removeprefix("."), inner) for key, inner in one.items()]
            elif isinstance(one, list):
                below += [(f"{path}.{number}".removeprefix("."), inner) for number, inner in enumerate(one)]
            elif type(one) not in NAMES:
                raise UnreadableError(
                    f"{path}: expected a text or a number, got a {type(one).__name__}: put it in quotes"
                )
            if len(below) + count > MOST:
                raise UnreadableError(f"expected at most {MOST:,} values, got more, as aliases refer to them")
        level, count = below, count + len(below)
    if level:
        raise UnreadableError(f"expected values, got lists or mappings more than {DEEPEST} deep")


_NO_TEXT = re.compile("[\0\ud800-\udfff]")


def _check_text(path: str, text: str) -> None:
    if found := _NO_TEXT.search(text):
        what = "a NUL character" if found[0] == "\0" else "a lone surrogate, which is half a character"
        raise UnreadableError(f"{path or 'a name'}: expected text, got {what} in {text!r:.80}")


def read_tensors(path: Path, *, then: str = "") -> dict[str, Tensor]:
    """The tensors of a safetensors file; `then`: what to do about a damaged one.

    Raises:
        ModelError: it is not there, damaged, or another kind of file.
    """
    return _tensors(path, "pt", then)


def read_arrays(path: Path, *, then: str = "") -> dict[str, np.ndarray]:
    """The same as arrays of numpy."""
    return _tensors(path, "np", then)


def _tensors(path: Path, framework: str, then: str) -> dict[str, Any]:
    try:
        with safe_open(path, framework=framework) as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
    except (SafetensorError, OSError, ValueError, TypeError, LookupError, AttributeError, RuntimeError) as wrong:
        raise _damaged(path, wrong, then) from None


def read_metadata(path: Path, *, then: str = "") -> Mapping[str, str]:
    """What a safetensors file says of itself, beside its tensors.

    Raises:
        ModelError: as `read_tensors`.
    """
    try:
        with safe_open(path, framework="np") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError, ValueError) as wrong:
        raise _damaged(path, wrong, then) from None


def _damaged(path: Path, wrong: Exception, then: str) -> ModelError:
    told = then or "the file is damaged. Save it again."
    return ModelError(f"{path} cannot be read as safetensors ({wrong}): {told}")


def _opened(path: Path) -> Any:
    """A file to read, in bytes.

    Raises:
        OSError: it is not there, or something else than a file, which may have no end.
    """
    if path.exists() and not path.is_file():
        raise OSError("it is no file")
    return open(path, "rb")


def _content(path: Path, largest: int) -> bytes:
    with _opened(path) as file:
        content: bytes = file.read(largest + 1)
    if len(content) > largest:
        raise UnreadableError(f"more than {largest >> 20} MiB, which no such file has")
    return content
