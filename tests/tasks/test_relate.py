"""Relations: no cut takes a marker away, the order of the things counts, and the score is the official one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import bothways
from bothways.errors import DataError, UsageError
from bothways.inference.pipeline import logits_of
from bothways.model import TaskHead
from bothways.tasks.packing import pack
from bothways.tasks.relate import encode_related, markers, relation_f1
from bothways.tasks.words import Pair
from bothways.training.finetuning import evaluate, finetune
from bothways.training.run_folder import RunFolder
from tests.inference.made import tokenizer
from tests.tasks.conftest import config, write

transformers = pytest.importorskip("transformers")

WORDS = ("the", "quick", "brown", "fox", "jumps", "over", "lazy", "dog")


def related(times: int = 24) -> list[dict[str, Any]]:
    """Who comes first is the one who jumps, unless it is said "by"."""
    found = []
    for number in range(times):
        first, second = ("fox", "dog") if number % 2 else ("dog", "fox")
        turned = number % 3 == 0
        text = f"the <e1>{first}</e1> {'jumps over by' if turned else 'jumps over'} the <e2>{second}</e2> {number}"
        found.append({"text": text, "label": "Jump(e2,e1)" if turned else "Jump(e1,e2)"})
    return found


@pytest.mark.parametrize("kind", ["bpe", "wordpiece"])
@given(
    st.lists(st.sampled_from(WORDS), min_size=2, max_size=60),
    st.integers(0, 59),
    st.integers(0, 59),
    st.integers(16, 40),
)
@settings(max_examples=60, deadline=None)
def test_no_cut_takes_a_thing_or_a_marker_away(
    kind: str, words: list[str], first: int, second: int, length: int
) -> None:
    own = tokenizer(kind)
    first, second = first % len(words), second % len(words)
    begins = np.cumsum([0, *(len(word) + 1 for word in words)])
    spans = [(int(begins[i]), int(begins[i]) + len(words[i])) for i in (first, second)]
    encoded = encode_related(own, Pair.placed(" ".join(words), *spans[0], *spans[1]), length=length)
    assert len(encoded.tokens) <= length and encoded.cut == max(0, len(own.encode(" ".join(words))) + 4 + 2 - length)
    begin, *at = encoded.at[0].tolist()
    signs = markers(own)
    assert begin == 0 and [int(encoded.tokens[place]) for place in at] == [signs[0], signs[0], signs[1], signs[1]]
    for (opens, closes), word in zip((at[:2], at[2:]), (words[first], words[second]), strict=True):
        inside = [token for token in encoded.tokens[opens + 1 : closes].tolist() if token not in signs]
        assert own.decode(inside).strip() == word


def test_the_order_of_the_things_is_the_order_of_their_markers() -> None:
    own = tokenizer()
    one, other = (
        encode_related(own, Pair.marked(text), length=64)
        for text in ("the <e1>fox</e1> and the <e2>dog</e2>", "the <e2>fox</e2> and the <e1>dog</e1>")
    )
    assert one.at[0, [1, 3]].tolist() == other.at[0, [3, 1]].tolist()
    assert one.tokens.tolist() != other.tokens.tolist()
    signs = markers(own)
    turned = {signs[0]: signs[1], signs[1]: signs[0]}
    assert [turned.get(token, token) for token in one.tokens.tolist()] == other.tokens.tolist()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("the <e1>fox</e1> and the dog", "without <e2>"),
        ("<e1>a</e1> <e1>b</e1> <e2>c</e2>", "got <e1> twice"),
        ("<e1></e1> and <e2>b</e2>", "got characters 0 to 0"),
        ("</e1>fox<e1> and <e2>b</e2>", "got characters 3 to 0"),
    ],
)
def test_marks_that_are_wrong_are_refused(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        Pair.marked(text)


def test_the_score_is_semevals() -> None:
    """A wrong direction counts against precision and recall; Other only as what a relation was taken for."""
    labels = ("Cause(e1,e2)", "Cause(e2,e1)", "Part(e1,e2)", "Part(e2,e1)", "Other")
    golds = ["Cause(e1,e2)", "Cause(e1,e2)", "Part(e1,e2)", "Other", "Cause(e2,e1)"]
    said = ["Cause(e1,e2)", "Cause(e2,e1)", "Other", "Part(e1,e2)", "Cause(e2,e1)"]
    # Cause: 2 right of 3 said and 3 true; Part: none right.
    assert relation_f1(golds, said, labels) == pytest.approx((2 / 3 + 0) / 2)
    assert relation_f1(golds, golds, labels) == 1.0
    assert relation_f1(["a", "b"], ["a", "a"], ("a", "b")) == pytest.approx((2 / 3 + 0) / 2)


@pytest.mark.parametrize("none", ["Other", "no-relation", "NoRelation", "无", "无关系", "其他", "其它", "未知"])
def test_a_text_without_a_relation_is_none_of_them(none: str) -> None:
    """It would be counted as a relation of its own, mostly the commonest."""
    golds, said = ["母公司", none, none, none], [none, none, none, "母公司"]
    assert relation_f1(golds, said, ("母公司", none)) == 0.0


@pytest.mark.parametrize("head", ["markers", "entities"])
def test_a_model_learns_a_relation_and_says_the_same_when_it_is_opened(head: str, tmp_path: Path, body: Path) -> None:
    train = write(tmp_path / "data.jsonl", *related())
    run = finetune(config(tmp_path, body, task="relate", train=train, dev=train, epochs=12, head=head))
    assert evaluate(run, train)["f1"] > 0.9
    model = bothways.load(run, device="cpu")
    said = model.relate([record["text"] for record in related(4)])
    assert [one.label for one in said] == [record["label"] for record in related(4)]
    body_again = transformers.AutoModel.from_pretrained(run / "model")
    encoded = encode_related(model.engine.tokenizer, Pair.marked(related(1)[0]["text"]), length=64)
    with torch.inference_mode():
        theirs = body_again(input_ids=torch.as_tensor(encoded.tokens[None]).long()).last_hidden_state[0]
        ours = model.engine.model.states(pack([encoded.sample(_head(model))]).batch)[0, : len(encoded.tokens)]
    assert torch.allclose(theirs, ours, atol=2e-5)


def test_r_bert_reads_the_beginning_and_the_means_of_both_things(body: Path) -> None:
    """Against the formula, one example at a time."""
    from bothways.inference.loading import folder_of
    from bothways.model import read_body

    answers = TaskHead("relate", "entities", ("a", "b", "c"), "one", "encoder")
    model, own = read_body(folder_of(body), answers).eval(), tokenizer("wordpiece")
    texts = ["the <e1>fox</e1> and <e2>lazy dog</e2>", "<e2>over</e2> the <e1>quick brown fox</e1> jumps and jumps"]
    examples = [encode_related(own, Pair.marked(text), length=64) for text in texts]
    with torch.inference_mode():
        together = [logits for (logits,) in logits_of(model, [example.sample(answers) for example in examples])]
        head: Any = model.heads["entities"]
        for number, example in enumerate(examples):
            hidden = model.states(pack([example.sample(answers)]).batch)[0]
            begin, a, b, c, d = example.at[0].tolist()
            parts = [head.text(hidden[begin].tanh())]
            parts += [head.thing(hidden[i : j + 1].mean(0).tanh()) for i, j in ((a, b), (c, d))]
            alone = head.out(torch.cat(parts))
            assert np.allclose(together[number][0], alone, atol=1e-5)


def test_things_that_do_not_fit_are_an_error_that_names_the_line(tmp_path: Path, body: Path) -> None:
    records = [*related(4), {"text": f"<e1>{'fox ' * 40}</e1> and <e2>dog</e2>", "label": "Jump(e1,e2)"}]
    train = write(tmp_path / "data.jsonl", *records)
    told = config(tmp_path, body, task="relate", train=train, dev=train, length=32, epochs=1)
    with pytest.raises(DataError, match=r"data.jsonl, line 5: the two things are 41 tokens, .* 26 fit in 32"):
        finetune(told)
    run = finetune(told.model_copy(update={"skip_bad": True}))
    assert [line for line in RunFolder(run).manifest()["skipped"] if "line 5" in line]


def test_heads_and_tails_are_found_by_words_or_by_place(tmp_path: Path, body: Path) -> None:
    plain = [
        {"text": "the fox jumps over the dog", "head": "fox", "tail": "dog", "label": "a"},
        {"text": "the dog jumps", "head": {"start": 4, "end": 7}, "tail": {"start": 8, "end": 13}, "label": "b"},
    ]
    train = write(tmp_path / "data.jsonl", *plain)
    finetune(config(tmp_path, body, task="relate", train=train, dev=train, epochs=1))
    bad = write(tmp_path / "bad.jsonl", plain[0] | {"tail": "cat"})
    with pytest.raises(DataError, match=r"bad.jsonl, line 1: field 'tail': expected words of the text, got 'cat'"):
        evaluate(tmp_path / "run", bad)


def _head(model: Any) -> TaskHead:
    head = model.engine.abilities.only_head
    assert isinstance(head, TaskHead)
    return head
