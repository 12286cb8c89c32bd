"""More tokens for a tokenizer: the commonest pairs, the old tokens as they were, and what stands for the new ones."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Engine
from tokenizers import models, pre_tokenizers

from bothways.corpus import PrepareOptions, Shards, prepare
from bothways.errors import UsageError
from bothways.text import Tokenizer, extend_tokenizer, old_tokens
from bothways.text.chat import chat_tokens
from bothways.text.conversation import DAY
from bothways.text.extending import _merges
from tests.inference.made import tokenizer
from tests.text.test_taken import byte_level

TEXTS = ["hospital hospitals hospitality, the hospital", "今天天气今天天气", "über über naïve"] * 3


@pytest.mark.parametrize("kind", ["bpe", "wordpiece"])
def test_old_tokens_keep_their_numbers_and_text_comes_back(kind: str, tmp_path: Path) -> None:
    old = tokenizer(kind)
    new = extend_tokenizer(old, TEXTS, count=20)
    assert old.vocabulary.size < new.vocabulary.size <= old.vocabulary.size + 20
    size = old.vocabulary.size
    assert new.tokens(range(size)) == old.tokens(range(size))
    assert new.roles == old.roles
    assert (new.vocabulary.cls, new.vocabulary.mask) == (old.vocabulary.cls, old.vocabulary.mask)
    for text in TEXTS:
        assert new.decode(new.encode(text)) == old.decode(old.encode(text))
    assert len(new.encode("hospital")) < len(old.encode("hospital"))
    new.save(tmp_path)
    assert Tokenizer.load(tmp_path).encode(TEXTS[0]) == new.encode(TEXTS[0])


@pytest.mark.parametrize("kind", ["bpe", "wordpiece"])
def test_new_tokens_are_the_sum_of_their_old_ones(kind: str) -> None:
    old = tokenizer(kind)
    new = extend_tokenizer(old, TEXTS, count=20)
    whence = list(old_tokens(new, old))
    assert [tokens.tolist() for tokens in whence[: old.vocabulary.size]] == [[i] for i in range(old.vocabulary.size)]
    for number in range(old.vocabulary.size, new.vocabulary.size):
        spelt, token = old.tokens(whence[number]), new.tokens([number])[0]
        if kind == "wordpiece":
            assert [part.startswith("##") for part in spelt] == [token.startswith("##")] + [True] * (len(spelt) - 1)
            assert "".join(part.removeprefix("##") for part in spelt) == token.removeprefix("##")
        elif token.isascii():  # others may end within a character, which is then left out
            assert "".join(spelt) == token


def test_roles_are_matched_by_what_they_do(tmp_path: Path) -> None:
    """[CLS] of one is <s> of the other; what nobody has is known by nothing."""
    engine = Engine(models.BPE({letter: i for i, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}, []))
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    engine.add_special_tokens(["<s>", "</s>"])
    engine.save(str(tmp_path / "tokenizer.json"))
    old, new = Tokenizer.load(tmp_path), tokenizer("bpe")
    whence = list(old_tokens(new, old))
    assert whence[new.vocabulary.cls].tolist() == [old.vocabulary.cls]
    assert whence[new.vocabulary.mask].tolist() == []
    plain = (i for i in range(new.vocabulary.size) if i not in new.vocabulary.special)
    word = next(i for i in plain if len(new.text_of(i)) > 2)
    assert "".join(old.tokens(whence[word])) == new.tokens([word])[0]


def test_a_token_of_several_roles_is_known_to_each(tmp_path: Path) -> None:
    """Where <|endoftext|> opens and ends a text, the new [CLS] begins as its row, and it stays the end."""
    byte_level("<|endoftext|>").save(str(tmp_path / "tokenizer.json"))
    named = {f"{role}_token": "<|endoftext|>" for role in ("bos", "eos", "unk")}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(named))
    old = Tokenizer.load(tmp_path)
    new = old.with_all_roles()
    whence = [tokens.tolist() for tokens in old_tokens(new, old)]
    assert new.vocabulary.sep == 256 != new.vocabulary.cls
    assert whence[new.vocabulary.cls] == whence[new.vocabulary.sep] == [256]
    assert whence[new.vocabulary.mask] == whence[new.vocabulary.unk] == []


@pytest.mark.parametrize("kind", ["modernbert", "qwen3", "llama3"])
def test_added_tokens_keep_their_numbers(kind: str, tmp_path: Path) -> None:
    """Those that the vocabulary of the model itself lacks, as of most published tokenizers."""
    pytest.importorskip("transformers", reason="needs the extra bothways[hf]")
    from tests.text.folders import FOLDERS

    FOLDERS[kind](tmp_path)
    old = Tokenizer.load(tmp_path).with_all_roles()
    new = extend_tokenizer(old, TEXTS, count=5)
    size = old.vocabulary.size
    assert new.tokens(range(size)) == old.tokens(range(size)) and new.vocabulary.size == size + 5
    assert replace(new.vocabulary, size=size) == old.vocabulary
    assert all(new.decode(new.encode(text)) == text for text in (*TEXTS, "<|im_end|> [CLS] <|end_of_text|>  x"))
    assert not {*new.tokens(range(size, size + 5))} & {*new.special_names}


@pytest.mark.parametrize("extend", [None, 3])
def test_what_files_say_of_a_tokenizer_goes_with_it(extend: int | None, tmp_path: Path) -> None:
    """A chat model's template, what ends its texts, how much it reads: lost where a role was lacking, or extended."""
    byte_level("<s>", "</s>", "<|end|>").save(str(tmp_path / "tokenizer.json"))
    said = {"bos_token": "<s>", "eos_token": "<|end|>", "model_max_length": 99, "chat_template": "{{ eos_token }}"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(said))
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [257, 258]}')
    old = Tokenizer.load(tmp_path)
    new = extend_tokenizer(old, TEXTS, count=extend) if extend else old.with_all_roles()
    assert new.vocabulary.size > old.vocabulary.size
    assert (new.chat, new.length, new.vocabulary.ends) == ("{{ eos_token }}", 99, {257, 258})
    assert old.named.items() <= new.named.items() and new.frame == old.frame
    (tmp_path / "text.txt").write_text(
        "\n\n".join(f"{text} {n}" for n in range(40) for text in TEXTS), encoding="utf-8"
    )
    options = {"tokenizer": tmp_path, "extend": extend, "validation": 0.3}
    prepare([str(tmp_path / "text.txt")], out=tmp_path / "shards", options=PrepareOptions(**options))
    shards = Shards.open(tmp_path / "shards")
    assert shards.tokenizer.chat == "{{ eos_token }}" and shards.tokenizer.roles["sep"] == "<|end|>"
    assert chat_tokens(shards.tokenizer, [{"role": "user", "content": "a"}], now=DAY) == [258]


@given(st.lists(st.text("ab", min_size=1, max_size=8), min_size=1, max_size=12), st.integers(1, 6))
@settings(deadline=None)
def test_merges_are_those_of_counting_anew_every_time(words: list[str], count: int) -> None:
    """Against the algorithm as it is written down: count all pairs, join the commonest, begin again."""
    counted: dict[tuple[str, ...], int] = {}
    for word in words:
        counted[tuple(word)] = counted.get(tuple(word), 0) + 1
    spelt, expected = dict(counted), []
    for _ in range(count):
        pairs: dict[tuple[str, str], int] = {}
        for word, times in spelt.items():
            for pair in pairwise(word):
                pairs[pair] = pairs.get(pair, 0) + times
        if not pairs or max(pairs.values()) < 2:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        expected.append(best)
        joined: dict[tuple[str, ...], int] = {}
        for word, times in spelt.items():
            tokens: list[str] = []
            for token in word:
                if tokens and (tokens[-1], token) == best:
                    tokens[-1] += token
                else:
                    tokens.append(token)
            joined[tuple(tokens)] = joined.get(tuple(tokens), 0) + times
        spelt = joined
    assert _merges(counted, count=count, prefix="") == expected


def test_what_cannot_be_extended(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="tokens stand together more than once"):
        extend_tokenizer(tokenizer("bpe"), ["q"], count=5)
    engine = Engine(models.Unigram([("<unk>", 0.0), ("a", -1.0)], unk_id=0))
    engine.pre_tokenizer = pre_tokenizers.Metaspace()
    engine.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(UsageError, match="expected a BPE or a WordPiece tokenizer to extend, got Unigram"):
        extend_tokenizer(Tokenizer.load(tmp_path), ["a"], count=5)
