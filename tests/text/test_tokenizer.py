"""Text to tokens and back; text is never read as a special token, unless it is asked for."""

from __future__ import annotations

import time
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bothways.errors import DataError, UsageError
from bothways.text import Tokenizer, train_tokenizer
from bothways.text.cached_encoding import ChunkEncoder

SCRIPTS = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=60)
# White space of every kind next to ideographs, marks, contractions and specials: where chunks could be cut wrongly.
TRAPS = st.text(alphabet=" \t\n\r\x1c\x85\xa0\u3000\u200bab'sS1!中文é\u0301😀[MASK]א", max_size=40)


@given(text=st.one_of(SCRIPTS, TRAPS))
@settings(max_examples=400)
@example("שלום עולם \u202eabc\u202c")
@example("a\x00b\x00")
@example("👩\u200d👩\u200d👧 🇨🇳 e\u0301")
@example("[CLS] [MASK] [SEP] <s>")
def test_byte_level_gives_back_every_text(bpe: Tokenizer, text: str) -> None:
    assert bpe.decode(bpe.encode(text)) == unicodedata.normalize("NFC", text)


@pytest.mark.parametrize("kind", ["bpe", "wordpiece", "gpt2"])
@given(texts=st.lists(st.one_of(SCRIPTS, TRAPS), max_size=5))
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(
    [
        "foo\xa0\xa0中",
        "foo\xa0  ",
        "a \xa0 b",
        "中's 's",
        "  \n 中  x",
        "a\x1c b",
        "a\x85\n\nb ",
        "(don't),'s \"x\u0301",
        "O\U00030781\U0002b83d",
    ]
)
def test_the_table_of_chunks_changes_no_token(request: pytest.FixtureRequest, kind: str, texts: list[str]) -> None:
    tokenizer = request.getfixturevalue(kind)
    assert tokenizer._chunks
    assert [tokens.tolist() for tokens in tokenizer.encode_batch(texts)] == [tokenizer.encode(text) for text in texts]


def test_long_texts_are_cut_into_segments_without_a_trace(bpe: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "The dog's fault,\xa0 世界很大 they'd say\n\n " * 9
    monkeypatch.setattr("bothways.text.cached_encoding._SEGMENT", 7)
    assert bpe.encode_batch([text, ""])[0].tolist() == bpe.encode(text)


def test_a_full_table_of_chunks_is_emptied(bpe: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bothways.text.cached_encoding._KEPT", 3)
    for text in ("one two three four five", "six seven one", "one one two"):
        assert bpe.encode_batch([text])[0].tolist() == bpe.encode(text)


def test_threads_at_once_get_the_tokens_that_one_gets(bpe: Tokenizer) -> None:
    """And so does whoever asks after them: what is learned stays."""

    def slowly(texts: list[str]) -> list[list[int]]:
        time.sleep(0.01)
        return bpe._encode_each(texts)

    assert bpe._chunks
    chunks = ChunkEncoder(bpe._chunks._cuts, slowly)
    texts = [[f"{word}{number} fox" for word in ("one", "two", "three")] for number in range(8)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(chunks, texts))
    for some, (tokens, _) in zip(texts, together, strict=True):
        expected = [token for text in some for token in bpe.encode(text)]
        assert tokens.tolist() == expected == chunks(some)[0].tolist()


def test_special_names_in_text_are_text(bpe: Tokenizer, wordpiece: Tokenizer) -> None:
    for tokenizer in (bpe, wordpiece):
        for text in ("[CLS]", "a [MASK] b", "[SEP][PAD][UNK]"):
            found = set(tokenizer.encode(text)) | set(tokenizer.encode_batch([text])[0].tolist())
            assert not found & (tokenizer.vocabulary.special - {tokenizer.vocabulary.unk})


def test_names_that_one_thread_asks_for_are_text_to_another(
    bpe: Tokenizer, wordpiece: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other comes in the middle of the one."""
    for tokenizer in (bpe, wordpiece):
        other: list[int] = []

        def interrupted(text: str, own: Tokenizer = tokenizer, found: list[int] = other) -> str:
            monkeypatch.undo()
            with ThreadPoolExecutor(1) as pool:
                found += pool.submit(own.encode, "[MASK]").result()
            return text

        monkeypatch.setattr("bothways.text.tokenizer._whole", interrupted)
        assert tokenizer.encode_named("[MASK]") == [tokenizer.vocabulary.mask]
        assert other and tokenizer.vocabulary.mask not in other


def test_the_mask_can_be_asked_for_and_takes_the_space_before_it(bpe: Tokenizer, wordpiece: Tokenizer) -> None:
    for tokenizer in (bpe, wordpiece):
        mask = [tokenizer.vocabulary.mask]
        words = tokenizer.encode("the quick"), tokenizer.encode(" fox")
        assert tokenizer.encode_marked("the quick [MASK] fox") == words[0] + mask + words[1]
        assert tokenizer.encode_marked("[MASK][MASK]") == mask * 2
        assert tokenizer.encode_marked("[CLS]") == tokenizer.encode("[CLS]")


def test_a_lone_surrogate_is_refused(bpe: Tokenizer) -> None:
    for encode in (bpe.encode, bpe.encode_marked, lambda text: bpe.encode_batch(["good", text])):
        with pytest.raises(UsageError, match="lone surrogate at character 1"):
            encode("a\ud800")


def test_wordpiece_joins_ideographs_when_it_writes(wordpiece: Tokenizer) -> None:
    assert wordpiece.decode(wordpiece.encode("语言模型 from left")) == "语言模型 from left"


def test_wordpiece_writes_no_space_beside_wide_signs(tmp_path: Path) -> None:
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"天气好，。（）《》a,", "##b"]
    (tmp_path / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    own = Tokenizer.load(tmp_path / "vocab.txt")
    for text in ("天气好，（ab）好。", "《ab》，ab。", "a, ab 好"):
        assert own.decode(own.encode(text)) == text


def test_trained_tokenizers_have_the_five_roles_first(bpe: Tokenizer, wordpiece: Tokenizer) -> None:
    for tokenizer in (bpe, wordpiece):
        roles = tokenizer.vocabulary
        assert (roles.pad, roles.unk, roles.cls, roles.sep, roles.mask) == (0, 1, 2, 3, 4)
        assert tokenizer.tokens(range(5)) == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        assert roles.size <= 600


def test_saved_and_loaded_it_is_the_same(bpe: Tokenizer, wordpiece: Tokenizer, tmp_path) -> None:
    for tokenizer in (bpe, wordpiece):
        tokenizer.save(tmp_path)
        again = Tokenizer.load(tmp_path)
        assert again.vocabulary == tokenizer.vocabulary
        text = "The dog's 世界 wasn't [MASK] unbelievable"
        assert again.encode(text) == tokenizer.encode(text)
        again.save(tmp_path / "twice")
        assert (tmp_path / "twice/tokenizer.json").read_bytes() == (tmp_path / "tokenizer.json").read_bytes()


@pytest.mark.parametrize("kind", ["bpe", "wordpiece"])
def test_training_gives_the_same_tokenizer_every_time(kind: str, tmp_path) -> None:
    texts = [f"{a}{b}{c} {c}{a} ({b}{b}) 世界{a}°{b}" for a in "abcdefgh" for b in "ijklmnöß" for c in "opq가stu€"]
    for name in "abc":
        train_tokenizer(texts, kind=kind, size=400).save(tmp_path / name)
    assert len({(tmp_path / name / "tokenizer.json").read_bytes() for name in "abc"}) == 1


def test_training_refuses_what_cannot_be() -> None:
    with pytest.raises(UsageError, match=r"unknown kind of tokenizer 'bp'. Did you mean 'bpe'\?"):
        train_tokenizer(["text"], kind="bp")
    with pytest.raises(UsageError, match="at least 261"):
        train_tokenizer(["text"], size=200)


def test_loading_says_what_it_expected(tmp_path) -> None:
    with pytest.raises(DataError, match="found none"):
        Tokenizer.load(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(DataError, match="does not read"):
        Tokenizer.load(tmp_path)


def test_spans_name_the_first_character_of_every_token(bpe: Tokenizer) -> None:
    text = "世界 naïve 😀!"
    tokens, spans = bpe.encode_spans(text)
    places = spans[:, 0]
    assert tokens.tolist() == bpe.encode(text)
    assert (spans[:, 1] > places).all()
    assert places[0] == 0
    assert (np.diff(places) >= 0).all()
    assert places[-1] == text.index("!")
