"""GGUF, the one file in which llama.cpp keeps a model: its metadata, then its tensors, most of them quantised.

The header is read here, against the length of the file, before anything is made of it; llama.cpp's own package `gguf`
turns blocks of quantised numbers back into float32. The format: ggml's docs/gguf.md, versions 2 and 3.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np

from bothways.errors import BothwaysError, ModelError, needs

SUFFIX = ".gguf"
MOST = 2**24
"""Of entries, of elements of a list, of bytes of a text: more than any model has."""

_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""{GGUF's type of a value: its format for struct}"""
_TEXT, _LIST = 8, 9
_KINDS: dict[type, str] = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list",
}


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """Where a tensor stands: its shape, the last axis being the one that is contiguous; how it is quantised; the byte
    at which it begins, and how many it has."""

    shape: tuple[int, ...]
    kind: int
    start: int
    size: int


@dataclass(frozen=True, slots=True)
class GgufFile:
    """The header of a file: {name: value} of its metadata, {name: where it stands} of its tensors."""

    path: Path
    metadata: Mapping[str, Any]
    tensors: Mapping[str, GgufTensor]

    def get(self, name: str, kind: type, usual: Any = None) -> Any:
        """A value of the metadata; where it has none, what is `usual`.

        Raises:
            ModelError: it is of another kind.
        """
        value = self.metadata.get(name)
        if value is None or type(value) is kind:
            return usual if value is None else value
        return self.refuse(f"{name}: expected {_KINDS[kind]}, got {str(value)[:60]!r}")

    def need(self, name: str, kind: type) -> Any:
        """A value of the metadata.

        Raises:
            ModelError: it is not there, or of another kind.
        """
        value = self.get(name, kind)
        return self.refuse(f"expected {name} in its metadata, got none") if value is None else value

    def refuse(self, message: str) -> NoReturn:
        """
        Raises:
            ModelError: always; it names the file.
        """
        raise ModelError(f"{self.path}: {message}")

    def array(self, name: str) -> np.ndarray:
        """A tensor in float32.

        Raises:
            ModelError: a kind of quantisation that the `gguf` package does not undo.
        """
        quants, found = _package("quants"), self.tensors[name]
        data = np.fromfile(self.path, dtype=np.uint8, offset=found.start, count=found.size)
        if len(data) < found.size:
            self.refuse(f"it was cut while it was read: {name} has {len(data)} bytes of {found.size}. Fetch it again.")
        rows = math.prod(found.shape[:-1])
        try:
            array: np.ndarray = quants.dequantize(data.reshape(rows, -1), _kind(found.kind))
        except NotImplementedError:
            self.refuse(f"{name} is quantised as {_kind(found.kind).name}, which the gguf package does not undo")
        return np.array(array, dtype=np.float32).reshape(found.shape)


def read_gguf(path: Path) -> GgufFile:
    """The header of a file; nothing in it reaches beyond the file, and no two tensors share a byte.

    Raises:
        ModelError: no such file, no GGUF, one of several parts, or a damaged one.
        MachineError: the `gguf` package is not installed.
    """
    try:
        with open(path, "rb") as file:
            return _Header(path, file).read()
    except BothwaysError:
        raise
    except FileNotFoundError:
        raise ModelError(f"{path}: there is no such file") from None
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error}). Expected a GGUF file.") from None


class _Header:
    """Reads a header from its beginning on."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path, self.file, self.place = path, file, 0
        self.size = os.fstat(file.fileno()).st_size

    def read(self) -> GgufFile:
        if self.bytes(4, "its first four letters") != b"GGUF":
            self.refuse("expected a GGUF file, which begins with the letters GGUF, got another kind of file")
        version = self.number("I")
        if version not in (2, 3):
            self.refuse(f"expected GGUF of version 2 or 3, little-endian, got version {version}: convert it anew")
        tensors, entries = self.count("tensors"), self.count("entries of metadata")
        metadata: dict[str, Any] = {}
        for _ in range(entries):
            name = self.text()
            if name in metadata:
                self.refuse(f"{name} stands twice in its metadata")
            metadata[name] = self.value(name, self.number("I"))
        if metadata.get("split.count", 1) != 1:
            self.refuse(
                f"it is one of {metadata['split.count']} parts: join them with llama.cpp's llama-gguf-split --merge"
            )
        listed = [self.tensor() for _ in range(tensors)]
        return GgufFile(self.path, metadata, self.placed(listed, metadata.get("general.alignment", 32)))

    def bytes(self, count: int, what: str) -> bytes:
        """The next bytes."""
        content = self.file.read(count) if count <= self.size - self.place else b""
        if len(content) < count:
            self.refuse(
                f"the file ends within {what}: it has {self.size:,} bytes and should have "
                f"{self.place + count:,} or more. It is damaged, or not wholly there: fetch it again."
            )
        self.place += count
        return content

    def number(self, form: str) -> Any:
        return struct.unpack(f"<{form}", self.bytes(struct.calcsize(f"<{form}"), "its header"))[0]

    def count(self, what: str, most: int = MOST) -> int:
        found: int = self.number("Q")
        if found > most:
            self.refuse(f"it says that it has {found:,} {what}, more than any model: it is damaged")
        return found

    def text(self) -> str:
        content = self.bytes(self.count("bytes in a text"), "a text of its header")
        try:
            return content.decode()
        except UnicodeDecodeError:
            return self.refuse(f"a text of its header is no UTF-8: {content[:40]!r}")

    def value(self, name: str, kind: int) -> Any:
        if kind in _NUMBERS:
            value = self.number(_NUMBERS[kind])
            return float(str(np.float32(value))) if kind == 6 else value  # as it was written: 1e-05
        if kind == _TEXT:
            return self.text()
        if kind != _LIST:
            self.refuse(f"{name} has type {kind}, which GGUF has not: it is damaged")
        kind, count = self.number("I"), self.count(f"elements in {name}")
        if kind == _TEXT:
            return [self.text() for _ in range(count)]
        if kind not in _NUMBERS:
            self.refuse(f"{name} is a list of type {kind}; expected numbers or texts")
        form = np.dtype(f"<{_NUMBERS[kind]}" if kind != 7 else np.bool_)
        return np.frombuffer(self.bytes(count * form.itemsize, name), form).tolist()

    def tensor(self) -> tuple[str, tuple[int, ...], int, int]:
        name, axes = self.text(), self.number("I")
        if not 1 <= axes <= 4:
            self.refuse(f"{name} has {axes} axes; expected 1 to 4")
        shape = tuple(self.number("Q") for _ in range(axes))[::-1]
        return name, shape, self.number("I"), self.number("Q")

    def placed(self, listed: list[tuple[str, tuple[int, ...], int, int]], alignment: Any) -> dict[str, GgufTensor]:
        if type(alignment) is not int or alignment < 1 or alignment > MOST:
            self.refuse(f"general.alignment is {alignment!r}; expected a small whole number")
        begin, sizes = -(-self.place // alignment) * alignment, _package("constants").GGML_QUANT_SIZES
        found: dict[str, GgufTensor] = {}
        end = begin
        for name, shape, kind, offset in sorted(listed, key=lambda one: one[3]):
            if kind not in list(sizes):
                self.refuse(f"{name} is quantised in a way of number {kind}, which the gguf package does not know")
            block, size = sizes[_kind(kind)]
            if 0 in shape or shape[-1] % block:
                self.refuse(f"{name} has shape {list(shape)}; expected rows of whole blocks of {block} numbers")
            if name in found or begin + offset < end:
                self.refuse(f"{name} stands twice, or where another tensor stands: the file is damaged")
            whole = math.prod(shape) // block * size
            found[name] = GgufTensor(shape, kind, begin + offset, whole)
            end = begin + offset + whole
            if end > self.size:
                self.refuse(
                    f"{name} should end at byte {end:,}, and the file has {self.size:,}: it is damaged, or not "
                    "wholly there. Fetch it again."
                )
        return found

    def refuse(self, message: str) -> NoReturn:
        raise ModelError(f"{self.path}: {message}")


def _package(module: str) -> Any:
    try:
        import gguf
        import gguf.quants
    except ImportError:
        raise needs("gguf", "gguf") from None
    return getattr(gguf, module)


def _kind(number: int) -> Any:
    return _package("constants").GGMLQuantizationType(number)
