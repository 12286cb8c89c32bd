"""Folders of others at the level of text: their tokens are those of transformers' AutoTokenizer, field by field."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bothways.errors import DataError
from bothways.text import Tokenizer
from tests.text.folders import FOLDERS, TEXTS, transformers, write

EXEMPT = {
    "split_special_tokens": "a text is never read as a special token here, except [MASK] where it is to be filled",
    "clean_up_tokenization_spaces": "says how tokens become text; it is written back as false",
    "errors": "says how bytes that are no character become text",
    "padding_side": "rows are padded here where nobody sees it; written back, the side is transformers' default",
    "truncation_side": "a text is read in parts, cut with a warning, or refused here, by the rule of its task",
    "trim_offsets": "says where a token begins in the text, white space before it counted or not",
}
"""{field of tokenizer_config.json that is not walked: why}. What changes nothing in transformers is walked too."""
ROLES = {
    "pad": ("pad_token",),
    "unk": ("unk_token",),
    "cls": ("cls_token", "bos_token"),
    "sep": ("sep_token", "eos_token"),
    "mask": ("mask_token",),
}


def agree(theirs: Any, ours: Tokenizer) -> None:
    """Tokens of one text and of pairs, their segments, the special tokens, and how much is read at most.

    A text is never read as a special token here, which transformers does when it is told so.
    """
    tokens = [np.array(ours.encode(text), dtype=np.int32) for text in TEXTS]
    for text, own in zip(TEXTS, tokens, strict=True):
        assert own.tolist() == theirs(text, add_special_tokens=False, split_special_tokens=True)["input_ids"], text
        assert ours.encode_flat([text])[0].tolist() == own.tolist()
        assert ours.frame.around(own)[0].tolist() == theirs(text, split_special_tokens=True)["input_ids"]
    pair = theirs(TEXTS[0], TEXTS[1], split_special_tokens=True)
    found, segments, _ = ours.frame.around(*tokens[:2])
    assert found.tolist() == pair["input_ids"]
    assert segments.tolist() == pair.get("token_type_ids", [0] * len(found))
    assert (ours.length or int(1e30)) == theirs.model_max_length
    taken: dict[str, str] = {}
    for role in ("sep", "cls", "mask", "unk", "pad"):
        named = [getattr(theirs, key) for key in ROLES[role]]
        if free := [name for name in named if name and (role == "cls" or name not in taken.values())]:
            taken[role] = free[0]
            assert free[0] in (ours.roles.values() if role == "pad" else [ours.roles[role]])  # see roles.give_roles


def load(folder: Path) -> Any:
    return transformers.AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("kind", FOLDERS)
def test_a_folder_as_it_is_and_written_back(kind: str, tmp_path: Path) -> None:
    FOLDERS[kind](tmp_path)
    first = Tokenizer.load(tmp_path)
    agree(load(tmp_path), first)
    first.save(tmp_path / "ours", template="own", segments=True)
    write(tmp_path / "ours", "config.json", json.loads((tmp_path / "config.json").read_text()))
    again = Tokenizer.load(tmp_path / "ours")
    agree(load(tmp_path / "ours"), again)
    assert all(again.encode(text) == first.encode(text) for text in TEXTS)
    assert (again.frame, again.vocabulary, again.roles) == (first.frame, first.vocabulary, first.roles)


def test_an_added_token_stands_for_its_own_text(tmp_path: Path) -> None:
    """Those of a byte-level tokenizer are not spelt in its bytes: a run of spaces is no letter of its alphabet."""
    FOLDERS["modernbert"](tmp_path)
    own = Tokenizer.load(tmp_path)
    tokens = own.encode("the    dog  世界é")
    assert [own.text_of(token) for token in tokens] == [*"the", "    ", *"dog", "  ", "世界", "é"]
    assert np.flatnonzero(own.word_starts(tokens)).tolist() == [0, 3, 4, 7, 8, 9]
    assert own.text_of(own.vocabulary.mask) == "[MASK]"


@pytest.mark.parametrize("rstrip", [False, True])
@pytest.mark.parametrize("lstrip", [False, True])
@pytest.mark.parametrize("kind", ["electra", "roberta", "xlm_roberta", "eurobert"])
def test_a_mask_takes_the_white_space_that_its_tokenizer_gives_it(
    kind: str, lstrip: bool, rstrip: bool, tmp_path: Path
) -> None:
    FOLDERS[kind](tmp_path)
    spec = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    for token in spec["added_tokens"]:
        if "mask" in token["content"].lower():
            token |= {"lstrip": lstrip, "rstrip": rstrip}
    write(tmp_path, "tokenizer.json", spec)
    theirs, ours = load(tmp_path), Tokenizer.load(tmp_path)
    for text in ("the dog [MASK] xx", "[MASK] the", "dog[MASK]  [MASK]\tdog  [MASK]", "dog", "[MASK]"):
        named = text.replace("[MASK]", theirs.mask_token)
        expected = theirs(named, add_special_tokens=False)["input_ids"]
        assert ours.encode_marked(text) == ours.encode_marked(named) == expected
    before, behind = ours.around_masks("the dog [MASK] xx")
    assert before == ("the dog" if lstrip or kind == "electra" else "the dog ")
    assert behind == ("xx" if rstrip else " xx")


def fields_of(kind: type) -> list[str]:
    """What its class and those it stands on take by name, or look for among what else they are given."""
    found = {
        "auto_map",
        "tokenizer_class",
        "added_tokens_decoder",
        "additional_special_tokens",
        "image_token",
        "max_len",
    }
    legacy = transformers.models.bert.tokenization_bert_legacy.BertTokenizerLegacy
    for base in (*kind.__mro__, legacy):
        if base.__module__.startswith("transformers.") and "__init__" in vars(base):
            found |= {*inspect.signature(base.__init__).parameters} - {"self", "args", "kwargs"}
            made = [getattr(base, name) for name in ("__init__", "_from_pretrained") if name in vars(base)]
            source = "".join(map(inspect.getsource, made))
            found |= {*re.findall(r'kwargs(?:\.(?:pop|get|setdefault)\(|\[)"(\w+)"', source)}
            found |= {*re.findall(r'"(\w+)" (?:not )?in (?:init_)?kwargs', source)}
            found |= {*getattr(base, "SPECIAL_TOKENS_ATTRIBUTES", ())}
    return sorted(found - {*EXEMPT})


def values_of(field: str) -> list[Any]:
    """What it may be instead; transformers itself refuses those of a wrong type."""
    tokens = ["dog", "<new>", {"__type": "AddedToken", "content": "xx", "lstrip": True}, None]
    if field.endswith("_token"):
        return [*tokens, *((True, False) if field.startswith("add_") else ())]
    more = {
        "extra_special_tokens": [["<new>", "xx"], {"extra_token": "xx"}],
        "model_specific_special_tokens": [{"extra_token": "xx"}],
        "added_tokens_decoder": [{"259": {"content": "xx", "rstrip": True}, "7": {"content": "dog", "special": True}}],
        "additional_special_tokens": [["<new>", "xx"]],
        "tokenizer_class": ["PreTrainedTokenizerFast", "BertTokenizerFast", "GPT2Tokenizer", "T5Tokenizer", None],
        "model_input_names": [["input_ids"], ["input_ids", "token_type_ids", "attention_mask"]],
        "model_max_length": [7, None],
        "max_len": [7],
        "auto_map": [{"AutoTokenizer": [None, "code.Own"]}],
    }
    return more.get(field, [True, False, None, "dog", ["dog"]])


@pytest.mark.parametrize("kind", FOLDERS)
def test_every_field_counts_as_it_does_in_transformers_or_is_refused_by_name(kind: str, tmp_path: Path) -> None:
    FOLDERS[kind](tmp_path)
    said = json.loads((tmp_path / "tokenizer_config.json").read_text(encoding="utf-8"))
    own, wrong = type(load(tmp_path)), []
    for field in fields_of(own):
        outcomes = []
        for value in values_of(field):
            write(tmp_path, "tokenizer_config.json", {**said, field: value})
            outcomes.append(outcome(tmp_path, field, load if field in CLASS else own.from_pretrained))
        wrong += [(field, values_of(field), outcomes)] if not {*outcomes} <= {"equal", "refused", "wrong type"} else []
        wrong += [(field, "untried")] if {*outcomes} == {"wrong type"} else []
    assert not wrong


CLASS = ("tokenizer_class", "auto_map")


def outcome(folder: Path, field: str, theirs: Callable[[Path], Any]) -> str:
    try:
        expected = theirs(folder)
        expected(TEXTS[0])
    except Exception:  # noqa: BLE001 - transformers has a kind of its own for every wrong type
        return "refused" if _refusal(folder, field) else "wrong type"
    if _refusal(folder, field):
        return "refused"
    try:
        agree(expected, Tokenizer.load(folder))
    except AssertionError as error:
        return f"other: {str(error)[:200]}"
    return "equal"


def _refusal(folder: Path, field: str) -> bool:
    try:
        Tokenizer.load(folder)
    except DataError as error:
        return field in str(error)
    return False


@pytest.mark.parametrize(("kind", "named"), [("qwen2", "LlamaTokenizerFast"), ("modernbert", "GemmaTokenizerFast")])
def test_a_class_that_transformers_takes_to_be_wrong(kind: str, named: str, tmp_path: Path) -> None:
    """Files of the hub name other classes for these models; their model_type decides."""
    FOLDERS[kind](tmp_path)
    path = tmp_path / "tokenizer_config.json"
    write(tmp_path, path.name, {**json.loads(path.read_text(encoding="utf-8")), "tokenizer_class": named})
    agree(load(tmp_path), Tokenizer.load(tmp_path))
