"""Text for text: how records are read and rows laid, what is scored by which library, and whether a source is used."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bothways.errors import DataError, UsageError
from bothways.evaluation.judging.answers import _answer
from bothways.evaluation.judging.prompts import JudgePrompt
from bothways.model.abilities import TaskHead, Writes
from bothways.tasks import task_named
from bothways.tasks.reading import read_examples
from bothways.tasks.records import Skipped, refuse
from bothways.tasks.rouge import RougeTokens, rouge_tokens
from bothways.tasks.source_use import shuffles, source_use
from bothways.tasks.task import Example, Output
from bothways.tasks.text_scores import TextScores, bleu_tokenizer
from tests.inference.made import tokenizer
from tests.tasks.conftest import write

OWN = tokenizer("wordpiece")
CLS, SEP = OWN.vocabulary.cls, OWN.vocabulary.sep
TASK = task_named("text2text")
HEAD = TaskHead("text2text", "words", (), "text", "encoder", writes=Writes(8, (CLS,), (SEP,), SEP))
TEXTS = ["the quick dog reads a book", "nobody reads", "a fox", "今天天气好"]
REFERENCES = [["the quick brown dog reads books"], ["nobody reads", "no one reads"], ["the lazy fox"], ["今天天气很好"]]
SOURCES = ["the quick dog reads a book once", "b", "a fox", "d"]


def example(source: str, *targets: str) -> Example:
    return Example(0, (source,), targets or None, "a.jsonl, line 1")


def test_a_source_has_one_target_or_several(tmp_path: Path) -> None:
    records = [{"article": "a fox", "summary": "fox"}, {"article": "a dog", "summary": ["dog", "the dog"]}]
    columns, found = read_examples(TASK, write(tmp_path / "a.jsonl", *records), skip=refuse)
    assert columns.names == {"source": "article", "target": "summary"}
    assert [one.gold for one in found] == [("fox",), ("dog", "the dog")]


@pytest.mark.parametrize(
    ("target", "gold"),
    [
        ('{"name": "Ada"}', ('{"name": "Ada"}',)),
        ("[1, 2, 3]", ("[1, 2, 3]",)),
        ('[{"a": 1}]', ('[{"a": 1}]',)),
        ('["a dog", "dog"]', ("a dog", "dog")),
        ("[a dog", ("[a dog",)),
    ],
)
def test_json_in_a_table_is_a_target_or_several(target: str, gold: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["source", "target"], ["a fox", target]])
    assert [one.gold for one in read_examples(TASK, path, skip=refuse)[1]] == [gold]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"source": " ", "target": "a"}, "line 1: field 'source': expected a text, got ' '"),
        ({"source": "a", "target": ""}, "line 1: field 'target': expected a text, or a list of texts, got ''"),
        ({"source": "a", "target": []}, "line 1: field 'target': expected a text, or a list of texts, got \\[\\]"),
        ({"source": "a", "target": ["b", 3]}, "line 1: field 'target': expected a text, or a list of texts"),
    ],
)
def test_what_is_no_text_is_named(record: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", record)
    with pytest.raises(DataError, match=message):
        read_examples(TASK, path, skip=refuse)
    skipped = Skipped()
    assert read_examples(TASK, path, skip=skipped)[1] == [] and len(skipped.found) == 1


def test_the_row_of_an_example() -> None:
    (sample,) = TASK.encode(example("a fox", "dog", "the dog"), OWN, HEAD, length=32)
    source, target = OWN.encode("a fox"), OWN.encode("dog")
    assert sample.tokens.tolist() == [CLS, *source, SEP, *target, SEP]
    assert sample.layout.segment.tolist() == [0] * (len(source) + 2) + [1] * (len(target) + 1)
    (words,) = sample.targets
    assert words.labels.tolist() == [*target, SEP]
    assert sample.tokens[np.asarray(words.at) + 1].tolist() == words.labels.tolist() and not sample.cut


def test_the_prompt_is_the_row_without_its_target() -> None:
    (sample,) = TASK.encode(example("a fox"), OWN, HEAD, length=32)
    assert sample.tokens.tolist() == [CLS, *OWN.encode("a fox"), SEP]


def test_a_long_source_is_cut_so_that_the_target_has_room() -> None:
    source = "the lazy dog " * 20
    (sample,) = TASK.encode(example(source, "dog"), OWN, HEAD, length=32)
    room = 32 - 8 - 2
    assert sample.tokens[1 : room + 1].tolist() == OWN.encode(source)[:room] and sample.tokens[room + 1] == SEP
    assert sample.cut == len(OWN.encode(source)) - room and len(sample) <= 32


def test_a_target_longer_than_the_model_writes_says_what_to_do() -> None:
    with pytest.raises(UsageError, match=r"expected a target of 1 to 7 tokens, got \d+.*target_length=TOKENS"):
        TASK.encode(example("a", "the lazy dog " * 9), OWN, HEAD, length=32)


@pytest.mark.parametrize("given", ["", " ", 3, None, ("a", "b")])
def test_what_is_no_source(given: Any) -> None:
    with pytest.raises(UsageError, match="expected a text to write for"):
        TASK.given(given, HEAD)


def test_what_the_model_wrote_is_decoded() -> None:
    samples = TASK.encode(example("a fox"), OWN, HEAD, length=32)
    one = Output(samples, (), HEAD, OWN, ("fox",), -0.123456)
    assert TASK.decode(example("a fox"), one) == {"text": "fox", "logprob": -0.1235}
    several = Output(samples, (), HEAD, OWN, ("fox", "dog"), -1.0)
    assert TASK.decode(example("a fox"), several) == {"text": "fox", "logprob": -1.0, "others": ["dog"]}


def scores() -> TextScores:
    pytest.importorskip("rouge_score"), pytest.importorskip("sacrebleu")
    return TextScores(TEXTS, REFERENCES, SOURCES)


def test_rouge_is_that_of_its_library() -> None:
    found = scores()(range(3))
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"])
    each = [scorer.score_multi(some, text) for some, text in zip(REFERENCES[:3], TEXTS[:3], strict=True)]
    for ours, theirs in (("rouge1", "rouge1"), ("rouge2", "rouge2"), ("rougeL", "rougeL")):
        assert found[ours] == pytest.approx(np.mean([one[theirs].fmeasure for one in each]))


def test_the_words_of_ascii_are_rouge_scores_own() -> None:
    pytest.importorskip("rouge_score")
    from rouge_score.tokenizers import DefaultTokenizer

    for text in (*TEXTS[:3], "Don't stop_now: 3.5% of U.S. x2", "", "--"):
        assert RougeTokens().tokenize(text) == DefaultTokenizer().tokenize(text)
    assert rouge_tokens("今天 GPT-4 好") == ["今", "天", "gpt", "4", "好"]


def test_chinese_characters_are_words_to_rouge() -> None:
    assert scores()([3])["rougeL"] == pytest.approx(2 * 1.0 * (5 / 6) / (1.0 + 5 / 6))


@pytest.mark.parametrize("drawn", [[0, 1, 2], [1, 1, 0], [3]])
def test_bleu_and_chrf_are_those_of_sacrebleu(drawn: list[int]) -> None:
    found = scores()(drawn)
    import sacrebleu

    streams = [[some[i] if i < len(some) else None for some in (REFERENCES[k] for k in drawn)] for i in range(2)]
    texts = [TEXTS[k] for k in drawn]
    assert found["bleu"] == pytest.approx(sacrebleu.corpus_bleu(texts, streams, tokenize="zh").score)
    assert found["chrf"] == pytest.approx(sacrebleu.corpus_chrf(texts, streams).score)


def test_how_bleu_finds_words() -> None:
    assert [bleu_tokenizer(some) for some in (["a fox"], ["今天"], ["a", "今天 x"], ["今日は"])] == [
        "13a",
        "zh",
        "zh",
        "char",
    ]


def test_exact_distinct_and_copied() -> None:
    found = scores()(range(4))
    assert found["exact"] == 0.25  # white space apart, and any reference
    every = [word for text in TEXTS for word in rouge_tokens(text)]
    assert found["distinct_1"] == pytest.approx(len({*every}) / len(every))
    assert found["copied"] == pytest.approx(3 / 5)  # "the quick dog reads ... book", and two runs of Chinese
    assert found["words"] == pytest.approx(len(every) / 4)
    assert scores()([1, 1])["distinct_1"] == pytest.approx(0.5)


def test_exact_is_white_space_apart() -> None:
    """What a WordPiece tokenizer decodes has a space before every sign, and between a digit and an ideograph."""
    scores()
    right = ["天气很好，走。", "2023年", "don't [go]", "a fox", "ab"]
    made = ["天气很好 ， 走 。", "2023 年", "don ' t [ go ]", "a dog", "a b c"]
    found = TextScores(made, [["no", text] for text in right], made)
    assert [found([i])["exact"] for i in range(5)] == [1, 1, 1, 0, 0]
    judged = [
        _answer(text, True, JudgePrompt("0", (), references=("no", one))).exact
        for text, one in zip(made, right, strict=True)
    ]
    assert judged == [True, True, True, False, False]


def test_nothing_written_is_scored() -> None:
    scores()
    found = TextScores(["", ""], [["a fox"], ["dog"]], ["a", "b"])([0, 1])
    assert {found[name] for name in ("rougeL", "bleu", "exact", "copied", "distinct_1", "words")} == {0.0}


def test_the_metric_of_a_preset_comes_first() -> None:
    scores()
    for name, metric in {"summarise": "rougeL", "translate": "chrf", "question-generation": "rougeL"}.items():
        task = task_named(name)
        assert task.metric == metric
        assert next(iter(task.score([example("a", "b")], [{"text": "b"}], HEAD))) == metric


def test_no_example_keeps_its_source() -> None:
    sources = ["a", "b", "b", "c", "d", "b"]
    found = shuffles(sources, 5)
    assert found and all(sorted(place) == [*range(6)] for place in found)
    assert all(sources[i] != sources[j] for place in found for i, j in enumerate(place))
    assert shuffles(["a", "a", "b"], 5) == [] and shuffles(["a"], 5) == [] and shuffles([], 5) == []
    assert [*map(sorted, shuffles(["a", "b"], 5))] == [[0, 1]]


def test_a_model_that_ignores_its_source_is_told_from_one_that_uses_it() -> None:
    scores()
    names = "fox dog book day night hill".split()
    examples = [example(f"a {name}", f"the {name}") for name in names]
    used = source_use("rougeL", examples, [{"text": f"the {name}"} for name in names])
    assert used is not None and not used.ignored and used.own == 1.0 and used.shuffled == pytest.approx(0.5)
    ignored = source_use("rougeL", examples, [{"text": "the fox"} for _ in names])
    assert ignored is not None and ignored.ignored and ignored.own == pytest.approx(ignored.shuffled)
    assert "with its own sources" in str(ignored)
    assert source_use("rougeL", examples[:1], [{"text": "the fox"}]) is None
