"""Texts from the command line, from a file, from the standard input: the same answers, in the same order."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bothways.cli import app, texts
from bothways.cli.texts import asked
from bothways.errors import DataError, UsageError
from tests.cli.conftest import Invoke

TEXTS = ["the [MASK] boat", "grain and [MASK]", "no [MASK] river", "the 3th [MASK]", "salt [MASK] salt"]
ASKING = {
    "fill": [],
    "infill": ["--temperature", 1, "--seed", 3],
    "generate": ["--max-new-tokens", 4, "--seed", 3],
    "score": [],
    "embed": [],
}


def sent(*words: object, text: str | bytes) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words], input=text, catch_exceptions=False)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    place = tmp_path / "texts.txt"
    place.write_text("\r\n".join([*TEXTS[:2], "", "  ", *TEXTS[2:]]), encoding="utf-8")
    return place


@pytest.mark.parametrize("name", ASKING)
def test_all_ways_say_the_same_in_batches_too(
    name: str, invoke: Invoke, run: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def close(one: Any) -> Any:
        """Rounding depends on the batch."""
        if isinstance(one, float):
            return pytest.approx(one, rel=1e-3, abs=1e-4)
        if isinstance(one, list):
            return [close(part) for part in one]
        return {key: close(part) for key, part in one.items()} if isinstance(one, dict) else one

    options = [*ASKING[name], "--json"]
    told = json.loads(invoke(name, run, *TEXTS, *options).stdout)
    assert [record.get("text" if name != "generate" else "prompt") for record in told] == TEXTS
    monkeypatch.setattr(texts, "AT_ONCE", 2)
    packed = file.with_suffix(".txt.gz")
    packed.write_bytes(gzip.compress(file.read_bytes()))
    records = file.with_suffix(".jsonl")
    records.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS), encoding="utf-8")
    for place in (file, packed, records):
        assert json.loads(invoke(name, run, "--file", place, *options).stdout) == close(told)
    for words in ([], ["-"], ["--file", "-"]):
        assert json.loads(sent(name, run, *words, *options, text=file.read_bytes()).stdout) == close(told)
    if name != "embed":
        assert (
            sent(name, run, *options[:-1], text="\n".join(TEXTS)).stdout
            == invoke(name, run, "--file", file, *options[:-1]).stdout
        )


def test_answers_come_while_the_input_goes_on(run: Path) -> None:
    """Of a pipe that is still open, what was answered is there."""
    command = [sys.executable, "-m", "bothways", "score", str(run), "--device", "cpu"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None and child.stdout is not None
        line = b"the boat went down the river with grain and no salt and more of it\n"
        child.stdin.write(line * 2 * texts.AT_ONCE * -(-(1 << 16) // (texts.AT_ONCE * len(line))))
        child.stdin.flush()
        assert child.stdout.readline().endswith(line)
        child.stdin.close()
        assert child.stdout.read().count(b"\n") > texts.AT_ONCE


def test_a_text_of_a_later_batch_is_named(
    invoke: Invoke, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(texts, "AT_ONCE", 2)
    place = tmp_path / "x.txt"
    place.write_text("a [MASK]\nb [MASK]\nc [MASK]\nnothing\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"texts 3 to 4 of .*x.txt, counted from the first: text 2"):
        invoke("infill", run, "--file", place)


def test_nobody_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", type("Terminal", (), {"isatty": lambda self: True})())
    with pytest.raises(UsageError, match="expected a text, got none: write one in quotes"):
        asked([], None)


def test_what_is_wrong_is_said_before_a_model_is_read(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "gb.txt").write_bytes("中文".encode("gb18030"))
    for words, error, said in (
        (["a", "--file", "b.txt"], UsageError, "got both"),
        (["--file", tmp_path / "none.txt"], DataError, "none.txt: expected a file to read"),
        (["--file", tmp_path / "gb.txt"], DataError, "line 1: expected UTF-8"),
        (["--file", os.devnull], DataError, "expected texts, one a line, got none"),
    ):
        with pytest.raises(error, match=said):
            invoke("score", tmp_path / "no model", *words)
    with pytest.raises(DataError, match="standard input: expected texts"):
        sent("score", tmp_path, text="\n \n")


def test_many_vectors_are_counted_and_not_compared(run: Path) -> None:
    said = sent("embed", run, text="the boat\n" * 21).stdout
    assert said == "21 vectors of 128 numbers: more than 20 are not compared, --json prints them\n"


def test_the_field_of_records_is_known_by_its_name(tmp_path: Path) -> None:
    """As in fine-tuning: a table in Chinese, with semicolons; records of another name; and what has none."""
    (tmp_path / "a.csv").write_bytes('\ufeff编号;文本\r\n1;"很好;还来"\r\n2;不好\r\n'.encode())
    (tmp_path / "b.jsonl").write_text('{"n": 1, "Sentence": "so"}\n', encoding="utf-8")
    (tmp_path / "c.csv").write_text("n,nothing\n1,a\n", encoding="utf-8")
    assert [*asked([], tmp_path / "a.csv").batches] == [("很好;还来", "不好")]
    assert [*asked([], tmp_path / "b.jsonl").batches] == [("so",)]
    with pytest.raises(
        UsageError, match=r"c\.csv: expected a field that is called text \(sentence.*文本.*got n, nothing"
    ):
        asked([], tmp_path / "c.csv")
