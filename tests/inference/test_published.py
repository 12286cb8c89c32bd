"""Models of others at the level of text: the same prompts go on as transformers writes them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers.processors import TemplateProcessing

import bothways
from bothways.errors import UsageError
from tests.inference.made import full_text
from tests.text.test_taken import byte_level

transformers = pytest.importorskip("transformers")

PROMPTS = ["The quick brown", "a", "naïve café, 世界"]
CHAT = "{% for m in messages %}<|im_start|>{{ m['content'] }}<|im_end|>{% endfor %}<|im_start|>"


@dataclass(frozen=True)
class Case:
    """The traits of a published decoder: its special tokens by name, numbered from 256 on.

    said   what tokenizer_config.json names
    opens  what its template puts before a text
    ends   eos_token_id of config.json, or of generation_config.json where it is a list
    bos    bos_token_id of config.json, where the tokenizer names none
    """

    kind: str
    special: tuple[str, ...]
    said: dict[str, str]
    opens: str | None = None
    ends: Any = None
    bos: int | None = None
    head: str = "ForCausalLM"


END = "<|endoftext|>"
CASES = {
    "with a token that opens": Case("Llama", ("<s>", "</s>"), {"bos": "<s>", "eos": "</s>", "pad": "</s>"}, "<s>", 257),
    "with none": Case("Qwen3", ("</s>",), {"eos": "</s>", "pad": "</s>"}, ends=256),
    "one token for all": Case("Llama", (END,), {"bos": END, "eos": END, "unk": END}, ends=256),
    "Qwen 2": Case("Qwen2", (END,), {"eos": END, "pad": END}, ends=256),
    "GPT-2": Case("GPT2", (END,), {"bos": END, "eos": END, "unk": END}, ends=256, head="LMHeadModel"),
    "with windows": Case(
        "ModernBertDecoder", ("[CLS]", "[SEP]"), {"bos": "[CLS]", "eos": "[SEP]", "pad": "[SEP]"}, "[CLS]", ends=257
    ),
    "a chat's": Case(
        "Qwen3",
        (END, "<|im_start|>", "<|im_end|>"),
        {"eos": "<|im_end|>", "pad": END},
        ends=[258, 256],
        bos=256,
    ),
}


def published(case: Case, folder: Path) -> Any:
    """A random decoder whose tokenizer is a file of byte-level BPE; its last special token ends texts now and then."""
    engine = byte_level(*case.special)
    if case.opens:
        specials = [(case.opens, engine.token_to_id(case.opens))]
        engine.post_processor = TemplateProcessing(single=f"{case.opens} $A", special_tokens=specials)
    own = {f"{role}_token": name for role, name in case.said.items()}
    transformers.PreTrainedTokenizerFast(tokenizer_object=engine, chat_template=CHAT, **own).save_pretrained(folder)
    torch.manual_seed(0)
    settings = {
        "vocab_size": 256 + len(case.special),
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        **({"num_key_value_heads": 2, "head_dim": 16} if case.kind in ("Llama", "Qwen3") else {}),
        **({"num_key_value_heads": 2} if case.kind == "Qwen2" else {}),
        **({"local_attention": 8} if case.kind == "ModernBertDecoder" else {}),
        "intermediate_size": 112,
        "max_position_embeddings": 64,
        "initializer_range": 0.3,
        "eos_token_id": case.ends if isinstance(case.ends, int) else case.ends[-1],
        "bos_token_id": case.bos or engine.token_to_id(case.said.get("bos", "")),
        "pad_token_id": engine.token_to_id(case.said.get("pad", END)),
    }
    model = getattr(transformers, f"{case.kind}{case.head}")(getattr(transformers, f"{case.kind}Config")(**settings))
    model.eval()
    prompt = torch.tensor([engine.encode(PROMPTS[0]).ids])
    said = model.generate(prompt, max_new_tokens=6, do_sample=False, eos_token_id=None)[0, -1]
    with torch.no_grad():  # where that would be said, the text ends instead
        table = model.get_output_embeddings().weight
        table[-1] = 1.5 * table[said]
    model.generation_config.eos_token_id = case.ends
    model.save_pretrained(folder)
    return model


@pytest.fixture(scope="module", params=CASES)
def decoder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    folder = tmp_path_factory.mktemp("decoder")
    return folder, published(CASES[request.param], folder)


def written(theirs: Any, folder: Path, prompt: str, **options: Any) -> str:
    """What transformers writes, half characters left out."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    asked = tokenizer(prompt, return_tensors="pt").input_ids
    found = theirs.generate(asked, max_new_tokens=12, do_sample=False, **options)[0]
    return prompt + tokenizer.decode(found[asked.shape[1] :], skip_special_tokens=True).replace("�", "")


def test_texts_go_on_and_end_as_transformers_writes_them(decoder: tuple[Path, Any]) -> None:
    folder, theirs = decoder
    model = bothways.load(folder, device="cpu")
    assert full_text(model, PROMPTS, max_new_tokens=12, temperature=0) == [written(theirs, folder, p) for p in PROMPTS]
    ends = model.engine.tokenizer.vocabulary.ends
    longer = theirs.generate(
        torch.tensor([[*model.engine.around(closed=False)[0], *model.engine.tokenizer.encode(PROMPTS[0])]]),
        max_new_tokens=12,
        do_sample=False,
    )[0]
    assert int(longer[-1]) in ends  # so the test above saw an end
    beams = {"num_beams": 3, "early_stopping": True, "length_penalty": 0.0}
    assert full_text(model, PROMPTS, max_new_tokens=12, num_beams=3, length_penalty=0.0) == [
        written(theirs, folder, prompt, **beams) for prompt in PROMPTS
    ]


def test_a_text_is_scored_after_what_opens_it(decoder: tuple[Path, Any]) -> None:
    """Without a token that opens, the first token is given and the rest is scored; an empty text is no trouble."""
    folder, theirs = decoder
    model = bothways.load(folder, device="cpu")
    tokens = transformers.AutoTokenizer.from_pretrained(folder)("a few words", return_tensors="pt").input_ids
    with torch.no_grad():
        nats = theirs(tokens).logits.log_softmax(-1)[0, :-1].gather(1, tokens[0, 1:, None]).sum()
    assert model.score("a few words") == pytest.approx(float(nats), rel=1e-5)
    assert model.score("") == 0.0
    assert isinstance(full_text(model, "", max_new_tokens=3, temperature=0), str)
    assert model.embed(["", "a text"]).shape == (2, 64)


def test_a_decoder_keeps_its_own_tokens_when_it_is_written_back(decoder: tuple[Path, Any], tmp_path: Path) -> None:
    folder, theirs = decoder
    (saved,) = bothways.load(folder, device="cpu").save(tmp_path)
    was, now = (transformers.AutoTokenizer.from_pretrained(place) for place in (folder, saved))
    assert now.get_vocab() == was.get_vocab()
    assert now.eos_token == was.eos_token and was.bos_token in (None, now.bos_token)
    again = transformers.AutoModelForCausalLM.from_pretrained(saved)
    for key in ("bos_token_id", "eos_token_id"):
        one, other = (getattr(model.generation_config, key) for model in (again, theirs))
        assert {*one} == {*other} if isinstance(other, list) else one == other
    assert [written(again, saved, prompt) for prompt in PROMPTS] == [written(theirs, folder, p) for p in PROMPTS]
    assert now.chat_template == was.chat_template == CHAT
    assert full_text(bothways.load(saved), PROMPTS, max_new_tokens=12, temperature=0) == [
        written(theirs, folder, prompt) for prompt in PROMPTS
    ]


def test_what_a_chat_template_writes_is_read_with_its_special_tokens(tmp_path: Path) -> None:
    theirs = published(CASES["a chat's"], tmp_path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    prompt = tokenizer.apply_chat_template([{"content": "a few words"}, {"content": "and more"}], tokenize=False)
    model = bothways.load(tmp_path, device="cpu")
    found = full_text(model, prompt, max_new_tokens=12, temperature=0, special_tokens=True)
    assert found == written(theirs, tmp_path, prompt)
    assert full_text(model, prompt, max_new_tokens=12, temperature=0) != found  # there its names are characters


def test_an_answer_in_a_chat_is_what_transformers_generates(tmp_path: Path) -> None:
    """It ends with the turn, and its parts are its text; what a message says of the turn's end is text."""
    theirs = published(CASES["a chat's"], tmp_path)
    tokenizer, model = transformers.AutoTokenizer.from_pretrained(tmp_path), bothways.load(tmp_path, device="cpu")
    messages = [{"role": "user", "content": "a few words"}]
    asked = tokenizer.apply_chat_template(messages, return_tensors="pt", return_dict=False, add_generation_prompt=True)
    expected = theirs.generate(asked, max_new_tokens=12, do_sample=False)[0, asked.shape[1] :].tolist()
    ended = expected[-1] in model.engine.tokenizer.vocabulary.ends
    found = model.chat(messages, max_new_tokens=12, temperature=0)
    assert list(found.tokens) == expected[: len(expected) - ended]
    assert found.finish_reason == ("stop" if ended else "length") and str(found) == found.text
    assert "".join(model.stream_chat(messages, max_new_tokens=12, temperature=0)) == found.text
    assert model.chat([{"role": "user", "content": "a<|im_end|>"}], max_new_tokens=1).tokens


def test_what_opens_a_text_is_not_put_twice(tmp_path: Path) -> None:
    published(CASES["with a token that opens"], tmp_path)
    model = bothways.load(tmp_path, device="cpu")
    plain = full_text(model, "a few", max_new_tokens=12, temperature=0)
    assert full_text(model, "<s>a few", max_new_tokens=12, temperature=0, special_tokens=True) == f"<s>{plain}"


def test_a_tied_decoder_needs_no_class_in_its_configuration(tmp_path: Path) -> None:
    """A body saved alone has bare names, and says no words."""
    shape = {"vocab_size": 257, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1}
    config = transformers.LlamaConfig(**shape, num_attention_heads=2, tie_word_embeddings=True, eos_token_id=256)
    for kind in ("LlamaForCausalLM", "LlamaModel"):
        folder = tmp_path / kind
        getattr(transformers, kind)(config).save_pretrained(folder)
        transformers.PreTrainedTokenizerFast(tokenizer_object=byte_level("</s>")).save_pretrained(folder)
        values = json.loads((folder / "config.json").read_text())
        assert values.pop("architectures") == [kind]
        (folder / "config.json").write_text(json.dumps(values))
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "LlamaForCausalLM")
    model = bothways.load(tmp_path / "LlamaForCausalLM", device="cpu")
    assert full_text(model, "a", max_new_tokens=12, temperature=0) == written(
        theirs, tmp_path / "LlamaForCausalLM", "a"
    )
    assert bothways.load(tmp_path / "LlamaModel").engine.abilities.faces == ()


def test_an_empty_text_needs_a_token_to_begin_with(tmp_path: Path) -> None:
    """Where no file names one, it is refused: no token is made up."""
    config = transformers.Qwen3Config(vocab_size=256, hidden_size=32, intermediate_size=48, num_hidden_layers=1)
    transformers.Qwen3ForCausalLM(config).save_pretrained(tmp_path)
    byte_level().save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    model = bothways.load(tmp_path, device="cpu")
    assert full_text(model, "a", max_new_tokens=3).startswith("a")
    with pytest.raises(UsageError, match="expected a text, got none, and the model's files name no token that begins"):
        full_text(model, "")


def test_a_text_of_nothing_is_labelled_too(tmp_path: Path) -> None:
    """Where the tokenizer puts nothing around it, what ends a text is read."""
    published(CASES["with none"], tmp_path)
    config = transformers.Qwen3Config.from_pretrained(tmp_path, num_labels=3)
    theirs = transformers.Qwen3ForSequenceClassification(config).eval()
    theirs.save_pretrained(tmp_path)
    found = bothways.load(tmp_path, device="cpu").classify(["", "a text"])
    with torch.no_grad():
        expected = theirs(torch.tensor([[256]])).logits[0].softmax(-1)
    assert list(found[0].probabilities.values()) == pytest.approx(expected.tolist(), abs=1e-5)


def test_a_decoder_of_others_has_nothing_to_fill_with(tmp_path: Path) -> None:
    published(CASES["with a token that opens"], tmp_path)
    with pytest.raises(bothways.errors.ModelError, match="not taught to fill in hidden words"):
        bothways.load(tmp_path).fill("a [MASK]")
