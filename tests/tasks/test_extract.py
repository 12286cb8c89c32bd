"""Extracting: the oracle is a plain greedy search on rouge-score, texts in one row do not meet, and what is predicted
is saved, read again and made of sentences that stand in the text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import bothways
from bothways.batch import Batch
from bothways.errors import DataError, ModelError, UsageError
from bothways.inference.pipeline import logits_of
from bothways.model import Model, ModelConfig, TaskHead
from bothways.model.heads.extract import ExtractHead, sines
from bothways.model.losses import plain_loss
from bothways.tasks import TASKS
from bothways.tasks.extract import Extract, Reference, encode_sentences
from bothways.tasks.packing import pack
from bothways.tasks.reading import read_examples
from bothways.tasks.records import refuse
from bothways.tasks.rouge import ngram_f1, ngrams, rouge_tokens
from bothways.tasks.sentence_choice import centralities, greedy_oracle, highest
from bothways.tasks.task import Example
from bothways.training.finetuning import evaluate, finetune, predict
from tests.inference.made import make_run, tokenizer
from tests.tasks.conftest import config, write

rouge_scorer = pytest.importorskip("rouge_score.rouge_scorer")
HEAD = TaskHead("extract", "extract", ("yes",), "sentences", "encoder", sentences=3, trigram_blocking=True)
WORDS = ("the", "quick", "brown", "fox", "jumps", "over", "lazy", "dog", "reading", "is", "seeing")
LETTERS = "今天气很好我们去公园散步从前有一座山"


def documents(count: int, *, seed: int = 0, chinese: bool = False) -> list[tuple[list[str], str]]:
    """Sentences with a summary that takes words of some of them."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(count):
        some = [rng.choice([*LETTERS] if chinese else WORDS, rng.integers(3, 9)).tolist() for _ in range(8)]
        told = [word for number in rng.choice(8, 2, replace=False) for word in some[number] if rng.random() < 0.7]
        glue, end = ("", "。") if chinese else (" ", ".")
        found.append(([glue.join(one) + end for one in some], glue.join([*told, some[0][0]]) + end))
    return found


def records(count: int = 32) -> list[dict[str, Any]]:
    """The sentence about the dog is the summary; it stands anywhere."""
    found = []
    for number in range(count):
        sentences = ["The quick brown fox jumps.", "Reading is seeing.", f"A small model learns {number}."]
        sentences.insert(number % 4, "The lazy dog.")
        found.append({"text": " ".join(sentences), "summary": "The lazy dog."})
    return found


@pytest.fixture(scope="module")
def extractor(tmp_path_factory: pytest.TempPathFactory, body: Path) -> Path:
    folder = tmp_path_factory.mktemp("extractor")
    train = write(folder / "records.jsonl", *records())
    changes: dict[str, Any] = {"sentences": 1, "epochs": 10}
    return finetune(config(folder, body, task="extract", train=train, dev=train, test=train, **changes))


def brute_force(sentences: Sequence[str], reference: str, most: int, *, ours: bool) -> list[int]:
    own = {"tokenizer": type("Tokens", (), {"tokenize": staticmethod(rouge_tokens)})} if ours else {}
    scorer, chosen, best = rouge_scorer.RougeScorer(["rouge1", "rouge2"], **own), [], 0.0
    for _ in range(most):
        scores = {}
        for number in {*range(len(sentences))} - {*chosen}:
            found = scorer.score(reference, " ".join(sentences[i] for i in sorted([*chosen, number])))
            scores[number] = found["rouge1"].fmeasure + found["rouge2"].fmeasure
        top = max(scores, key=lambda number: (scores[number], -number))
        if scores[top] <= best:
            break
        chosen.append(top)
        best = scores[top]
    return sorted(chosen)


@pytest.mark.parametrize("chinese", [False, True])
def test_the_oracle_is_a_greedy_search_on_rouge_score(chinese: bool) -> None:
    for sentences, summary in documents(30, chinese=chinese):
        expected = brute_force(sentences, summary, 3, ours=chinese)
        assert greedy_oracle(sentences, [summary], 3) == expected and expected


def test_the_oracle_is_no_worse_than_the_first_sentences() -> None:
    some = [
        Example(i, tuple(text), Reference((summary,)), "") for i, (text, summary) in enumerate(documents(50, seed=1))
    ]
    task = Extract()
    ruled = task.baselines(some, HEAD)
    scores = {name: task.score(some, predictions, HEAD) for name, predictions in ruled.items()}
    assert set(scores) == {"Lead-3", "TF-IDF centroid", "oracle (a ceiling)"}
    value, weight = task.items(some, ruled["Lead-3"], HEAD)
    assert value.sum() / weight.sum() == pytest.approx(scores["Lead-3"]["rouge1"])
    for metric in ("rouge1", "rouge2"):
        assert scores["oracle (a ceiling)"][metric] > scores["Lead-3"][metric]
        assert scores["oracle (a ceiling)"][metric] > scores["TF-IDF centroid"][metric]


def test_of_several_summaries_the_best_counts(tmp_path: Path) -> None:
    """In the oracle that teaches, and in every score by itself."""
    text = ["The fox jumps.", "A dog reads.", "Nobody knows why it rains."]
    near, far = "A dog reads a book.", "Nobody wrote."
    assert greedy_oracle(text, [far, near], 2) == greedy_oracle(text, [near], 2) == [1]
    assert greedy_oracle(text, [far], 2) == [2]
    file = write(tmp_path / "a.jsonl", {"sentences": text, "summary": [far, near]})
    _, (example,) = read_examples(TASKS["extract"], file, skip=refuse)
    assert example.gold == Reference((far, near))
    task, said = Extract(), [{"summary": text[1]}]
    alone = replace(example, gold=Reference((near,)))
    assert task.score([example], said, HEAD) == task.score([alone], said, HEAD)
    assert task.items([example], said, HEAD)[0] == task.items([alone], said, HEAD)[0]
    (sample,) = task.encode(example, tokenizer("wordpiece"), HEAD, length=64)
    assert np.asarray(sample.targets[0].labels)[:, 0].tolist() == [0.0, 1.0, 0.0]
    mistake = task.mistake(example, said[0], HEAD)
    assert mistake is not None and mistake[1][0] == ("right", f"{far} / {near}")


def test_tokens_are_those_of_rouge_score_and_ideographs() -> None:
    theirs = pytest.importorskip("rouge_score.tokenizers").DefaultTokenizer(use_stemmer=False)
    text = 'It\'s the 3rd well-known Model_B, e.g. of 2,000: ("yes") - and no more!'
    assert rouge_tokens(text) == theirs.tokenize(text)
    assert rouge_tokens("BERT 模型，naïve हिन्दी") == ["bert", "模", "型", "naïve", "हिन्दी"]
    one, other = rouge_tokens("the fox and the dog"), rouge_tokens("the dog and a fox and the")
    found = rouge_scorer.RougeScorer(["rouge1", "rouge2"]).score(" ".join(one), " ".join(other))
    for n in (1, 2):
        assert ngram_f1(ngrams(one, n), ngrams(other, n)) == found[f"rouge{n}"].fmeasure


def test_no_run_of_three_words_is_repeated() -> None:
    rng = np.random.default_rng(0)
    for sentences, _ in documents(50, seed=2):
        chosen = highest(sentences, rng.random(8), 6, blocking=True)
        runs = [run for number in chosen for run in {*ngrams(rouge_tokens(sentences[number]), 3)}]
        assert len(runs) == len({*runs}) and chosen == sorted(chosen)
    alike = ["我们去公园散步了。", "今天我们去公园散步。", "从前有一座山。"]
    assert highest(alike, [0.9, 0.8, 0.1], 2, blocking=True) == [0, 2]
    assert highest(alike, [0.9, 0.8, 0.1], 2, blocking=False) == [0, 1]
    assert highest(["a", "b", "c"], [0.5, 0.5, 0.5], 2, blocking=True) == [0, 1]


def test_the_middle_of_a_text_is_what_its_sentences_share() -> None:
    (found,) = centralities([["the fox jumps", "the fox and the dog jump", "reading"]])
    assert found.argmin() == 2
    assert [len(one) for one in centralities([["a b", "c"], ["..."]])] == [2, 1]
    assert [one.tolist() for one in centralities([["..."]])] == [[0.0]]


@pytest.mark.parametrize("classic", [False, True])
@pytest.mark.parametrize("kind", ["extract", "extract-mean"])
def test_texts_in_one_row_do_not_meet(classic: bool, kind: str) -> None:
    own, own_head = tokenizer("wordpiece"), replace(HEAD, head=kind, name=kind)
    shape: dict[str, Any] = {"shape": "classic", "segments": 2} if classic else {}
    config = ModelConfig(
        vocabulary=own.vocabulary.size, layers=2, width=32, heads=2, inner=64, length=128, init=0.2, **shape
    )
    model = Model(config, heads={kind: own_head.factory}).eval()
    texts = [Example(i, tuple(text[:3]), None, "") for i, (text, _) in enumerate(documents(6, seed=3))]
    samples = [TASKS["extract"].encode(one, own, own_head, length=64)[0] for one in texts]
    assert len(pack(samples).batch.tokens) < len(samples)
    together = logits_of(model, samples)
    for sample, (packed,) in zip(samples, together, strict=True):
        ((alone,),) = logits_of(model, [sample])
        assert np.allclose(alone, packed, atol=1e-5)
    states = torch.randn(3, 32)
    head: Any = model.head(kind)
    moved = states.clone()
    moved[2] += 1.0
    first, second = (head.layers(one, torch.tensor([0, 0, 1])) for one in (states, moved))
    assert torch.equal(first[:2], second[:2]) and not torch.equal(first[2], second[2])
    second = head.layers(moved, torch.zeros(3, dtype=torch.int64))
    assert not torch.allclose(first[:2], second[:2])  # sentences of one text do


def test_the_loss_is_the_mean_over_sentences() -> None:
    own = tokenizer("wordpiece")
    config = ModelConfig(vocabulary=own.vocabulary.size, layers=1, width=32, heads=2, inner=64, length=64)
    model = Model(config, heads={"extract": HEAD.factory}).eval()
    example = Example(0, ("The quick fox.", "The dog.", "Reading."), Reference(("the dog",), (1,)), "")
    (sample,) = TASKS["extract"].encode(example, own, HEAD, length=64)
    ((logits,),) = logits_of(model, [sample])
    chance = 1 / (1 + np.exp(-logits[:, 0]))
    total, count = plain_loss(model, Batch.stack([sample]))["extract"]
    assert float(count) == 3
    assert float(total.detach()) == pytest.approx(-np.log([1 - chance[0], chance[1], 1 - chance[2]]).sum(), rel=1e-5)


def test_sines_are_those_of_the_paper() -> None:
    found = sines(torch.arange(3), 6)
    for place in range(3):
        for i in range(3):
            angle = place / 10_000 ** (2 * i / 6)
            assert float(found[place, 2 * i]) == pytest.approx(np.sin(angle), abs=1e-6)
            assert float(found[place, 2 * i + 1]) == pytest.approx(np.cos(angle), abs=1e-6)
    assert sines(torch.arange(2), 5).shape == (2, 5)


def test_every_sentence_has_a_frame_and_segments_take_turns(tmp_path: Path) -> None:
    run = make_run(tmp_path / "classic", kind="wordpiece", classic=True, segments=2)
    own = bothways.load(run, device="cpu").tokenizer
    found = encode_sentences(own, ["the fox", "the dog", "over"], length=64)
    cls, sep = own.vocabulary.cls, own.vocabulary.sep
    assert (found.tokens[found.at] == [cls, sep]).all() and (found.tokens == sep).sum() == 3
    assert found.tokens[-1] == sep and found.of.tolist() == [0, 1, 2]
    assert np.array_equal(found.segments, np.cumsum(found.tokens == cls).astype(int) % 2 == 0)
    own = bothways.load(make_run(tmp_path / "modern", kind="wordpiece"), device="cpu").tokenizer
    assert not encode_sentences(own, ["the fox", "the dog"], length=64).segments.any()


def test_sentences_beyond_what_is_read_are_cut_and_counted() -> None:
    own, sentences = tokenizer("wordpiece"), ["the fox", "the lazy dog jumps", "over", "the dog"]
    sizes = [len(own.encode(one)) for one in sentences]
    found = encode_sentences(own, sentences, length=sizes[0] + sizes[1] + 4)
    assert len(found.at) == 2 and found.cut == sizes[2] + sizes[3]
    found = encode_sentences(own, sentences[1:], length=sizes[1] + 1)  # the first alone is too long
    assert len(found.at) == 1 and found.cut == 1 + sizes[2] + sizes[3] and len(found.tokens) == sizes[1] + 1


def test_a_model_learns_and_is_read_again(extractor: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "new.jsonl", *({"text": one["text"]} for one in records(6)))
    answers = predict(extractor, file, device="cpu")
    model = bothways.load(extractor, device="cpu")
    again = model.extract([one["text"] for one in records(6)])
    for one, other, record in zip(answers, again, records(6), strict=True):
        assert one["sentences"] == other.sentences and len(one["scores"]) == 4
        assert np.allclose(one["scores"], other.scores, atol=0.02)  # bf16 where the machine has it
        assert one["summary"] in record["text"]
    scores = evaluate(extractor, write(tmp_path / "same.jsonl", *records()), device="cpu")
    assert scores["rouge1"] > scores["baselines"]["Lead-1"]["scores"]["rouge1"] + 0.2
    low, high = scores["baselines"]["Lead-1"]["intervals"]["rouge1"]
    assert low < scores["baselines"]["Lead-1"]["scores"]["rouge1"] < high
    assert (extractor / "model" / "head.safetensors").is_file()
    card = (extractor / "model" / "README.md").read_text(encoding="utf-8")
    assert "model.extract(" in card and "head.safetensors" in card
    page = (extractor / "report.html").read_text(encoding="utf-8")
    assert "Lead-1, test" in page and "TF-IDF centroid, test" in page


def test_settings_of_the_prediction_are_saved_and_may_be_changed(extractor: Path) -> None:
    head = json.loads((extractor / "model" / "bothways.json").read_text())["heads"]["extract"]
    assert (head["sentences"], head["trigram_blocking"]) == (1, True)
    model, text = bothways.load(extractor, device="cpu"), records(1)[0]["text"]
    assert len(model.extract(text).sentences) == 1
    assert model.extract(text, sentences=4).sentences == [0, 1, 2, 3]
    assert model.extract("今天天气很好。我们走了！").summary in ("今天天气很好。", "我们走了！")
    (listed,) = model.predict("extract", [("One. Two.", "Three")])
    assert len(listed.scores) == 2
    with pytest.raises(UsageError, match="sentences is how many make up a summary, 1 or more"):
        model.extract(text, sentences=0)
    with pytest.raises(UsageError, match="expected a text with a sentence"):
        model.extract(" ")
    with pytest.warns(UserWarning, match="cut to the sentences within the 64 tokens"):
        model.extract("The quick fox. " * 40)


def test_files_are_asked_with_other_settings(extractor: Path, classifier: Path, tmp_path: Path) -> None:
    alike = "The lazy dog jumps over it. The lazy dog jumps over her."
    file = write(tmp_path / "a.jsonl", {"text": alike, "summary": "The dog jumps."})
    plain, more, all_of_it = (
        predict(extractor, file, device="cpu", **options)[0]["sentences"]
        for options in ({}, {"sentences": 2}, {"sentences": 2, "trigram_blocking": False})
    )
    assert len(plain) == len(more) == 1 and all_of_it == [0, 1]
    told = evaluate(extractor, file, device="cpu", sentences=2)
    assert "Lead-2" in told["baselines"]
    with pytest.raises(UsageError, match="sentences is how many make up a summary, 1 or more"):
        predict(extractor, file, device="cpu", sentences=0)
    with pytest.raises(UsageError, match="num_beams: options of generating are for models that write"):
        predict(extractor, file, device="cpu", sentences=1, num_beams=2)
    with pytest.raises(UsageError, match="sentences is for extract, and this model was fine-tuned to classify"):
        predict(classifier, file, device="cpu", sentences=2)


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"text": " ", "summary": "x"}, "field 'text': expected a text"),
        ({"text": [], "summary": "x"}, "field 'text': expected a text, or a list of sentences"),
        ({"text": ["One.", " "], "summary": "x"}, "field 'text': expected a text, or a list of sentences"),
        ({"text": "One.", "summary": ""}, "field 'summary': expected a text"),
        ({"text": "One.", "summary": "..."}, "field 'summary': expected a summary with a word in it"),
        ({"text": "One.", "summary": ["One.", ""]}, "field 'summary': expected a summary with a word in it, got ''"),
        ({"text": "One.", "summary": ["One.", 0]}, "expected a summary, a list of them, or one of numbers"),
        ({"text": "One. Two.", "summary": [0, 2]}, "field 'summary': expected numbers of sentences, 0 to 1, got 2"),
        ({"text": "One. Two.", "summary": [-1]}, "expected numbers of sentences, 0 to 1, got -1"),
        ({"text": "One. Two.", "summary": []}, "expected a summary, a list of them, or one of numbers of sentences"),
        (
            {"text": "One. Two.", "summary": [True]},
            "expected a summary, a list of them, or one of numbers of sentences",
        ),
    ],
)
def test_bad_records(record: dict[str, Any], said: str, tmp_path: Path) -> None:
    file = write(tmp_path / "bad.jsonl", record)
    with pytest.raises(DataError, match="line 1: ") as error:
        read_examples(TASKS["extract"], file, skip=refuse)
    assert said in str(error.value)


def test_numbers_of_sentences_are_gold(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", {"sentences": ["One.", "Two.", "Three."], "summary": [2, 0, 2]})
    _, (example,) = read_examples(TASKS["extract"], file, skip=refuse)
    assert example.gold == Reference(("One. Three.",), (0, 2)) and len(example.texts) == 3
    (sample,) = TASKS["extract"].encode(example, tokenizer("wordpiece"), HEAD, length=64)
    assert np.asarray(sample.targets[0].labels)[:, 0].tolist() == [1.0, 0.0, 1.0]
    table = tmp_path / "a.csv"
    table.write_text('article,summary\n"[""One."", ""Two.""]",[1]\n', encoding="utf-8")
    _, (example,) = read_examples(TASKS["extract"], table, skip=refuse)
    assert example.texts == ("One.", "Two.") and example.gold.sentences == (1,)


def test_a_causal_body_is_refused(tmp_path: Path, body: Path) -> None:
    train = write(tmp_path / "records.jsonl", *records(8))
    with pytest.raises(ModelError, match="extract needs a model that is bidirectional"):
        finetune(config(tmp_path, body, task="extract", train=train, dev=train, reads="decoder"))


def test_settings_of_other_tasks_are_refused(tmp_path: Path, body: Path) -> None:
    with pytest.raises(UsageError, match="sentences is for extract"):
        finetune(config(tmp_path, body, sentences=2))


def test_the_head_has_two_layers(extractor: Path) -> None:
    head: Any = bothways.load(extractor, device="cpu").engine.model.head("extract")
    assert isinstance(head, ExtractHead) and len(head.layers.blocks) == 2


def test_the_other_head_reads_the_mean_of_a_sentence() -> None:
    own, head = tokenizer("wordpiece"), replace(HEAD, head="extract-mean", name="extract-mean")
    config = ModelConfig(vocabulary=own.vocabulary.size, layers=1, width=32, heads=2, inner=64, length=64, init=0.2)
    model = Model(config, heads={head.name: head.factory}).eval()
    example = Example(0, ("The quick fox.", "The dog.", "Reading."), None, "")
    batch = Batch.stack(TASKS["extract"].encode(example, own, head, length=64))
    with torch.inference_mode():
        states, (target,) = model.states(batch)[0], batch.targets
        (found,) = (model.head(head.name).logits(one, target) for one in model.hidden_at(batch))
        ours: Any = model.head(head.name)
        means = torch.stack([states[begin : end + 1].mean(0) for begin, end in torch.as_tensor(target.at).tolist()])
        assert torch.allclose(found, ours.out(ours.layers(means, target.group)), atol=1e-5)
