"""What stands around one text and two: as transformers puts it, whatever the tokenizer's template."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer as Engine
from tokenizers import processors

from bothways.text import Tokenizer
from tests.text.test_taken import byte_level

transformers = pytest.importorskip("transformers")


def bert() -> Engine:
    engine = byte_level("[CLS]", "[SEP]")
    pair = "[CLS] $A [SEP] $B:1 [SEP]:1"
    engine.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair=pair, special_tokens=[("[CLS]", 256), ("[SEP]", 257)]
    )
    return engine


def roberta() -> Engine:
    engine = byte_level("<s>", "</s>")
    engine.post_processor = processors.RobertaProcessing(("</s>", 257), ("<s>", 256))
    return engine


def llama() -> Engine:
    engine = byte_level("<s>", "</s>")
    template = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", 256)])
    engine.post_processor = processors.Sequence([processors.ByteLevel(), template])
    return engine


def qwen() -> Engine:
    engine = byte_level("<|endoftext|>")
    engine.post_processor = processors.ByteLevel(trim_offsets=False)
    return engine


def bare() -> Engine:
    """No template: nothing is put around a text, whatever its special tokens are called."""
    return byte_level("[CLS]", "[SEP]")


@pytest.mark.parametrize("kind", [bert, roberta, llama, qwen, bare])
def test_one_text_and_two_as_transformers_frames_them(kind, tmp_path: Path) -> None:
    """And says which text of the two a token is of, where the model is to know it."""
    names = ["input_ids", *(["token_type_ids"] if kind is bert else []), "attention_mask"]
    transformers.PreTrainedTokenizerFast(tokenizer_object=kind(), model_input_names=names).save_pretrained(
        tmp_path / "theirs"
    )
    tokenizer = Tokenizer.load(tmp_path / "theirs")
    tokenizer.save(tmp_path / "ours", template="own", segments=True)
    for folder in ("theirs", "ours"):
        theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / folder)
        for texts in (["a b"], ["naïve", "café au lait"]):
            expected = theirs(*texts)
            own = [np.array(tokenizer.encode(text)) for text in texts]
            tokens, segments, begins = tokenizer.frame.around(*own)
            assert tokens.tolist() == expected["input_ids"]
            assert segments.tolist() == expected.get("token_type_ids", [0] * len(tokens))
            assert all((tokens[at : at + len(text)] == text).all() for at, text in zip(begins, own, strict=True))
            assert tokenizer.frame.room(20, len(texts)) == 20 - len(tokens) + sum(map(len, own))


@pytest.mark.parametrize("puts", [True, False])
def test_the_template_outdoes_what_the_configuration_asks_for(puts: bool, tmp_path: Path) -> None:
    """As in transformers: add_bos_token beside a tokenizer.json changes nothing."""
    own = transformers.PreTrainedTokenizerFast(tokenizer_object=llama() if puts else bare(), bos_token="<s>")
    own.save_pretrained(tmp_path)
    beside = tmp_path / "tokenizer_config.json"
    beside.write_text(json.dumps({**json.loads(beside.read_text()), "add_bos_token": not puts, "add_eos_token": True}))
    tokenizer, theirs = Tokenizer.load(tmp_path), transformers.AutoTokenizer.from_pretrained(tmp_path)
    tokens, _, _ = tokenizer.frame.around(np.array(tokenizer.encode("a b")))
    assert tokens.tolist() == theirs("a b")["input_ids"]
    assert (tokens[0] == 256) == puts
