"""A GGUF file gives the logits of the model that it was made of, and what is wrong with one is said in a line."""

from __future__ import annotations

import builtins
import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch

import bothways
from bothways.errors import BothwaysError, MachineError, ModelError
from bothways.gguf import read_gguf
from bothways.model import from_hugging_face, read_abilities
from bothways.model.huggingface.gguf import halves, tensors_of, values_of
from bothways.text.gguf import PRE_TOKENIZERS
from tests import gguf_files
from tests.gguf_files import byte_level, model_fields, random_model, tokenizer_fields, write
from tests.model.small import packed

transformers = pytest.importorskip("transformers")

TEXTS = ["The harbour has 3 bridges and 1984 boats.", "Bread is made of flour, water and 2 hours of time."] * 3
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 32.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
KINDS: dict[str, dict[str, Any]] = {
    "llama": {},
    "llama-untied": {"tie_word_embeddings": False, "rms_norm_eps": 1e-5},
    "llama-3.2": {"rope_parameters": LLAMA3},
    "llama-linear": {"rope_parameters": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}},
    "llama-wide-heads": {"head_dim": 32},
    "qwen2": {},
    "qwen3": {"head_dim": 32, "tie_word_embeddings": False},
}


def made(path: Path, kind: str = "llama", *, quantised: Any = None, **changes: Any) -> tuple[Path, Any]:
    """A file, and the model that it was made of; `changes` to its metadata, None takes one out."""
    fields = tokenizer_fields(byte_level(TEXTS, PRE_TOKENIZERS["smollm"], size=300), pre="smollm")
    vocabulary = len(fields["tokenizer.ggml.tokens"])
    model = random_model(kind.partition("-")[0], vocabulary, **KINDS[kind])
    tensors = gguf_files.tensors_of(model)
    rope = model.config.rope_parameters
    fields = {**model_fields(model), **fields}
    if rope["rope_type"] == "linear":
        fields |= {"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": rope["factor"]}
    if rope["rope_type"] == "llama3":
        tensors["rope_freqs.weight"] = divisors(rope, model.config.head_dim)
    fields = {name: value for name, value in {**fields, **changes}.items() if value is not None}
    return write(path, fields, tensors, kind=quantised), model


def divisors(rope: dict[str, Any], head: int) -> np.ndarray:
    """Of the angles of Llama 3.1, one by one as its converter writes them."""
    found = []
    for place in range(0, head, 2):
        wave = 2 * math.pi * rope["rope_theta"] ** (place / head)
        length, factor = rope["original_max_position_embeddings"], rope["factor"]
        low, high = rope["low_freq_factor"], rope["high_freq_factor"]
        if wave < length / high:
            found.append(1.0)
        elif wave > length / low:
            found.append(factor)
        else:
            smooth = (length / wave - low) / (high - low)
            found.append(1 / ((1 - smooth) / factor + smooth))
    return np.array(found, dtype=np.float32)


@pytest.mark.parametrize("kind", KINDS)
def test_logits_are_those_of_the_model_that_it_was_made_of(kind: str, tmp_path: Path) -> None:
    path, source = made(tmp_path / "model.gguf", kind)
    tokens = torch.tensor([[5, 90, 201, 7, 33, 260, 1, 2, 44]])
    model = from_hugging_face(path).eval()
    with torch.no_grad():
        expected = source(tokens).logits
        layout = packed([9], causal=True)
        found = model.logits(model.backbone(tokens, layout, model.rule.dense(layout)))
    assert (found - expected).abs().max() <= 2e-5 * expected.abs().max()


def test_it_is_saved_as_a_folder_that_transformers_loads(tmp_path: Path) -> None:
    path, source = made(tmp_path / "model.gguf", "llama-3.2")
    model = bothways.load(path)
    (folder,) = model.save(tmp_path / "saved")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer, text = transformers.AutoTokenizer.from_pretrained(folder), "The 1984 boats of the harbour"
    ids = torch.tensor([model.tokenizer.encode(text)])
    assert tokenizer(text)["input_ids"] == ids[0].tolist()
    with torch.no_grad():
        expected = source(ids).logits
        assert (theirs(ids).logits - expected).abs().max() <= 2e-5 * expected.abs().max()
    talk = [{"role": "user", "content": "Why?"}]
    again = bothways.load(folder)
    assert again.chat(talk, temperature=0, max_new_tokens=8) == model.chat(talk, temperature=0, max_new_tokens=8)
    assert again.tokenizer.vocabulary.ends == model.tokenizer.vocabulary.ends == {2}


@pytest.mark.parametrize("kind", [gguf.GGMLQuantizationType.Q4_1, gguf.GGMLQuantizationType.Q8_0], ids=str)
def test_quantised_blocks_become_the_numbers_that_they_stand_for(kind: Any, tmp_path: Path) -> None:
    path, source = made(tmp_path / "model.gguf", "qwen2", quantised=kind)
    file = read_gguf(path)
    up = tensors_of(file, values_of(file))["model.layers.1.mlp.up_proj.weight"]
    whole = source.state_dict()["model.layers.1.mlp.up_proj.weight"].numpy()
    expected = gguf.dequantize(gguf.quantize(whole, kind), kind)
    assert np.array_equal(up.numpy(), expected) and 0 < np.abs(expected - whole).max() < 0.1


def test_rows_of_a_head_are_laid_by_halves_again() -> None:
    rows = torch.arange(8.0)[:, None]  # two heads of four: by turns 0 2 1 3
    assert halves(rows, 2)[:, 0].tolist() == [0, 2, 1, 3, 4, 6, 5, 7]


def test_a_body_is_fine_tuned_from_it(tmp_path: Path) -> None:
    path, _ = made(tmp_path / "model.gguf")
    lines = "the boats left,a\nthe boats came,b\n" * 9
    for name in ("train.csv", "dev.csv"):
        (tmp_path / name).write_text(f"text,label\n{lines}")
    config = bothways.FinetuneConfig(
        model=str(path), train=tmp_path / "train.csv", dev=tmp_path / "dev.csv", out=tmp_path / "run", epochs=1
    )
    bothways.finetune(config)
    assert set(bothways.load(tmp_path / "run").classify("the boats left").probabilities) == {"a", "b"}
    assert read_abilities(path).faces == ("decoder",)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "architecture": ({"general.architecture": "gemma3"}, "gemma3; of GGUF files Bothways loads llama, qwen2, qwen3"),
    "a field that is not computed": ({"llama.attention.scale": 0.5}, "llama.attention.scale is '0.5', which is not"),
    "experts": ({"llama.expert_count": 8}, "llama.expert_count is '8', which is not implemented"),
    "longrope": ({"llama.rope.scaling.type": "longrope"}, "longrope'; Bothways loads none, linear and yarn"),
    "no width": ({"llama.embedding_length": None}, "expected llama.embedding_length in its metadata, got none"),
    "width that is a text": ({"llama.embedding_length": "64"}, "embedding_length: expected a whole number, got '64'"),
    "a width of its own": ({"llama.embedding_length": 2**31}, r"token_embd.weight of shape \[.*, 2147483648\]"),
    "no heads": ({"llama.attention.head_count": 0}, "expected sizes above 0"),
    "blocks without end": ({"llama.block_count": 2**32 - 1}, "expected blk.2.attn_q.weight .* got none"),
    "half a rotary": ({"llama.rope.dimension_count": 8}, "rope.dimension_count is 8; Bothways has 16"),
    "parts": ({"split.count": 3}, "one of 3 parts: join them with llama.cpp's llama-gguf-split"),
    "no rule": ({"tokenizer.ggml.pre": "default"}, "tokenizer.ggml.pre is 'default', .* knows gpt-2, smollm, qwen2"),
    "another tokenizer": ({"tokenizer.ggml.model": "bert"}, "tokenizer.ggml.model is 'bert'"),
    "an end that is not there": ({"tokenizer.ggml.eos_token_id": 10**6}, "eos_token_id is 1000000; expected one of"),
    "merges of nothing": ({"tokenizer.ggml.merges": ["qq zz"]}, "its tokenizer does not fit together"),
    "too few kinds": ({"tokenizer.ggml.token_type": [1, 1]}, "as many kinds, got 2"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_ours_is_refused_by_name(case: str, tmp_path: Path) -> None:
    changes, message = REFUSED[case]
    path, _ = made(tmp_path / "model.gguf", **changes)
    with pytest.raises(ModelError, match=message):
        bothways.load(path)


def test_divisors_of_angles_that_are_not_llamas_are_refused(tmp_path: Path) -> None:
    path, model = made(tmp_path / "model.gguf")
    fields = dict(read_gguf(path).metadata)
    tensors = gguf_files.tensors_of(model) | {"rope_freqs.weight": np.linspace(1, 9, 8, dtype=np.float32)}
    with pytest.raises(ModelError, match="rope_freqs.weight holds divisors of angles that are not those of Llama 3"):
        from_hugging_face(write(tmp_path / "other.gguf", fields, tensors))


DAMAGED: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda content: b"", "has 0 bytes"),
    "another kind": (lambda content: b"PK\3\4" + content, "begins with the letters GGUF"),
    "an old version": (lambda content: content[:4] + struct.pack("<I", 1) + content[8:], "of version 2 or 3"),
    "big-endian": (lambda content: content[:4] + struct.pack(">I", 3) + content[8:], "little-endian"),
    "cut in its header": (lambda content: content[:200], "the file ends within"),
    "cut in its tensors": (lambda content: content[:-100], "should end at byte"),
    "tensors without end": (lambda content: content[:8] + struct.pack("<Q", 2**60) + content[16:], "more than any"),
    "entries without end": (lambda content: content[:16] + struct.pack("<Q", 2**20) + content[24:], "."),
    "a text without end": (lambda content: content[:24] + struct.pack("<Q", 2**23) + content[32:], "ends within"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_file_is_refused_in_a_line(case: str, tmp_path: Path) -> None:
    change, message = DAMAGED[case]
    path, _ = made(tmp_path / "model.gguf")
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ModelError, match=message):
        bothways.load(path)


def test_whatever_byte_is_wrong_there_is_no_traceback(tmp_path: Path) -> None:
    """Bytes of the header changed at random: it loads, or one of our own errors says why not."""
    path, _ = made(tmp_path / "model.gguf")
    content, rng = path.read_bytes(), np.random.default_rng(0)
    places = rng.integers(0, 2500, 150)
    for place in places:
        changed = bytearray(content)
        changed[place] = int(rng.integers(256))
        path.write_bytes(bytes(changed))
        try:
            values_of(read_gguf(path))
        except BothwaysError as error:
            assert str(path) in str(error)


def test_two_tensors_in_one_place_are_refused(tmp_path: Path) -> None:
    """Else a small file could ask for any amount of memory."""
    path, _ = made(tmp_path / "model.gguf")
    content = path.read_bytes()
    name = b"blk.0.attn_norm.weight"
    at = content.index(name) + len(name) + 4 + 8 + 4  # axes, one of them, and the kind
    path.write_bytes(content[:at] + struct.pack("<Q", 0) + content[at + 8 :])
    with pytest.raises(ModelError, match="stands twice, or where another tensor stands"):
        read_gguf(path)


def test_a_file_that_is_not_there_is_not_looked_for_on_the_hub(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no such file"):
        bothways.load("model-of-mine.gguf")


def test_without_its_package_the_way_to_install_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, _ = made(tmp_path / "model.gguf")
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.partition(".")[0] == "gguf":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MachineError, match=r"pip install 'bothways\[gguf\]'"):
        read_gguf(path)


def test_an_adapter_is_taught_on_it_and_opens_on_it(tmp_path: Path) -> None:
    path, _ = made(tmp_path / "model.gguf")
    for name in ("train", "dev"):
        (tmp_path / f"{name}.jsonl").write_text('{"source": "the boats", "target": "came"}\n' * 12)
    config = bothways.FinetuneConfig(
        model=str(path),
        task="text2text",
        train=tmp_path / "train.jsonl",
        dev=tmp_path / "dev.jsonl",
        out=tmp_path / "run",
        epochs=1,
        length=32,
        adapter="lora(rank=2)",
        objective="causal",
    )
    bothways.finetune(config)
    beside = bothways.load(path, adapters={"boats": tmp_path / "run"}).with_adapter("boats")
    assert beside.generate("the boats").tokens == bothways.load(tmp_path / "run").generate("the boats").tokens
