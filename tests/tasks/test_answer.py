"""TaskHead from a text: windows lose none, the best span is the best, scores are those of the published scripts."""

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
from bothways.model import TaskHead
from bothways.model.heads.head import log_softmax_in_groups
from bothways.tasks import TASKS
from bothways.tasks.answer import LONGEST, best_span, encode_question
from bothways.tasks.reading import read_examples
from bothways.tasks.records import refuse
from bothways.tasks.squad import exact, f1
from bothways.training.finetuning import evaluate, finetune
from tests.inference.made import tokenizer
from tests.tasks.conftest import config, write

WORDS = ["the", "quick", "fox", "jumps", "世界", "今天", "naïve", "café", "cafe\u0301", "a,", "🙂", "42", "(dog)"]


HEAD = TaskHead("answer", "span", ("start", "end"), "span", "encoder")


@given(
    words=st.lists(st.sampled_from(WORDS), min_size=1, max_size=120),
    first=st.integers(0, 119),
    count=st.integers(1, 4),
    length=st.sampled_from([24, 48, 64]),
    kind=st.sampled_from(["bpe", "wordpiece"]),
)
@settings(max_examples=150, deadline=None)
def test_every_answer_comes_back_from_its_windows(
    words: list[str], first: int, count: int, length: int, kind: str
) -> None:
    own, first = tokenizer(kind), first % len(words)
    context = " ".join(words)
    start = len(" ".join(words[:first])) + (first > 0)
    text = " ".join(words[first : first + count])
    shared = (length - 3 - len(own.encode("where?"))) // 2
    try:
        parts = encode_question(own, "where?", context, HEAD, length=length, answer=(start, start + len(text)))
    except UsageError:
        assert len(own.encode(text)) > length - 4 - len(own.encode("where?")) or "🙂" in text
        return
    assert all(len(part) <= length and part.targets[0].labels.sum(0).tolist() == [1, 1] for part in parts)
    marked = [part for part in parts if not part.targets[0].labels[0].any()]
    size = marked[0].targets[0].labels[:, 1].argmax() - marked[0].targets[0].labels[:, 0].argmax() + 1 if marked else 0
    if kind == "wordpiece" and "🙂" in text:
        return  # it has no token there
    if not marked:
        assert len(own.encode(text)) >= shared
        return
    if 2 * size > shared:  # the window that shows most around its beginning may cut it
        return
    found = best_span(own, context, parts, [10 * part.targets[0].labels for part in parts], may_decline=False)
    assert found.text == text and context[found.start : found.end] == text and found.start == start


@pytest.mark.parametrize("first", range(0, 50, 3))
def test_an_answer_that_every_window_cuts_is_taught_in_one_more(first: int) -> None:
    """Nearly as long as a window, and longer than what two share: it ended the run, as if it were too long."""
    own, context = tokenizer("wordpiece"), " ".join(["fox"] * 60)
    room = own.frame.room(32, 2) - len(own.encode("why?"))
    assert len(own.encode(context)) == 60
    text = " ".join(["fox"] * (room - 1))
    answer = (4 * first, min(4 * first + len(text), len(context)))
    plain = encode_question(own, "why?", context, HEAD, length=32)
    parts = encode_question(own, "why?", context, HEAD, length=32, answer=answer)
    assert len(parts) - len(plain) in (0, 1) and all(len(part) <= 32 for part in parts)
    marked = [part.targets[0] for part in parts if not part.targets[0].labels[0].any()]
    assert marked
    for target in marked:
        start, end = (int(target.of[target.labels[:, column].argmax()]) for column in (0, 1))
        assert (start, end) == (first, min(first + room - 2, 59))
    if len(parts) > len(plain):
        assert parts[-1].targets[0] in marked
    with pytest.raises(UsageError, match=f"no window holds the answer: it is {room + 1} tokens, a window holds {room}"):
        encode_question(own, "why?", context, HEAD, length=32, answer=(0, 4 * room + 3))


def test_without_an_answer_the_first_token_is_marked_and_may_win() -> None:
    own = tokenizer()
    parts = encode_question(own, "why?", "the quick fox", HEAD, length=64, answer=(0, 0))
    assert [part.targets[0].labels[0].tolist() for part in parts] == [[1, 1]]
    logits = [5 * part.targets[0].labels for part in parts]
    assert best_span(own, "the quick fox", parts, logits, may_decline=True).text == ""
    assert best_span(own, "the quick fox", parts, logits, may_decline=False).text != ""


def test_an_answer_begins_in_the_window_that_shows_most_around_it() -> None:
    own, context = tokenizer(), " ".join(["fox"] * 60)
    parts = encode_question(own, "why?", context, HEAD, length=32)
    assert len(parts) > 2
    logits = [np.zeros((len(part), 2), dtype=np.float32) for part in parts]
    edge = int(np.flatnonzero(parts[0].targets[0].of >= 0)[-1])
    logits[0][edge, 0] = 9.0  # the last token of the first window stands further inside in the second
    token = int(parts[0].targets[0].of[edge])
    inside = int(np.flatnonzero(parts[1].targets[0].of == token)[0])
    logits[1][inside, 0] = 3.0
    found = best_span(own, context, parts, logits, may_decline=False)
    assert found.margin == pytest.approx(3.0)


def test_spans_that_end_before_they_begin_or_are_too_long_are_not_answers() -> None:
    own, context = tokenizer(), " ".join(["fox"] * 60)
    (part,) = encode_question(own, "why?", context, HEAD, length=400)
    logits = np.zeros((len(part), 2), dtype=np.float32)
    places = np.flatnonzero(part.targets[0].of >= 0)
    logits[places[40], 0] = logits[places[2], 1] = 9.0
    logits[places[0], 0], logits[places[39], 1] = 8.0, 8.5
    found = best_span(own, context, [part], [logits], may_decline=False)
    first, last = context[: found.start].count("fox"), context[: found.end].count("fox") - 1
    assert first <= last < first + LONGEST
    assert (first, last - first < LONGEST) in {(40, True), (0, True), (2, True), (39, True)}


def test_spans_may_be_as_long_as_the_longest_that_was_trained(tmp_path: Path) -> None:
    """Of more than LONGEST tokens, too: none of them could ever be answered."""
    own, context = tokenizer("wordpiece"), " ".join(["fox"] * 60)
    (part,) = encode_question(own, "why?", context, HEAD, length=400)
    logits = np.zeros((len(part), 2), dtype=np.float32)
    places = np.flatnonzero(part.targets[0].of >= 0)
    logits[places[2], 0] = logits[places[42], 1] = 9.0
    text = " ".join(["fox"] * 41)
    for longest, expected in ((0, False), (len(text) - 2, False), (len(text), True)):
        found = best_span(own, context, [part], [logits], may_decline=False, longest=longest)
        assert ((found.text, found.start) == (text, 8)) == expected
    found_in = {"question": "q", "context": context, "answers": [{"text": text}]}
    records = [found_in, {"question": "q", "context": "a", "answers": []}]
    examples = read_examples(TASKS["answer"], write(tmp_path / "a.jsonl", *records), skip=refuse)[1]
    assert TASKS["answer"].head(examples, reads="encoder").longest_characters == len(text)


SCRIPTS: list[tuple[str, list[str], float, float]] = [
    ("The Eiffel Tower!", ["eiffel tower"], 1, 1.0),
    ("Eiffel Tower in Paris", ["the Eiffel Tower"], 0, 2 * 0.5 * 1 / 1.5),
    ("in  Paris", ["Paris", "in Paris"], 1, 1.0),
    ("Paris", ["Rome"], 0, 0.0),
    ("", [], 1, 1.0),
    ("Paris", [], 0, 0.0),
    ("", ["Paris"], 0, 0.0),
    ("a the", ["an"], 1, 1.0),
    ("fox fox", ["fox"], 0, 2 * 0.5 * 1 / 1.5),
    ("韩国Nexon", ["Nexon"], 0, 0.0),  # no ideograph among the right ones: words, and they are run together
    ("盛大网络", ["盛大游戏"], 0, 2 * 0.5 * 0.5 / 1.0),
    ("《跑跑卡丁车》", ["跑跑卡丁车"], 1, 1.0),
    ("2004年 5月", ["2004年5月"], 1, 1.0),
    ("大中国", ["中国人"], 0, 2 * (2 / 3) * (2 / 3) / (4 / 3)),
]


@pytest.mark.parametrize(("said", "golds", "whole", "part"), SCRIPTS)
def test_scores_are_those_of_the_scripts(said: str, golds: list[str], whole: float, part: float) -> None:
    assert exact(said, golds) == whole
    assert f1(said, golds) == pytest.approx(part)


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(-5, 5)), min_size=1, max_size=30))
def test_a_softmax_in_groups_is_one_for_each_group(places: list[tuple[int, float]]) -> None:
    group = torch.tensor([number for number, _ in places])
    logits = torch.tensor([[value, -value] for _, value in places], dtype=torch.float64, requires_grad=True)
    found = log_softmax_in_groups(logits, group)
    for number in group.unique():
        own = group == number
        assert torch.allclose(found[own], logits[own].log_softmax(0))
    (grad,) = torch.autograd.grad(found.pow(2).sum(), logits)
    other = logits.detach().clone().requires_grad_()
    plain = torch.stack([other[group == number].log_softmax(0).pow(2).sum() for number in group.unique()]).sum()
    assert torch.allclose(grad, torch.autograd.grad(plain, other)[0], atol=1e-9)


def questions(count: int = 24, *, none: bool = False) -> list[dict[str, Any]]:
    """Who jumps? The word behind Mr; where there is none, nobody."""
    found: list[dict[str, Any]] = []
    for number in range(count):
        name = ["Fox", "Dog", "Lazy"][number % 3]
        before = ["the quick", "brown", "over a small"][number % 2]
        if none and number % 4 == 0:
            found.append({"question": "Who jumps?", "context": f"{before} model jumps", "answers": []})
            continue
        context = f"{before} Mr {name} jumps"
        answer = {"text": name, "start": context.index(name)}
        found.append({"question": "Who jumps?", "context": context, "answers": [answer]})
    return found


def test_it_learns_to_answer_and_to_decline(body: Path, tmp_path: Path) -> None:
    told = config(tmp_path, body, task="answer", epochs=14)
    write(told.train, *questions(none=True))
    run = finetune(told)
    scores = evaluate(run, told.train)
    assert scores["exact"] > 0.8 and scores["f1"] >= scores["exact"]
    model = bothways.load(run, device="cpu")
    found = model.answer("Who jumps?", "the quick Mr Dog jumps")
    assert "the quick Mr Dog jumps"[found.start : found.end] == found.text
    assert 0 < found.probability <= 1
    assert (run / "report.html").exists()


def test_an_answer_must_stand_in_its_context(tmp_path: Path) -> None:
    def read(answers: Any) -> Any:
        file = write(tmp_path / "a.jsonl", {"question": "q?", "context": "the quick fox", "answers": answers})
        return read_examples(TASKS["answer"], file, skip=refuse)[1][0].gold

    assert read([{"text": "quick", "start": 4}]) == (("quick", 4),)
    assert read([{"text": "fox"}]) == (("fox", 10),)
    assert read({"text": ["fox", "quick fox"], "answer_start": [10, 4]}) == (("fox", 10), ("quick fox", 4))
    assert read([]) == read("") == () and read("fox") == (("fox", 10),)  # as tables have it
    lost = {"text": ["fox"], "answer_start": 10}
    for wrong in ([{"text": "dog"}], [{"text": "quick", "start": 5}], [{"start": 1}], "dog", [{"text": ""}], lost, 3):
        with pytest.raises(DataError, match=r"a.jsonl, line 1: field 'answers': expected"):
            read(wrong)


def test_a_question_without_an_answer_for_a_model_that_never_saw_one(body: Path, tmp_path: Path) -> None:
    told = config(tmp_path, body, task="answer", epochs=1)
    write(told.train, *questions())
    run = finetune(told)
    file = write(tmp_path / "b.jsonl", *questions(4, none=True))
    with pytest.raises(DataError, match="line 1: no answer, and the model was trained on questions that all have one"):
        evaluate(run, file)


def choices(count: int = 24) -> list[dict[str, Any]]:
    found = []
    for number in range(count):
        right = number % 3
        texts = [f"dreadful {i}" if i != right else f"lovely {i}" for i in range(3)]
        found.append({"context": ["M: a film", "W: so"], "question": "Which?", "choices": texts, "answer": right})
    return found


def test_it_learns_to_choose(body: Path, tmp_path: Path) -> None:
    told = config(tmp_path, body, task="choose", epochs=10)
    write(told.train, *choices())
    run = finetune(told)
    assert evaluate(run, told.train)["accuracy"] > 0.8
    model = bothways.load(run, device="cpu")
    found = model.choose("Which?", ["dreadful 0", "lovely 1"], context="M: a film")
    assert sum(found.probabilities) == pytest.approx(1) and found.choice in (0, 1)


def test_what_cannot_be_chosen_from(tmp_path: Path) -> None:
    good = choices(1)[0]
    for change in ({"choices": ["x"]}, {"choices": "x"}, {"answer": 3}, {"answer": "none of them"}, {"answer": True}):
        file = write(tmp_path / "a.jsonl", {**good, **change})
        with pytest.raises(DataError, match=r"a.jsonl, line 1: field '(choices|answer)': expected"):
            read_examples(TASKS["choose"], file, skip=refuse)
    (one,) = read_examples(TASKS["choose"], write(tmp_path / "b.jsonl", {**good, "answer": "lovely 0"}), skip=refuse)[1]
    assert one.gold == 0
