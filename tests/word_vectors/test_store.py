"""word2vec's text format, there and back and into gensim; nearest words; what is refused."""

from __future__ import annotations

import gzip
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest

from bothways.errors import ModelError, UsageError
from bothways.word_vectors import WordVectors

WORDS = ["the", "river", "河水", "naïve", "wasn't", "a\u200bb", "1872"]


@pytest.fixture
def vectors() -> WordVectors:
    return WordVectors(WORDS, np.random.default_rng(0).normal(size=(7, 5)).astype(np.float32))


def test_there_and_back_to_the_last_bit(vectors: WordVectors, tmp_path: Path) -> None:
    vectors.save(tmp_path / "new" / "v.txt")
    again = WordVectors.load(tmp_path / "new" / "v.txt")
    assert again.words == WORDS and np.array_equal(again.vectors, vectors.vectors)
    assert sorted(file.name for file in (tmp_path / "new").iterdir()) == ["v.txt", "v.txt.sha256"]


def test_gensim_reads_it(vectors: WordVectors, tmp_path: Path) -> None:
    pytest.importorskip("gensim", reason="needs the extra bench or dev")
    from gensim.models import KeyedVectors

    vectors.save(tmp_path / "v.txt")
    theirs = KeyedVectors.load_word2vec_format(tmp_path / "v.txt", binary=False)
    assert theirs.index_to_key == WORDS and np.array_equal(theirs.vectors, vectors.vectors)
    assert theirs.similarity("river", "河水") == pytest.approx(vectors.similarity("river", "河水"), abs=1e-6)
    ours = vectors.nearest("river", "the", but=["1872"], count=3)
    assert [word for word, _ in ours] == [
        word for word, _ in theirs.most_similar(positive=["river", "the"], negative=["1872"], topn=3)
    ]
    theirs.save_word2vec_format(tmp_path / "theirs.txt")
    assert np.allclose(WordVectors.load(tmp_path / "theirs.txt").vectors, vectors.vectors)


def test_word2vecs_own_lines_end_in_a_space(tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_text("2 2\nnew york 1 2 \n</s> 0.5 -1e-3 \n", encoding="utf-8")
    with pytest.raises(UsageError, match="write new_york"):
        WordVectors.load(tmp_path / "v.txt")
    (tmp_path / "v.txt").write_text("2 2\nnew_york 1 2 \n</s> 0.5 -1e-3 \n", encoding="utf-8")
    assert WordVectors.load(tmp_path / "v.txt")["</s>"].tolist() == [0.5, np.float32(-1e-3)]


def test_nearest_and_similarity() -> None:
    vectors = WordVectors(["a", "b", "c", "zero"], np.array([[1, 0], [2, 2], [0, 3], [0, 0]], dtype=np.float32))
    assert vectors.similarity("a", "b") == pytest.approx(2**-0.5)
    assert vectors.nearest("a", count=2) == [("b", pytest.approx(2**-0.5)), ("c", 0.0)]
    assert [word for word, _ in vectors.nearest("b", but=["a"], count=9)] == ["c", "zero"]
    assert vectors.similarity("a", "zero") == 0
    assert "a" in vectors and "d" not in vectors


def test_unknown_words_are_named_with_those_near(vectors: WordVectors) -> None:
    with pytest.raises(UsageError, match=r"'rivers' is none of the 7 words\. Near it: river\."):
        vectors.nearest("rivers")
    with pytest.raises(UsageError, match="expected a word"):
        vectors.nearest()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "line 1"),
        ("not vectors\n", "line 1"),
        ("2 2\na 1 2\n", "expected 2 words, as its first line says, got 1"),
        ("1 2\na 1 2\nb 1 2\n", "expected 1 words, as its first line says, got 2"),
        ("1 9\na 1 2                          \n", "line 2.*2 numbers instead of 9"),
        ("999999999 9\na 1 2\n", "line 1: expected 999,999,999 words of 9 numbers, .* got 18 bytes: cut"),
        ("1000000000000 100\na 1 2\n", "line 1: expected 1,000,000,000,000 words"),
        ("1 1000000000000\na 1 2\n", "line 1: expected vectors of up to 1,048,576 numbers"),
        ("2 2\na 1 2\na 3 4\n", "line 3: expected different words, got 'a' again, after line 2. Leave out one"),
        ("1 2\na 1\n", "line 2.*1 numbers instead of 2"),
        ("1 2\na 1 x\n", "line 2"),
    ],
)
def test_files_that_are_none(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "v.txt").write_text(content, encoding="utf-8")
    with pytest.raises(ModelError, match=said):
        WordVectors.load(tmp_path / "v.txt")


def test_a_file_without_its_first_line_is_told_how_to_get_one(tmp_path: Path) -> None:
    path = tmp_path / "my glove.txt"
    path.write_text("the 0.1 0.2 0.3\nof 1 2 3\n", encoding="utf-8")
    with pytest.raises(
        ModelError, match="line 1: expected a number of words and one of dimensions, .* got 'the 0.1"
    ) as e:
        WordVectors.load(path)
    command = str(e.value).partition("Put it there: ")[2].replace("NEW.vec", shlex.quote(str(tmp_path / "new.vec")))
    subprocess.run(command, shell=True, check=True)
    assert WordVectors.load(tmp_path / "new.vec")["of"].tolist() == [1, 2, 3]


def test_words_may_hold_white_space_that_is_no_space(tmp_path: Path) -> None:
    """U+00A0 and U+3000 stand in published .vec files; gensim and fastText read them as parts of words."""
    (tmp_path / "v.vec").write_text("3 1\na\u00a0b 1\n\u3000 2\n\u2028x 3\n", encoding="utf-8")
    vectors = WordVectors.load(tmp_path / "v.vec")
    assert vectors.words == ["a\u00a0b", "\u3000", "\u2028x"] and vectors.vectors.tolist() == [[1], [2], [3]]
    vectors.save(tmp_path / "again.vec")
    assert WordVectors.load(tmp_path / "again.vec").words == vectors.words


def test_vectors_are_read_as_other_files_are(tmp_path: Path) -> None:
    (tmp_path / "v.vec.gz").write_bytes(gzip.compress(b"1 2\r\na 1 2\r\n"))
    assert WordVectors.load(tmp_path / "v.vec.gz")["a"].tolist() == [1, 2]
    (tmp_path / "v.vec").write_text("1 2\na 1 2\n", encoding="utf-16")
    with pytest.raises(ModelError, match=r"v.vec: expected UTF-8, got UTF-16. Convert it: iconv -f UTF-16"):
        WordVectors.load(tmp_path / "v.vec")
    (tmp_path / "v.bin").write_bytes(b"1 2\na \x00\x80\n")
    with pytest.raises(ModelError, match=r"v.bin, line 2: expected text, got a NUL character"):
        WordVectors.load(tmp_path / "v.bin")


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="found no file"):
        WordVectors.load(tmp_path / "v.txt")


@pytest.mark.parametrize("words", [["a b"], ["a\n"], [""], ["a", "a"], ["a", "b", "c"]])
def test_words_that_the_format_cannot_hold(words: list[str]) -> None:
    with pytest.raises(UsageError, match="expected"):
        WordVectors(words, np.zeros((min(2, len(words)), 2), dtype=np.float32))


def test_what_is_there_is_not_replaced_unasked(vectors: WordVectors, tmp_path: Path) -> None:
    vectors.save(tmp_path / "v.txt")
    with pytest.raises(UsageError, match="there already"):
        vectors.save(tmp_path / "v.txt")
    vectors.save(tmp_path / "v.txt", overwrite=True)
    with pytest.raises(UsageError, match="got a folder"):
        vectors.save(tmp_path)
