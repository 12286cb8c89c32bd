"""word-vectors and nearest: from shards to a file that gensim reads, and how each refuses what it cannot use."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bothways.errors import DataError, ModelError, UsageError
from bothways.word_vectors import WordVectors
from tests.cli.conftest import Invoke

SHORT = ("--dim", 8, "--epochs", 2)


def test_from_shards_to_neighbours(invoke: Invoke, shards: Path, tmp_path: Path) -> None:
    said = invoke("word-vectors", shards, "--out", tmp_path / "v.txt", *SHORT).stdout
    assert "held-out" in said and "untrained" in said and "tokens/s" in said and "bothways nearest" in said
    assert WordVectors.load(tmp_path / "v.txt").vectors.shape[1] == 8
    lines = invoke("nearest", tmp_path / "v.txt", "river", "boat", "--but", "salt", "--count", 3).stdout.splitlines()
    assert len(lines) == 3
    told = json.loads(invoke("nearest", tmp_path / "v.txt", "river", "--json").stdout)
    assert len(told) == 10 and set(told[0]) == {"word", "cosine"}


def test_for_programs(invoke: Invoke, shards: Path, tmp_path: Path) -> None:
    told = json.loads(invoke("word-vectors", shards, "--out", tmp_path / "v.txt", *SHORT, "--json").stdout)
    assert told["dim"] == 8 and told["words"] > 10
    assert set(told["losses"]) == {"cbow", "unigram", "untrained"} and told["words_per_second"] > 0


def test_gensim_reads_what_it_writes(invoke: Invoke, shards: Path, tmp_path: Path) -> None:
    pytest.importorskip("gensim", reason="needs the extra bench or dev")
    from gensim.models import KeyedVectors

    invoke("word-vectors", shards, "--out", tmp_path / "v.txt", *SHORT)
    theirs = KeyedVectors.load_word2vec_format(tmp_path / "v.txt")
    ours = WordVectors.load(tmp_path / "v.txt")
    assert theirs.index_to_key == ours.words and (theirs.vectors == ours.vectors).all()


def test_what_is_there_is_not_replaced_unasked(invoke: Invoke, shards: Path, tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(UsageError, match="there already"):
        invoke("word-vectors", shards, "--out", tmp_path / "v.txt", *SHORT)
    assert (tmp_path / "v.txt").read_text(encoding="utf-8") == "mine"
    assert invoke("word-vectors", shards, "--out", tmp_path / "v.txt", *SHORT, "--overwrite").exit_code == 0


def test_what_cannot_be_used(invoke: Invoke, shards: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="smaller --min-count"):
        invoke("word-vectors", shards, "--out", tmp_path / "v.txt", "--min-count", 10_000)
    with pytest.raises(DataError, match="index"):
        invoke("word-vectors", tmp_path, "--out", tmp_path / "v.txt")
    with pytest.raises(UsageError, match="learning_rate"):
        invoke("word-vectors", shards, "--out", tmp_path / "v.txt", "--set", "learning_rate=-1")
    with pytest.raises(ModelError, match="found no file"):
        invoke("nearest", tmp_path / "v.txt", "river")
    assert not (tmp_path / "v.txt").exists()


def test_an_unknown_word_leaves_with_2_and_no_traceback(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_text("1 1\nriver 1\n", encoding="utf-8")
    command = [sys.executable, "-m", "bothways", "nearest", str(tmp_path / "v.txt"), "rivers"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "bothways: 'rivers' is none of the 1 words. Near it: river.\n"
