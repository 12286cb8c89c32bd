"""JSON, YAML and safetensors that are damaged or hostile: an error that names the file, soon, and little memory."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from bothways import reading
from bothways.errors import DataError, ModelError, UsageError
from bothways.reading import (
    DEEPEST,
    UnreadableError,
    parse_json,
    parse_yaml,
    read_arrays,
    read_json,
    read_json_lines,
    read_metadata,
    read_tensors,
    read_yaml,
)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "EOF while parsing"),
        (b"[" * 100_000, f"lists or objects more than {DEEPEST} deep at column"),
        (b'{"a":' * 100_000, f"lists or objects more than {DEEPEST} deep"),
        (b'"\\ud800"', "a lone surrogate, which is half a character"),
        (b'"\\udc00 and more"', "a lone surrogate"),
        ("\ud800", "a lone surrogate"),
        (b'"\xff"', "bytes that are no UTF-8 at column 2"),
        (b"9" * 5000, "a whole number of more than 4,300 digits"),
        (b"{} {}", "trailing characters at column 4"),
        (b'{\n"a": x}', "expected value at line 2 column 6"),
    ],
    ids=str,
)
def test_what_is_no_json(text: str | bytes, why: str) -> None:
    with pytest.raises(UnreadableError) as error:
        parse_json(text)
    assert why in str(error.value)


def test_json_is_read_as_the_standard_library_reads_it() -> None:
    values: Any = [1e-5, 0.1, 1 / 3, 2**70, -0.0, "a\0b 😀 \u2028", {"a": None, "": [True]}, 5e-324, float("inf")]
    assert parse_json(json.dumps(values)) == values == parse_json(json.dumps(values, ensure_ascii=False).encode())
    deep = json.loads("[" * (DEEPEST - 1) + "]" * (DEEPEST - 1))
    assert parse_json(json.dumps(deep)) == deep


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[]", "expected a JSON object, got a list"),
        (b"null", "expected a JSON object, got null"),
        (b'"a"', "expected a JSON object, got a text"),
        (b"{", "expected a JSON object, got what does not read: EOF while parsing"),
        (b"\xef\xbb\xbf{}", "expected a JSON object, got what does not read"),
        (None, "expected a JSON object, got what does not read: .*No such file"),
    ],
    ids=str,
)
def test_a_file_that_holds_something_else_is_named(content: bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=f"a.json: {message}"):
        read_json(path, dict, error=ModelError)


def test_what_has_no_end_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "a.json")
    (tmp_path / "b.json").write_text(json.dumps({"a": "x" * 100}))
    monkeypatch.setattr(reading, "LARGEST", 100)
    for name, why in (("a.json", "it is no file"), ("b.json", "more than 0 MiB")):
        with pytest.raises(DataError, match=f"{name}.*{why}"):
            read_json(tmp_path / name, dict, error=DataError)
    with pytest.raises(DataError, match="zero.*it is no file"):
        read_json(Path("/dev/zero"), dict, error=DataError)


def test_lines_are_numbered_and_a_last_one_without_an_end_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    assert list(read_json_lines(path, error=DataError)) == []
    path.write_bytes(b'{"a": 1}\n{"a": 2}\n{"a": 3')
    assert list(read_json_lines(path, error=DataError)) == [{"a": 1}, {"a": 2}]
    for line, why in ((b"[]", "a JSON object, got a list"), (b"x", "JSON, got what does not read"), (b"", "JSON")):
        path.write_bytes(b'{"a": 1}\n' + line + b"\n")
        with pytest.raises(DataError, match=f"a.jsonl, line 2: expected {why}"):
            list(read_json_lines(path, error=DataError))


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[" * 100_000, "too deep"),
        ("a: " + "[" * 250 + "]" * 250, f"more than {DEEPEST} deep|too deep"),
        ("a: &a [*a]", f"more than {DEEPEST} deep"),
        (BOMB, "expected at most 1,048,576 values"),
        ("a: 2001-01-01", "a: expected a text or a number, got a date: put it in quotes"),
        ("a: {b: !!binary aGk=}", r"a\.b: .* got a bytes"),
        ("a: 2001-13-45", "that its tag does not fit"),
        ("a: !!int ''", "that its tag does not fit"),
        ("a: !!bool x", "that its tag does not fit"),
        ("a: !!python/object/apply:os.system [x]", "could not determine a constructor"),
        ('a: ["\\ud800"]', r"a\.0: expected text, got a lone surrogate"),
        ('a: "\\0"', "a: expected text, got a NUL"),
        ("1: a", "expected names before colons, got 1 below the top"),
        ("{[a]: b}", "unhashable"),
        ("a: b: c", "mapping values are not allowed"),
        ("a: 1\nb: {c: 1, d: 2, c: 3}", "line 2: expected each key once, got 'c' again"),
        ("training: {seed: 1}\nsize: tiny\ntraining: {length: 8}", "line 3: expected each key once, got 'training'"),
    ],
    ids=lambda text: text[:20],
)
def test_what_is_no_yaml(text: str, why: str) -> None:
    with pytest.raises(UnreadableError, match=why):
        parse_yaml(text)


def test_yaml_that_is_right() -> None:
    assert parse_yaml("a: &x [1, 2.5, null, yes]\nb: *x\n汉: '😀'\n") == {
        "a": [1, 2.5, None, True],
        "b": [1, 2.5, None, True],
        "汉": "😀",
    }


def test_a_yaml_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"a: 1\nb: \xe9\n")
    with pytest.raises(UsageError, match=r"a.yaml, line 2: expected UTF-8, got b'\\xe9'"):
        read_yaml(path)
    path.write_text("a: [1\n")
    with pytest.raises(UsageError, match=r"a.yaml: cannot be read as YAML: .*line 2"):
        read_yaml(path)
    monkeypatch.setattr(reading, "LARGEST_YAML", 3)
    with pytest.raises(UsageError, match="a.yaml: cannot be read as YAML: more than"):
        read_yaml(path)


def _with_header(header: bytes, data: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header + data


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x04cposix\nsystem\n(S'touch executed'\ntR.",
        struct.pack("<Q", 2**62) + b"{}",
        _with_header(b"[" * 100_000),
        _with_header(b'{"a": ' * 100_000),
        _with_header(b'{"a": {"dtype": "F32", "shape": [1000000000], "data_offsets": [0, 4000000000]}}'),
        _with_header(b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}', bytes(4)),
        _with_header(b'{"a": {"dtype": "X9", "shape": [1], "data_offsets": [0, 4]}}', bytes(4)),
        _with_header(b'{"a": 5}'),
        None,
    ],
    ids=lambda content: repr(content[:60]) if content else str(content),
)
@pytest.mark.parametrize("read", [read_tensors, read_arrays, read_metadata])
def test_what_is_no_safetensors(content: bytes | None, read: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=r"a.safetensors cannot be read as safetensors \(.*\): make it anew"):
        read(path, then="make it anew")


def test_safetensors_that_are_right(tmp_path: Path) -> None:
    path, held = tmp_path / "a.safetensors", np.arange(6, dtype=np.float32).reshape(2, 3)
    save_file({"a": held, "b": np.array([2**40])}, path, metadata={"of": "x"})
    assert read_metadata(path) == {"of": "x"}
    assert np.array_equal(read_arrays(path)["a"], held)
    assert torch.equal(read_tensors(path)["a"], torch.from_numpy(held))


def test_a_folder_holds_no_lines(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="expected lines of JSON, got what does not read: it is no file"):
        list(read_json_lines(tmp_path, error=ModelError))
