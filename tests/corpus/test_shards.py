"""What is written is read back, from any place to any other; what was changed on disk is found and named."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bothways.corpus import Shards, verify
from bothways.corpus.manifest import Split
from bothways.corpus.shards import SplitWriter, Stream
from bothways.errors import DataError
from tests.corpus.conftest import sentences

COUNT = 5000


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Split, np.ndarray, np.ndarray]:
    """A stream over three files, with its arrays; blocks of 512 bytes, files of 2048 tokens."""
    rng = np.random.default_rng(0)
    tokens, words = rng.integers(0, 60_000, COUNT).astype(np.int32), rng.random(COUNT) < 0.5
    folder = tmp_path_factory.mktemp("stream")
    with pytest.MonkeyPatch.context() as patch:
        small(patch)
        with SplitWriter(folder, "train", "uint16") as writer:
            for start in range(0, COUNT, 37):
                writer.append(tokens[start : start + 37], words[start : start + 37])
            split = writer.finish()
    return folder, split, tokens, words


def small(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("bothways.corpus.hashed_files.BLOCK", 512)
    patch.setattr("bothways.corpus.hashed_files.PIECE", 64)
    patch.setattr("bothways.corpus.shards.SHARD", 2048)
    patch.setattr("bothways.corpus.shards._PAGE", 256)


@given(data=st.data())
def test_any_slice_is_what_was_written(
    written: tuple[Path, Split, np.ndarray, np.ndarray], data: st.DataObject
) -> None:
    folder, split, tokens, words = written
    start = data.draw(st.integers(0, COUNT))
    stop = data.draw(st.integers(start, COUNT))
    with pytest.MonkeyPatch.context() as patch:
        small(patch)
        found, starts = Stream(folder, "train", split, "uint16").read(start, stop)
    assert found.dtype == np.int32
    assert starts.dtype == bool
    assert (found == tokens[start:stop]).all()
    assert (starts == words[start:stop]).all()


def test_files_are_cut_and_hashed_by_block(written: tuple[Path, Split, np.ndarray, np.ndarray]) -> None:
    _, split, _, _ = written
    assert [file.size for file in split.shards] == [4096, 4096, 2 * (COUNT - 4096)]
    assert [file.size for file in split.words] == [256, 256, (COUNT - 4096) // 8]
    assert [len(file.blocks) for file in split.shards] == [8, 8, 4]


def test_a_large_vocabulary_takes_four_bytes(tmp_path: Path) -> None:
    with SplitWriter(tmp_path, "train", "uint32") as writer:
        writer.append(np.array([70_000, 3]), np.array([True, False]))
        split = writer.finish()
    assert Stream(tmp_path, "train", split, "uint32").read(0, 2)[0].tolist() == [70_000, 3]


@pytest.fixture
def copy(make: Callable[..., Shards], tmp_path: Path) -> Path:
    shutil.copytree(make(sentences(120)).path, tmp_path / "copy")
    return tmp_path / "copy"


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


NAMES = ("train-00000.tokens", "train-00000.words", "validation-00000.tokens", "validation-00000.words")
TOKENIZER = ("tokenizer/tokenizer.json", "tokenizer/tokenizer_config.json")


@pytest.mark.parametrize("name", [*NAMES, *TOKENIZER])
@pytest.mark.parametrize("place", [0, -1])
def test_a_flipped_bit_is_found_and_named(copy: Path, name: str, place: int) -> None:
    verify(copy)
    flip(copy / name, place)
    with pytest.raises(DataError, match=rf"{name} is damaged: expected SHA-256"):
        verify(copy)
    with pytest.raises(DataError, match=rf"{name} is damaged"):
        stream = getattr(Shards.open(copy), name.split("-")[0])
        stream.read(0, 5)


@pytest.mark.parametrize("name", [*NAMES, *TOKENIZER])
def test_a_cut_or_missing_file_is_named_when_opened(copy: Path, name: str) -> None:
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(content[:-1])
    with pytest.raises(DataError, match=rf"{name} is damaged: expected {len(content)} bytes, got {len(content) - 1}"):
        Shards.open(copy)
    (copy / name).unlink()
    with pytest.raises(DataError, match=rf"{name} is damaged: expected {len(content)} bytes, got No such file"):
        Shards.open(copy)


def test_every_bit_of_the_index_counts(copy: Path) -> None:
    index = copy / "index.json"
    whole = index.read_bytes()
    for place in range(0, len(whole), 7):
        flip(index, place)
        with pytest.raises(DataError, match=r"index\.json"):
            Shards.open(copy)
        index.write_bytes(whole)


def test_another_version_is_refused(copy: Path) -> None:
    index = copy / "index.json"
    content = json.loads(index.read_text())
    content["manifest"]["version"] = 99
    index.write_text(json.dumps(content))
    with pytest.raises(DataError, match="expected shards of version 3, got version 99"):
        Shards.open(copy)


def test_a_folder_without_shards_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Run `bothways prepare`"):
        Shards.open(tmp_path)


def test_the_vocabulary_is_the_tokenizers(copy: Path) -> None:
    shards = Shards.open(copy)
    assert shards.vocabulary == shards.tokenizer.vocabulary


@pytest.mark.parametrize("change", ["cut", "gone", "overwritten"])
def test_what_changes_while_it_is_open_is_found(copy: Path, change: str) -> None:
    """A file that training holds open: neither a signal (SIGBUS, of a mapped file) nor other tokens in silence."""
    stream, path = Shards.open(copy).train, copy / "train-00000.tokens"
    before, _ = stream.read(0, 50)
    if change == "cut":
        os.truncate(path, 60)
    elif change == "gone":
        path.unlink()
    else:
        flip(path, 20)
    with pytest.raises(DataError, match=r"train-00000\.tokens is damaged"):
        stream.read(0, 50)
    assert len(before) == 50


def test_a_change_elsewhere_in_a_checked_block_is_nothing_to_a_row(
    written: tuple[Path, Split, np.ndarray, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pieces are compared one by one, whichever part of a block is read; the last of a file may be shorter."""
    folder, split, tokens, _ = written
    small(monkeypatch)
    stream = Stream(shutil.copytree(folder, tmp_path / "stream"), "train", split, "uint16")
    stream.read(0, COUNT)
    flip(tmp_path / "stream" / "train-00002.tokens", -1)
    assert (stream.read(0, COUNT - 40)[0] == tokens[:-40]).all()
    with pytest.raises(DataError, match=r"train-00002\.tokens is damaged"):
        stream.read(COUNT - 1, COUNT)


def test_files_that_do_not_belong_are_named(copy: Path) -> None:
    (copy / "report.html").touch()  # of corpus-report
    verify(copy)
    (copy / "train-00001.tokens").write_bytes(b"left over")
    (copy / "tokenizer" / "vocab.txt").touch()
    with pytest.raises(DataError, match=r"does not name: tokenizer/vocab\.txt, train-00001\.tokens\. Those"):
        verify(copy)
