"""Folders with a vocab.txt: the files beside it say how a text becomes tokens, as they do in transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bothways.errors import DataError
from bothways.text import Tokenizer, train_tokenizer
from tests.text.folders import bert, wordpieces, write

HINDI, VIETNAMESE = "हिन्दी", "Tiếng"


def tokens(folder: Path, text: str) -> list[str]:
    tokenizer = Tokenizer.load(folder)
    return tokenizer.tokens(tokenizer.encode(text))


@pytest.mark.parametrize(
    ("said", "text", "expected"),
    [
        ({"do_lower_case": False}, "The dog", ["The", "dog"]),
        ({"do_lower_case": True}, "The dog", ["the", "dog"]),
        ({"do_lower_case": True}, f"{HINDI} café", ["ह", "##ि", "##न", "##द", "##ी", "cafe"]),
        ({"do_lower_case": True, "strip_accents": False}, f"{HINDI} Café", [HINDI, "café"]),
        ({"do_lower_case": False, "strip_accents": True}, "Café the", ["C", "##a", "##f", "##e", "the"]),
        ({"do_lower_case": False}, VIETNAMESE, ["T", "##i", "##ế", "##n", "##g"]),
        ({"tokenize_chinese_chars": True}, "世界", ["世", "界"]),
        ({"tokenize_chinese_chars": False}, "世界", ["世", "##界"]),
        ({"added_tokens_decoder": {"200": {"content": "foobar"}}}, "a foobar", ["a", "foobar"]),
    ],
)
def test_tokenizer_config_says_how(said: dict[str, Any], text: str, expected: list[str], tmp_path: Path) -> None:
    bert(tmp_path, **said)
    assert tokens(tmp_path, text) == expected
    Tokenizer.load(tmp_path).save(tmp_path / "again", template="own")
    assert tokens(tmp_path / "again", text) == expected


def test_tokens_added_later_are_read_and_numbered_behind_the_vocabulary(tmp_path: Path) -> None:
    bert(tmp_path)
    write(tmp_path, "added_tokens.json", {"<drug>": 9001, "Aspirin": 9002})
    write(tmp_path, "special_tokens_map.json", {"cls_token": {"content": "[unused1]"}, "mask_token": "<mask>"})
    tokenizer, count = Tokenizer.load(tmp_path), len(wordpieces())
    found = tokenizer.encode("the <drug> Aspirin")
    assert found == [tokenizer.number("the"), count, count + 1]
    assert tokenizer.roles["cls"] == "[unused1]" and tokenizer.roles["mask"] == "<mask>"
    assert tokenizer.frame.one[0] == (tokenizer.number("[unused1]"),)
    transformers = pytest.importorskip("transformers")
    assert transformers.AutoTokenizer.from_pretrained(tmp_path)("the <drug> Aspirin", add_special_tokens=False)[
        "input_ids"
    ] == (found)


def test_where_no_file_says_it_text_is_lower_cased_and_one_is_told(tmp_path: Path) -> None:
    """As transformers does: its numbers are those that the model was published and fine-tuned with."""
    bert(tmp_path)
    (tmp_path / "tokenizer_config.json").unlink()
    with pytest.warns(UserWarning, match=r"capital letters \(The, ...\) are never met. If the model is cased"):
        assert tokens(tmp_path, "The Dog") == ["the", "dog"]
    (tmp_path / "vocab.txt").write_text("[UNK]\nthe\n<S>\n")
    assert tokens(tmp_path, "The Dog") == ["the", "[UNK]"]


@pytest.mark.parametrize(
    "said", [{"never_split": ["Dog"]}, {"do_basic_tokenize": False}, {"tokenizer_class": "BertJapaneseTokenizer"}]
)
def test_what_no_tokenizer_here_does_is_refused_by_name(said: dict[str, Any], tmp_path: Path) -> None:
    bert(tmp_path, **said)
    with pytest.raises(DataError, match=next(iter(said))):
        Tokenizer.load(tmp_path)


def test_what_changes_nothing_is_accepted(tmp_path: Path) -> None:
    bert(tmp_path, never_split=["[CLS]", "[MASK]"], do_basic_tokenize=True, name_or_path="somebody/something")
    assert tokens(tmp_path, "The dog") == ["The", "dog"]


def test_the_vocabulary_must_hold_the_unknown_token(tmp_path: Path) -> None:
    bert(tmp_path, unk_token="<oov>")
    with pytest.raises(DataError, match="the unk_token <oov> among them"):
        Tokenizer.load(tmp_path)


@pytest.mark.parametrize(
    "name", ["tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "config.json"]
)
def test_a_damaged_file_beside_it_is_named(name: str, tmp_path: Path) -> None:
    bert(tmp_path)
    (tmp_path / name).write_text("[1]")
    with pytest.raises(DataError, match=f"{name}: expected a JSON object, got a list"):
        Tokenizer.load(tmp_path)


@pytest.mark.parametrize("added", [False, True])
def test_a_number_far_beyond_the_vocabulary_is_refused_before_memory_is_taken(added: bool, tmp_path: Path) -> None:
    train_tokenizer(["the dog sees the cat"] * 9, size=300).save(tmp_path)
    spec = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    place, key = (spec["added_tokens"][0], "id") if added else (spec["model"]["vocab"], "t")
    place[key] = 10**9
    write(tmp_path, "tokenizer.json", spec)
    with pytest.raises(DataError, match=r"tokenizer\.json: .* has the number 1,000,000,000: it is damaged"):
        Tokenizer.load(tmp_path)
