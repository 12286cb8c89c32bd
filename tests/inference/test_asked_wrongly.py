"""A public call that is given something else than it takes says so in a plain sentence; objects show themselves."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import bothways
from bothways.corpus import Rows, Shards
from bothways.errors import BothwaysError, MachineError, UsageError
from bothways.inference import LanguageModel
from bothways.objectives import build
from bothways.text import Tokenizer
from bothways.word_vectors import WordVectors

NAN = float("nan")
METHODS = [
    name
    for name, method in inspect.getmembers(LanguageModel, inspect.isfunction)
    if not name.startswith("_") and name not in ("to", "merge", "with_adapter")  # those that take no texts
]


PAIR = [["a", "b"]]
BESIDE = {"answer": ["a"], "choose": PAIR, "predict": PAIR, "rerank": PAIR, "prompt": ["{text} [MASK]", "a=b,c=d"]}
"""What a method must be given beside its texts."""


@pytest.mark.parametrize("value", [None, NAN, 3, b"a text", {"text": "a"}], ids=repr)
@pytest.mark.parametrize("name", METHODS)
def test_nothing_that_is_no_text_is_taken(name: str, value: object, loaded: LanguageModel) -> None:
    method = getattr(loaded, name)
    with pytest.raises(BothwaysError, match="expected"):
        method(value, *BESIDE.get(name, []))
    with pytest.raises(UsageError, match=rf"unknown argument of {name} 'txets'.*Known: "):
        method("a", txets="b")
    with pytest.raises(UsageError, match=rf"{name}: missing a required argument"):
        method()


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda model: model.embed(["a", None]), "text 2: expected a text, got None. Leave it out, or write it"),
        (lambda model: model.embed(["a", NAN]), "text 2: expected a text, got nan, which is how tables write an"),
        (lambda model: model.generate("a", max_tokens=3), "of generate 'max_tokens'. Did you mean 'max_new_tokens'"),
        (lambda model: model.generate("a", temperature="hot"), "temperature: expected a number, got 'hot'"),
        (lambda model: model.generate("a", length_penalty=NAN), "length_penalty: expected a number, got nan"),
        (lambda model: model.generate("a", seed=-1), "seed is a whole number, 0 or more, got -1"),
        (lambda model: model.infill("a [GAP]", seed=-1), "seed is a whole number, 0 or more, got -1"),
        (lambda model: model.infill("a [GAP]", order=None), "unknown order None"),
        (lambda model: model.infill("a [GAP]", longest=2.5), r"longest: expected a whole number, got 2.5 \(float\)"),
        (lambda model: model.fill("a [MASK]", topk=3), "unknown argument of fill 'topk'. Did you mean 'top_k'"),
        (lambda model: model.fill("a [MASK]", top_k=None), "top_k: expected a whole number, got None"),
        (lambda model: model.score("a", how=None), "how: expected a text, got None"),
        (lambda model: model.answer("who", None), "context: expected a text, got None"),
        (lambda model: model.choose("who", ["a", 5]), r"choice 2: expected a text, got 5 \(int\)"),
        (lambda model: model.predict("classify", "a film"), "expected a list of what the task takes, .* got 'a film'"),
        (lambda model: model.predict("classify", {"a": "b"}), "expected a list of what the task takes, .* .'a': 'b'"),
        (lambda model: model.predict("classify", None), "expected a list of what the task takes, .* got None"),
        (lambda model: bothways.load(None), "model: expected a text or a path, got None"),
        (lambda model: bothways.load("x", device="gpu"), "device: expected 'cpu', 'cuda' or 'cuda:1', got 'gpu'"),
        (lambda model: bothways.load("x", dtype="bf16"), "dtype: expected a dtype, got 'bf16'"),
        (lambda model: bothways.load("x", dtype=torch.int64), "dtype: expected torch.float32, .* got torch.int64"),
        (lambda model: bothways.prepare(None, out="x"), "expected a source, or a list of them, got None"),
        (lambda model: bothways.prepare(["a", None], out="x"), "source 2: expected a text, got None"),
        (lambda model: bothways.prepare("a", to="x"), "unknown argument of prepare 'to'"),
        (lambda model: bothways.pretrain({"out": "x"}), "shards: expected a path, got .'out': 'x'"),
        (lambda model: Shards.open(None), "path: expected a text or a path, got None"),
        (lambda model: Tokenizer.load(3), r"path: expected a text or a path, got 3 \(int\)"),
        (lambda model: WordVectors(["a", None], np.zeros((2, 2))), "word 2: expected a text, got None"),
        (lambda model: WordVectors(["a"], [[1.0]]), "vectors: expected a ndarray, got"),
    ],
)  # fmt: skip
def test_the_sentence_says_what_was_expected(
    ask: Callable[[LanguageModel], object], message: str, loaded: LanguageModel
) -> None:
    with pytest.raises(UsageError, match=message):
        ask(loaded)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
@pytest.mark.parametrize("device", ["cuda", "cuda:7", torch.device("cuda")], ids=str)
def test_a_device_that_is_not_there(device: str | torch.device, run: Path) -> None:
    with pytest.raises(MachineError, match=r"this machine, or this build of PyTorch, has no device 'cuda.*it has: cpu"):
        bothways.load(run, device=device)


def test_texts_in_whatever_holds_them(loaded: LanguageModel) -> None:
    """A column of a table, a tuple, a generator; and none at all."""
    whole = loaded.score(["a fox", "a dog"])
    for texts in (np.array(["a fox", "a dog"]), ("a fox", "a dog"), (f"a {name}" for name in ("fox", "dog"))):
        assert np.allclose(loaded.score(texts), whole)
    assert loaded.fill([]) == loaded.generate([]) == loaded.infill([]) == []
    assert loaded.score([]).shape == loaded.score([], how="pseudo").shape == (0,)
    assert loaded.embed([]).shape == (0, 64) and loaded.layers([]).shape == (0, 3, 64)


def test_word_vectors_are_asked_for_words() -> None:
    vectors = WordVectors(["north", "south", "east"], np.eye(3, dtype=np.float32))
    with pytest.raises(UsageError, match="word: expected a text, got None"):
        vectors[None]  # type: ignore[index]
    with pytest.raises(UsageError, match="count is how many words are wanted, 1 or more, got -1"):
        vectors.nearest("north", count=-1)
    assert vectors.nearest("north", but="south") == vectors.nearest("north", but=["south"])


def test_objects_show_themselves_in_a_line(loaded: LanguageModel, run: Path, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("\n\n".join(f"The {i}th boat went down the river." for i in range(300)))
    bothways.prepare(tmp_path / "text.txt", out=tmp_path / "shards")
    shards = Shards.open(tmp_path / "shards")
    words = WordVectors([f"word{i}" for i in range(5000)], np.zeros((5000, 3), dtype=np.float32))
    rows = Rows(shards.train, shards.vocabulary, length=16, seed=0)
    starts = {
        "LanguageModel(encoder and decoder: 2 layers of 64, 0.1 million weights, 400 tokens, 64 read at once": loaded,
        "Engine(encoder and decoder: ": loaded.engine,
        "Tokenizer(BPE, 400 tokens: pad [PAD], unk [UNK], cls [CLS], sep [SEP], mask [MASK])": loaded.engine.tokenizer,
        "WordVectors(5000 words of 3 numbers: 'word0', 'word1', 'word2', ...)": words,
        f"Shards('{tmp_path}/shards': train: ": shards,
        "validation: ": shards.validation,
        "Manifest(": shards.manifest,
        "Objective(hybrid: the next word in causal rows, ": build("hybrid", shards.vocabulary),
        "Rows(": rows,
        "Vocabulary(size=": Tokenizer.load(run).vocabulary,
    }  # fmt: skip
    for start, thing in starts.items():
        assert repr(thing).startswith(start) and "\n" not in repr(thing)
        assert str(thing) == repr(thing)
        assert len(repr(thing)) < 200 + len(str(tmp_path))
