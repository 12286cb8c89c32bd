"""Tokenizers made elsewhere: roles by their configuration or their names, and what transformers makes of ours."""

from __future__ import annotations

import json

import pytest
from tokenizers import AddedToken, decoders, models, pre_tokenizers
from tokenizers import Tokenizer as Engine

from bothways.batch import Vocabulary
from bothways.errors import DataError
from bothways.text import Tokenizer


def byte_level(*specials: str) -> Engine:
    """A GPT-2-like tokenizer without merges."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    engine = Engine(models.BPE({token: number for number, token in enumerate(alphabet)}, []))
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    engine.decoder = decoders.ByteLevel()
    engine.add_special_tokens([AddedToken(name, special=True) for name in specials])
    return engine


def test_missing_roles_become_new_tokens_at_the_end(tmp_path) -> None:
    """Where text is to be prepared with it; loaded alone, a tokenizer has what it came with."""
    byte_level("<|endoftext|>").save(str(tmp_path / "tokenizer.json"))
    loaded = Tokenizer.load(tmp_path)
    assert loaded.roles == {"sep": "<|endoftext|>"}
    assert loaded.vocabulary == Vocabulary(size=257, pad=-1, unk=-1, cls=-1, sep=256, mask=-1)
    assert loaded.vocabulary.special == loaded.vocabulary.ends == {256}
    tokenizer = loaded.with_all_roles()
    assert tokenizer.with_all_roles() is tokenizer
    assert tokenizer.roles == {
        "pad": "[PAD]",
        "unk": "[UNK]",
        "cls": "[CLS]",
        "sep": "<|endoftext|>",
        "mask": "[MASK]",
    }
    assert tokenizer.vocabulary.size == 256 + 1 + 4
    assert loaded.vocabulary.size == 257
    assert tokenizer.decode(tokenizer.encode("héllo <|endoftext|>")) == "héllo <|endoftext|>"
    assert tokenizer.encode_batch(["a  b\n c"])[0].tolist() == tokenizer.encode("a  b\n c")


def test_the_configuration_beside_it_names_the_roles(tmp_path) -> None:
    byte_level("<a>", "<b>", "<c>", "<d>", "<e>", "<f>").save(str(tmp_path / "tokenizer.json"))
    said = {
        "bos_token": "<a>",
        "eos_token": {"content": "<b>"},
        "pad_token": "<c>",
        "unk_token": "<d>",
        "mask_token": "<e>",
    }
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(said))
    tokenizer = Tokenizer.load(tmp_path / "tokenizer.json")
    assert tokenizer.roles == {"cls": "<a>", "sep": "<b>", "pad": "<c>", "unk": "<d>", "mask": "<e>"}
    assert tokenizer.vocabulary.reserved == {tokenizer._engine.token_to_id("<f>")}
    assert tokenizer.encode_marked("x <e>")[-1] == tokenizer.vocabulary.mask


def test_one_token_plays_one_role_in_what_is_prepared(tmp_path) -> None:
    """Rows count documents by [CLS], which must not end them: the token of several roles stays the end of a text."""
    byte_level("<s>").save(str(tmp_path / "tokenizer.json"))
    named = {f"{role}_token": "<s>" for role in ("bos", "eos", "unk", "pad")}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(named))
    loaded = Tokenizer.load(tmp_path)
    assert loaded.roles == {"cls": "<s>", "sep": "<s>"}
    roles = loaded.with_all_roles().roles
    assert roles["sep"] == "<s>" and len(set(roles.values())) == 5


@pytest.mark.parametrize(
    ("generation", "config", "ends"),
    [
        ({"eos_token_id": [256, 258]}, {"eos_token_id": 257}, {256, 258}),
        ({"temperature": 0.6}, {"eos_token_id": [258]}, {258}),
        (None, {"eos_token_id": 257}, {257}),
        (None, {"eos_token_id": None}, {257}),  # the tokenizer's
        (None, None, {257}),
    ],
    ids=str,
)
def test_what_ends_a_text_is_what_the_models_files_name(generation, config, ends, tmp_path) -> None:
    byte_level("<a>", "<b>", "<c>").save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<b>"}))
    for name, values in (("generation_config.json", generation), ("config.json", config)):
        if values is not None:
            (tmp_path / name).write_text(json.dumps(values))
    vocabulary = Tokenizer.load(tmp_path).vocabulary
    assert (vocabulary.ends, vocabulary.sep) == (ends, 257)


def test_an_end_that_is_no_number_is_named(tmp_path) -> None:
    byte_level("<a>").save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "config.json").write_text(json.dumps({"eos_token_id": "<a>"}))
    with pytest.raises(DataError, match=r"config.json: eos_token_id: expected the number of a token, .* got '<a>'"):
        Tokenizer.load(tmp_path)


def test_names_of_special_tokens_are_read_where_a_template_wrote_them(tmp_path) -> None:
    byte_level("<a>", "<b>").save(str(tmp_path / "tokenizer.json"))
    tokenizer = Tokenizer.load(tmp_path)
    assert tokenizer.encode_named("<a>x<b>") == [256, *tokenizer.encode("x"), 257]
    assert 256 not in tokenizer.encode("<a>x<b>")


def test_a_vocabulary_file_is_berts(tmp_path) -> None:
    tokens = ["[PAD]", "[unused1]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "dog", "##s", "世", ",", "e", "##é"]
    (tmp_path / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    tokenizer = Tokenizer.load(tmp_path)
    assert tokenizer.tokens(tokenizer.encode("The DOGS, 世")) == ["the", "dog", "##s", ",", "世"]
    assert tokenizer.vocabulary.reserved == {1}


def test_a_file_that_is_no_vocabulary_is_named(tmp_path) -> None:
    (tmp_path / "notes.txt").write_text("a\nb\na\n")
    with pytest.raises(DataError, match=r"notes.txt: expected one WordPiece a line"):
        Tokenizer.load(tmp_path / "notes.txt")


def test_published_vocabularies_load(shared_data) -> None:
    folder = shared_data / "models" / "tokenizers"
    english = Tokenizer.load(folder / "bert_base_uncased_vocab.txt")
    assert english.vocabulary.size == 30522
    assert english.tokens(english.encode("Unbelievable dogs")) == ["unbelievable", "dogs"]
    chinese = Tokenizer.load(folder / "bert_base_chinese_vocab.txt")
    assert chinese.tokens(chinese.encode("语言模型")) == list("语言模型")


@pytest.mark.parametrize("template", ["encoder", "decoder"])
@pytest.mark.parametrize("kind", ["bpe", "wordpiece"])
def test_transformers_reads_what_we_save(request: pytest.FixtureRequest, kind: str, template, tmp_path) -> None:
    transformers = pytest.importorskip("transformers", reason="needs the extra bothways[hf]")
    tokenizer: Tokenizer = request.getfixturevalue(kind)
    tokenizer.save(tmp_path, template=template, length=128)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    text = "The dog's [MASK] 世界 wasn't"
    ours = [2, *tokenizer.encode_marked(text)] + [3] * (template == "encoder")
    assert theirs(text)["input_ids"] == ours
    assert set(theirs(text)) == {"input_ids", "attention_mask"}
    assert theirs.decode(ours, skip_special_tokens=True) == theirs.decode(
        tokenizer.encode_marked(text), skip_special_tokens=True
    )
    assert (theirs.mask_token_id, theirs.pad_token_id, theirs.cls_token_id, theirs.sep_token_id) == (4, 0, 2, 3)
    assert (theirs.bos_token_id, theirs.eos_token_id, theirs.model_max_length) == (2, 3, 128)
    one, two = tokenizer.encode("a dog"), tokenizer.encode("a fox")
    pair = [2, *one, 3, *two, 3] if template == "encoder" else [2, *one, *two]
    assert theirs("a dog", "a fox")["input_ids"] == pair
