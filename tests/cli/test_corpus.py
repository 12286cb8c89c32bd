"""The commands about text: prepare, verify, show-rows; and how each refuses what it cannot use."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from bothways.cli import app
from bothways.errors import BothwaysError, DataError, ModelError, UsageError
from tests.cli.conftest import Invoke


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two files: 400 documents, one of them twice."""
    folder = tmp_path_factory.mktemp("text")
    words = ["the", "river", "was", "wide", "and", "slow", "when", "old", "boats", "came", "down", "from", "hills"]
    lines = [" ".join(words[(i * j) % len(words)] for j in range(1, 40)) + f" number {i}" for i in range(400)]
    (folder / "a.txt").write_text("\n\n".join(lines), encoding="utf-8")
    (folder / "b.txt").write_text(lines[7], encoding="utf-8")
    return folder


def test_prepare_says_what_it_read_and_what_comes_next(invoke: Invoke, text: Path, tmp_path: Path) -> None:
    said = invoke("prepare", text, "--out", tmp_path / "x", "--vocabulary", 512, "--set", "validation=0.1")
    assert "401" in said.stdout and "duplicates" in said.stdout
    assert re.search(r"fingerprint [0-9a-f]{64}", said.stdout)
    assert "bothways pretrain" in said.stdout
    again = invoke("prepare", text, "--out", tmp_path / "x", "--vocabulary", 512, "--set", "validation=0.1")
    assert "nothing to do" in again.stderr


def test_prepare_for_programs(invoke: Invoke, text: Path, tmp_path: Path) -> None:
    asked = ["--vocabulary", 512, "--set", "validation=0.1"]
    told = json.loads(invoke("prepare", text, "--out", tmp_path / "x", *asked, "--json").stdout)
    assert told["sources"][0]["duplicates"] == 1
    invoke("prepare", text, "--out", tmp_path / "y", *asked)
    assert told["fingerprint"] in invoke("verify", tmp_path / "y").stdout  # two runs, one fingerprint


def test_rows_are_shown(invoke: Invoke, shards: Path) -> None:
    shown = invoke("show-rows", shards, "--count", 3, "--length", 32).stdout
    assert shown.count("\nrow ") == 3
    assert "[CLS]" in shown and "| river" in shown
    assert shown == invoke("show-rows", shards, "--count", 3, "--length", 32).stdout


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["nowhere.txt"], DataError, "nowhere.txt"),
        (["python-docs=0"], UsageError, "0"),
        (["python-docs", "--set", "validation=0"], UsageError, "validation"),
        (["python-docs", "--set", "vocabulary=5"], UsageError, "vocabulary: .* greater than or equal to 512, got 5"),
        (["python-docs", "--tokenizer", "nowhere"], ModelError, "nowhere"),
        (["python-docs", "--set", "extend=9"], UsageError, "extend adds to a tokenizer: name it"),
    ],
)
def test_prepare_refuses(
    arguments: list[str], error: type[BothwaysError], message: str, invoke: Invoke, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        invoke("prepare", *arguments, "--out", tmp_path / "x")
    assert not (tmp_path / "x" / "index.json").exists()


def test_a_wrong_choice_lists_the_right_ones(invoke: Invoke, tmp_path: Path) -> None:
    said = invoke("prepare", "python-docs", "--out", tmp_path, "--documents", "pages")
    assert said.exit_code == 2 and "blocks" in said.output
    said = invoke("prepare", "python-docs", "--out", tmp_path, "--vocabulary", 5)
    assert said.exit_code == 2 and "--vocabulary" in said.output and "512" in said.output


def test_damage_is_found_and_named(invoke: Invoke, shards: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(shards, tmp_path / "shards")
    damaged = bytearray((copy / "train-00000.tokens").read_bytes())
    damaged[100] ^= 1
    (copy / "train-00000.tokens").write_bytes(damaged)
    with pytest.raises(DataError, match=r"train-00000\.tokens"):
        invoke("verify", copy)


@pytest.mark.parametrize(
    ("line", "code"),
    [("prepare nowhere --out x", 3), ("show-rows", 2)],
)
def test_exit_codes_and_no_traceback(line: str, code: int, tmp_path: Path) -> None:
    said = subprocess.run(
        [sys.executable, "-m", "bothways", *line.split()], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert said.returncode == code
    assert said.stderr and "Traceback" not in said.stderr


@given(
    option=st.sampled_from(
        ["--vocabulary", "--set=validation", "--set=fields", "--tokenizer", "--exclude", "--set=kind"]
    ),
    value=st.text(max_size=12) | st.integers(-(10**20), 600).map(str) | st.floats().map(str),
)
def test_no_option_brings_prepare_down(option: str, value: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """On an empty file, so that whatever passes the options is refused as text."""
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "a.txt").touch()
    said = CliRunner().invoke(app, ["prepare", str(folder / "a.txt"), "--out", str(folder / "x"), f"{option}={value}"])
    assert isinstance(said.exception, BothwaysError | SystemExit), said.exception
    assert said.exit_code != 0


def test_pairs_and_languages(invoke: Invoke, text: Path, tmp_path: Path) -> None:
    (tmp_path / "p.tsv").write_text("".join(f"word number {i} here\tmot numéro {i} ici\n" for i in range(200)))
    asked = ["--vocabulary", 512, "--set", "validation=0.1", "--set", "balance=0.7", "--out", tmp_path / "x"]
    said = invoke("prepare", f"en={text}", "--pairs", f"en-fr={tmp_path / 'p.tsv'}", *asked).stdout
    assert "(en)" in said and "p.tsv (en-fr)" in said
    shown = invoke("show-rows", tmp_path / "x", "--count", 60, "--length", 32).stdout
    assert "(en-fr), positions 0-" in shown and "(en), positions 0-" in shown
    assert "is whole" in invoke("verify", tmp_path / "x").stdout
    only = invoke("prepare", "--pairs", f"en-fr={tmp_path / 'p.tsv'}", "--out", tmp_path / "y", "--vocabulary", 512)
    assert "p.tsv (en-fr)" in only.stdout
