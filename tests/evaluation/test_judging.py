"""Models that answer the same prompts: rules, references, refusals, who wins by rules and by a model, and the page."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import bothways
from bothways.errors import DataError, ModelError, UsageError
from bothways.evaluation.judging.answers import JudgedAnswer, RunAnswers, answered
from bothways.evaluation.judging.judgement import scores_of
from bothways.evaluation.judging.page import render, warnings_of
from bothways.evaluation.judging.prompts import JudgePrompt, read_prompts
from bothways.evaluation.judging.rules import checked_rules, obeyed, refuses
from bothways.evaluation.judging.verdicts import JudgeBias, ModelJudge, by_rules, judge_prompt, wins_of
from bothways.inference.score import score_after
from bothways.model.abilities import Writes
from bothways.tasks import task_named
from tests.inference.made import CAUSAL, MLM, load, make_run
from tests.inference.test_conversation import talking

OBEYED: list[tuple[dict[str, Any], str, str]] = [
    ({"regex": r"\d{4}"}, "in 1984", "in 84"),
    ({"starts_with": "Dear"}, "Dear Ada", "My dear"),
    ({"ends_with": "."}, "So it is.", "So it is"),
    ({"contains": ["fox", "dog"]}, "the dog and the fox", "the fox"),
    ({"lacks": "fox"}, "the dog", "the fox"),
    ({"one_of": ["Yes", "No"]}, "No", "Not at all"),
    ({"max_words": 3}, "one, two, three!", "one two three four"),
    ({"max_words": 4}, "今天天气", "今天天气好"),
    ({"min_words": 2}, "one two", "one"),
    ({"max_sentences": 1}, "Dr. Smith sat down.", "He came. She stood."),
    ({"max_characters": 3}, "abc", "abcd"),
    ({"lines": 2}, "a\n\nb\n", "a\nb\nc"),
    ({"json": True}, '{"a": [1]}', "{'a': 1}"),
    ({"json": False}, "plain", "3"),
]


@pytest.mark.parametrize(("rules", "good", "bad"), OBEYED, ids=str)
def test_rules(rules: dict[str, Any], good: str, bad: str) -> None:
    known = checked_rules(rules, "here")
    assert [*obeyed(good, known).values()] == [True] and [*obeyed(bad, known).values()] == [False]


WRONG: list[tuple[Any, str]] = [
    ([1], "rules: expected an object"),
    ({"max_word": 3}, "unknown rule 'max_word'. Did you mean 'max_words'"),
    ({"max_words": "3"}, "max_words: expected a number, got '3'"),
    ({"contains": []}, "contains: expected a text or a list of texts"),
    ({"regex": "("}, "regex: '\\(' does not read"),
    ({"json": 1}, "json: expected true"),
]


@pytest.mark.parametrize(("rules", "message"), WRONG, ids=str)
def test_wrong_rules_are_named(rules: Any, message: str) -> None:
    with pytest.raises(DataError, match=f"here: .*{message}"):
        checked_rules(rules, "here: x")


@pytest.mark.parametrize(
    ("answer", "refused"),
    [
        ("I'm sorry, but I can't help with that.", True),
        ("As an AI language model, I have no mother.", True),
        ("I cannot assist with this.", True),
        ("抱歉，我无法回答这个问题。", True),
        ("Rain is water. Nobody is sorry.", False),
        ("He said: we do not know. " * 20 + "I cannot help", False),
        ("我不知道天气。", False),
    ],
)
def test_refusals(answer: str, refused: bool) -> None:
    assert refuses(answer) == refused


def file(path: Path, *records: Any) -> Path:
    path.write_text("".join(f"{json.dumps(record)}\n" for record in records))
    return path


def test_prompts_in_their_forms(tmp_path: Path) -> None:
    talk = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Because."}]
    path = file(
        tmp_path / "p.jsonl",
        {"question": "Who?", "answer": ["Ada", "Ada L."], "rules": {"max_words": 2}, "id": "a"},
        {"messages": talk},
        {"messages": [*talk, {"role": "user", "content": "And?"}], "reference": "So."},
    )
    one, two, three = read_prompts(path)
    assert (one.name, one.text, one.references, one.plain) == ("a", "Who?", ("Ada", "Ada L."), True)
    assert (two.name, two.text, two.references, two.plain) == ("1", "Why?", ("Because.",), False)
    assert (len(three.messages), three.references) == (3, ("So.",))


@pytest.mark.parametrize(
    "record",
    [
        *({"prompt": " "}, {"reference": "x"}, {"messages": []}, {"messages": "x"}),
        *({"prompt": "x", "reference": 3}, {"prompt": "x", "rules": {"max": 1}}),
        {"messages": [{"role": "assistant", "content": "x"}]},
    ],
    ids=str,
)
def test_what_is_no_prompt_is_named_by_its_line(record: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"p.jsonl, line 2: "):
        read_prompts(file(tmp_path / "p.jsonl", {"prompt": "x"}, record))
    with pytest.raises(DataError, match="expected prompts, got none"):
        read_prompts(file(tmp_path / "none.jsonl"))


def answers(name: str, texts: Sequence[str], prompts: Sequence[JudgePrompt]) -> RunAnswers:
    made = [
        JudgedAnswer(
            text, True, obeyed(text, one.rules), text in one.references if one.references else None, refuses(text)
        )
        for text, one in zip(texts, prompts, strict=True)
    ]
    return RunAnswers(name, "chat", tuple(made), np.zeros((len(texts), 3)))


def asked(text: str, *references: str, **rules: Any) -> JudgePrompt:
    return JudgePrompt(text, ({"role": "user", "content": text},), references=references, rules=rules)


PROMPTS = [asked("a", max_words=1, lacks=["x"]), asked("b", "yes"), asked("c"), asked("d", "no", max_words=1)]


def test_wins_by_rules_and_references() -> None:
    one, other = answers("one", ["x y", "yes", "?", "no"], PROMPTS), answers("other", ["x", "no", "!", "no"], PROMPTS)
    verdicts = by_rules(one, other)
    assert verdicts == [-1, 1, None, 0] == [None if v is None else -v for v in by_rules(other, one)]
    (wins,) = wins_of([("one", "other", "rules", verdicts), ("one", "other", "nothing", [None] * 4)])
    assert (wins.wins, wins.ties, wins.losses, wins.rate, wins.p) == (1, 1, 1, 0.5, 1.0)
    assert wins.low < 0.5 < wins.high
    (sure,) = wins_of([("one", "other", "rules", [1] * 10)])
    assert sure.rate == 1.0 and sure.p == pytest.approx(2 * 0.5**10) and sure.low > 0.6


def test_scores_of_answers() -> None:
    run = answers("one", ["x y", "yes", "I am sorry.", "no"], PROMPTS)
    nats = np.array([[2.0, 2, 4], [0, 0, 0], [6.0, 2, 4], [0, 0, 0]])
    found = {one.metric: one for one in scores_of(RunAnswers("one", "chat", run.answers, nats))}
    assert (found["obeyed"].figure, found["obeyed"].prompts) == (0.5, 2)
    assert (found["exact"].figure, found["refused"].figure) == (1.0, 0.25)
    assert (found["rule max_words"].figure, found["rule lacks"].figure) == (0.5, 0.0)
    assert found["perplexity"].figure == pytest.approx(math.exp(2.0))
    assert found["bits_per_byte"].figure == pytest.approx(1 / math.log(2))
    assert (found["words"].figure, found["distinct_1"].figure) == (7 / 4, 1.0)
    assert found["obeyed"].low < 0.5 < found["obeyed"].high


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return talking(tmp_path_factory.mktemp("judged"), length=512)


def test_the_nats_of_a_text_after_its_prompt(chat: Path) -> None:
    model = bothways.load(chat)
    begin, text = (np.array(model.tokenizer.encode(one)) for one in ("the quick", " brown fox"))
    before = np.array(model.engine.around(closed=False)[0], dtype=np.int64)
    sums, counts = score_after(model.engine, [np.concatenate([before, begin]), before], [text, text])
    whole = model.score(model.tokenizer.decode([*begin, *text]))
    assert counts.tolist() == [len(text)] * 2
    assert sums[0] == pytest.approx(whole - model.score(model.tokenizer.decode(begin)), abs=1e-4)
    assert sums[1] == pytest.approx(model.score(model.tokenizer.decode(text)), abs=1e-4)


def test_answers_are_those_of_the_model(chat: Path, tmp_path: Path) -> None:
    model = bothways.load(chat)
    path = file(tmp_path / "p.jsonl", {"prompt": "the fox", "reference": "a dog"}, {"prompt": "once"})
    found = bothways.judge({"mine": model}, prompts=path)
    expected = model.chat([{"role": "user", "content": "the fox"}], temperature=0.0, max_new_tokens=128)
    (run,) = found.runs
    assert (run.way, run.answers[0].text) == ("chat", expected.text.strip())
    assert found.score("mine", "perplexity").prompts == 1  # type: ignore[union-attr]
    assert found.wins == () and found.judge is None


def test_a_model_without_a_template_goes_on_with_the_text(tmp_path: Path) -> None:
    model = load(make_run(tmp_path / "run", CAUSAL))
    prompts = [JudgePrompt("0", ({"role": "user", "content": "the quick"},), references=(" brown",))]
    options = bothways.GenerationOptions(temperature=0.0, max_new_tokens=5)
    run = answered("plain", model, prompts, options)
    assert (run.way, run.answers[0].text) == ("text", model.generate("the quick", options).text.strip())
    nats = model.score("the quick") - model.score("the quick brown")
    assert run.references[0, 0] == pytest.approx(nats, abs=1e-4)


def test_a_model_that_cannot_be_asked_is_named(chat: Path, tmp_path: Path) -> None:
    path = file(tmp_path / "p.jsonl", {"messages": [{"role": "user", "content": "x"}]})
    plain = make_run(tmp_path / "plain", CAUSAL)
    with pytest.raises(ModelError, match="plain has no chat template, and prompt 0 is messages"):
        bothways.judge([chat, plain], prompts=path)
    with pytest.raises(ModelError, match="mlm was not taught to write, so it answers nothing"):
        bothways.judge(make_run(tmp_path / "mlm", MLM), prompts=file(tmp_path / "q.jsonl", {"prompt": "x"}))
    with pytest.raises(ModelError, match="mlm, which is to judge: this model was not taught to continue a text"):
        bothways.judge(chat, prompts=path, judge=tmp_path / "mlm")
    with pytest.raises(UsageError, match="expected different models to judge, got .* twice"):
        bothways.judge([chat, chat], prompts=path)
    with pytest.raises(UsageError, match="expected models to judge, got none"):
        bothways.judge({}, prompts=path)


class Choosing(ModelJudge):
    """A judge whose choices are known: by a function of the two answers."""

    def __init__(self, choose: Any) -> None:
        super().__init__("known", None)  # type: ignore[arg-type]
        self.choose = choose

    def _choices(self, asked: Sequence[tuple[JudgePrompt, str, str]]) -> np.ndarray:
        return np.array([self.choose(one, other) for _, one, other in asked], dtype=np.int64)


def test_a_judge_that_goes_by_places_gives_ties_and_is_found_out() -> None:
    prompts = [asked("q", "right one"), asked("r", "wrong"), asked("s")]
    first = Choosing(lambda one, other: 1)
    assert first.verdicts(prompts, [("a", "b"), ("a", "a"), ("b", "a")]) == [0, 0, 0]
    bias = first.bias(prompts)
    assert (bias.asked, bias.first, bias.agreed, bias.reference) == (4, 1.0, 0.0, 0.0)
    assert len([*warnings_of(bias)]) == 2
    longer = Choosing(lambda one, other: 1 if len(one) > len(other) else -1)
    assert longer.verdicts(prompts, [("a", "bb"), ("a", "a"), ("bb", "a")]) == [-1, 0, 1]
    assert longer.bias(prompts) == JudgeBias("known", 4, 0.5, 1.0, 0, 0.5) and not [*warnings_of(longer.bias(prompts))]


def test_a_model_judges_by_the_likelier_number(chat: Path) -> None:
    model = bothways.load(chat)
    judge = ModelJudge.of("model", model)
    pairs = [(asked("q"), "a", "b"), (asked("q"), "b", "a")]
    for shown, chosen in zip(pairs, judge._choices(pairs).tolist(), strict=True):
        read = judge._read(judge_prompt(*shown))
        logits = model.engine.logits(model.engine.read([read], face="decoder", places=np.array([len(read) - 1])))[0]
        first, second = (int(model.tokenizer.encode(number)[0]) for number in ("1", "2"))
        assert chosen == (1 if logits[first] > logits[second] else -1)
    one = model.tokenizer.encode("1")
    with torch.no_grad():  # a word head that says "1" whatever is read
        model.engine.model.backbone.embeddings.tokens.weight[one] *= 30
    shifted = judge._choices([(asked("q"), "a", "b"), (asked("q"), "b", "a")])
    assert len(set(shifted.tolist())) == 1


def test_a_judge_reads_the_whole_conversation() -> None:
    said = (("system", "Be brief."), ("user", "Who wrote it?"), ("assistant", "Ada."), ("user", "And when?"))
    talk = JudgePrompt("0", tuple({"role": role, "content": text} for role, text in said), plain=False)
    read = judge_prompt(talk, "1843", "Never")
    question = "system: Be brief.\nuser: Who wrote it?\nassistant: Ada.\nuser: And when?"
    assert read.startswith(f"Question:\n{question}\n\nAnswer 1:\n1843\n\nAnswer 2:\nNever")
    assert judge_prompt(asked("Why?"), "a", "b").startswith("Question:\nWhy?\n\nAnswer 1:")


def test_answers_that_are_more_than_a_judge_reads_decide_nothing(chat: Path) -> None:
    judge = ModelJudge.of("model", bothways.load(chat))
    long = "fox " * judge._engine.length
    assert judge.verdicts([asked("q"), asked("r")], [("a", long), ("a", "a")]) == [None, 0]
    bias = judge.bias([])
    assert (bias.asked, bias.first, bias.agreed, bias.unread) == (0, None, None, 1)
    assert [*warnings_of(bias)] == ["1 pairs of answers are more than model reads: they decide nothing."]


def test_a_judge_that_was_taught_instructions_judges_no_cut_prompt(chat: Path) -> None:
    """Its own prompts are cut to the room that it was taught; two answers of which it reads a part decide nothing."""
    model = bothways.load(chat)
    writes = Writes(64, (), (), model.tokenizer.vocabulary.sep, chat=True)
    head = replace(task_named("instruct").head([], reads="decoder"), writes=writes)
    taught = replace(model.engine, abilities=replace(model.engine.abilities, heads={head.name: head}))
    room, rest = writes.room(taught.length), len(ModelJudge("model", taught)._read(judge_prompt(asked("q"), "", "a")))
    for words, verdicts in ((room - rest - 30, 1), (room - rest + 1, 0), (taught.length, 0)):
        judge = ModelJudge("model", taught)
        long = model.tokenizer.decode(model.tokenizer.encode(" dog")[:1] * words)
        found = judge.verdicts([asked("q")], [(long, "a")])
        assert (found != [None], judge.bias([]).unread) == (bool(verdicts), 1 - verdicts)


def test_a_page_of_one_model_without_rules(chat: Path, tmp_path: Path) -> None:
    path = file(tmp_path / "p.jsonl", {"prompt": "once"})
    html = render(bothways.judge(chat, prompts=path))
    assert "Which is better" not in html and "The judge" not in html
