"""Models of others at the level of text: the same prompts go on as transformers writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers.processors import TemplateProcessing

import bothways
from tests.text.test_taken import byte_level

transformers = pytest.importorskip("transformers")

PROMPTS = ["The quick brown", "a", "naïve café, 世界"]


def published(folder: Path, kind: str, *, opens: bool) -> Any:
    """A random decoder whose tokenizer is a file of byte-level BPE, with <s> before a text or nothing."""
    names = ["<s>", "</s>"] if opens else ["</s>"]
    engine = byte_level(*names)
    if opens:
        engine.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", engine.token_to_id("<s>"))])
    said = {"eos_token": "</s>", "pad_token": "</s>", **({"bos_token": "<s>"} if opens else {})}
    transformers.PreTrainedTokenizerFast(tokenizer_object=engine, **said).save_pretrained(folder)
    torch.manual_seed(0)
    settings = {
        "vocab_size": 256 + len(names),
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "intermediate_size": 112,
        "max_position_embeddings": 64,
        "initializer_range": 0.3,
        "eos_token_id": engine.token_to_id("</s>"),
        "bos_token_id": engine.token_to_id("<s>"),
        "pad_token_id": engine.token_to_id("</s>"),
    }
    model = getattr(transformers, f"{kind}ForCausalLM")(getattr(transformers, f"{kind}Config")(**settings)).eval()
    model.save_pretrained(folder)
    return model


@pytest.mark.parametrize(("kind", "opens"), [("Llama", True), ("Qwen3", False)])
def test_texts_go_on_as_transformers_writes_them(kind: str, opens: bool, tmp_path: Path) -> None:
    theirs = published(tmp_path, kind, opens=opens)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    model = bothways.load(tmp_path, device="cpu")
    written = model.extend(PROMPTS, max_new_tokens=12, temperature=0)
    for prompt, text in zip(PROMPTS, written, strict=True):
        asked = tokenizer(prompt, return_tensors="pt").input_ids
        assert asked[0].tolist() == [*model.reader.tokenizer.opening(asked), *model.reader.tokenizer.encode(prompt)]
        found = theirs.generate(asked, max_new_tokens=12, do_sample=False)[0]
        end = tokenizer.decode(found[asked.shape[1] :], skip_special_tokens=True).replace("�", "")  # half characters
        assert text == prompt + end


def test_a_text_is_scored_after_what_opens_it(tmp_path: Path) -> None:
    """Without a piece that opens, the first piece is given and the rest is scored; an empty text is no trouble."""
    theirs = published(tmp_path, "Qwen3", opens=False)
    model = bothways.load(tmp_path, device="cpu")
    pieces = torch.tensor([model.reader.tokenizer.encode("a few words")])
    with torch.no_grad():
        nats = theirs(pieces).logits.log_softmax(-1)[0, :-1].gather(1, pieces[0, 1:, None]).sum()
    assert model.score("a few words") == pytest.approx(float(nats), rel=1e-5)
    assert model.score("") == 0.0
    assert isinstance(model.extend("", max_new_tokens=3, temperature=0), str)
    assert model.embed(["", "a text"]).shape == (2, 64)


def test_a_decoder_of_others_has_nothing_to_fill_with(tmp_path: Path) -> None:
    published(tmp_path, "Llama", opens=True)
    with pytest.raises(bothways.errors.ModelError, match="not taught to fill in hidden words"):
        bothways.load(tmp_path).fill("a [MASK]")
