"""Models that are taught to write: by every objective they learn, are saved, and write the same when read again."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import bothways
from bothways.batch import Batch
from bothways.errors import ModelError, Stopped, UsageError
from bothways.inference.decoding.options import GenerationOptions
from bothways.model import Abilities
from bothways.tasks import task_named
from bothways.tasks.task import Example
from bothways.training import fit, loop
from bothways.training.finetuning import FinetuneConfig, evaluate, finetune, finetune_seeds, predict
from bothways.training.finetuning.writing import WRITING_OBJECTIVES, row_of, writer_of
from bothways.training.run_folder import RunFolder
from tests.conftest import Once
from tests.inference.made import SEQ2SEQ, make_run
from tests.tasks.conftest import write

pytest.importorskip("rouge_score")
pytest.importorskip("sacrebleu")
transformers = pytest.importorskip("transformers")

NAMES = "quick brown fox dog small model learns reading".split()
TAUGHT = [*WRITING_OBJECTIVES]


def pairs(count: int = 48) -> list[dict[str, Any]]:
    """The first of two words is the target."""
    found = []
    for number in range(count):
        first, second = NAMES[number % 8], NAMES[(number // 8 + number + 1) % 8]
        found.append({"id": number, "source": f"{first} {second}", "target": first})
    return found


def config(folder: Path, body: Path | str, **changes: Any) -> FinetuneConfig:
    folder.mkdir(parents=True, exist_ok=True)
    train = write(folder / "train.jsonl", *pairs())
    values = {
        "model": str(body),
        "task": "text2text",
        "train": train,
        "dev": train,
        "out": folder / "run",
        "precision": "fp32",
        "epochs": 3,
        "batch": 8,
        "learning_rate": 3e-3,
        "target_length": 6,
        "dev_generated": 8,
    }
    return FinetuneConfig(**{**values, **changes})


@pytest.fixture(scope="session", params=TAUGHT)
def writer(request: pytest.FixtureRequest, once: Once, body: Path) -> Path:
    return once(f"writer-{request.param}", lambda folder: finetune(config(folder, body, objective=request.param)))


@pytest.fixture(scope="session")
def causal(once: Once, body: Path) -> Path:
    return once("writer-causal", lambda folder: finetune(config(folder, body, objective="causal")))


SOURCES = ["quick brown", "dog reading fox", "small"]


def test_it_learns_is_saved_and_writes_the_same_when_read_again(writer: Path, tmp_path: Path) -> None:
    lines = [line for line in RunFolder(writer).lines() if line["kind"] == "validation"]
    assert lines[-1]["loss"] < 0.8 * lines[0]["loss"]
    model = bothways.load(writer, device="cpu")
    before = [one.text for one in model.generate(SOURCES)]
    folder, *_ = model.save(tmp_path / "again")
    again = bothways.load(folder, device="cpu")
    assert [one.text for one in again.generate(SOURCES)] == before
    asked = write(tmp_path / "in.jsonl", *({"source": source} for source in SOURCES))
    assert [one["target"] for one in predict(writer, asked, device="cpu")] == before
    assert all("logprob" in one and "others" not in one for one in predict(writer, asked, device="cpu"))


def test_what_it_can_do_is_saved_with_it(writer: Path) -> None:
    told = Abilities.from_json(json.loads((writer / "model" / "bothways.json").read_text()))
    name = told.objective.partition("(")[0]
    assert told.writer is not None and told.writer.writes is not None and told.writer.writes.target == 6
    values = json.loads((writer / "model" / "config.json").read_text())
    card = (writer / "model" / "README.md").read_text()
    assert told.objective in card
    if name == "causal":
        assert values["architectures"] == ["LlamaForCausalLM"] and told.faces == ("decoder",)
    elif name == "seq2seq":
        assert values["architectures"] == ["T5GemmaForConditionalGeneration"] and "no code of ours" in card
    else:
        assert values["architectures"] == ["EuroBertModel"] and told.faces == ()
        assert "writing needs Bothways" in card
    manifest = RunFolder(writer).manifest()
    assert manifest["objective"] == {"name": told.objective, "why": "asked for"}


@torch.no_grad()
def logprob_as_taught(writer: Path, expression: str, source: str, target: list[int]) -> float:
    """The sum over the target, its end counted, where an objective predicts all of it."""
    settings = RunFolder(writer).config(FinetuneConfig)
    task = task_named("text2text")
    settings = settings.model_copy(update={"model": str(writer), "objective": expression})
    made = writer_of(settings, task, task.head([], reads="encoder"))
    writes, tokenizer = made.head.writes, made.tokenizer
    (sample,) = task.encode(Example(0, (source,), None, ""), tokenizer, made.head, length=made.length)
    tokens = np.append(sample.tokens, [*target, writes.end]).astype(np.int32)
    part = np.arange(len(tokens)) >= len(sample)
    whole = replace(sample, tokens=tokens, layout=replace(sample.layout, segment=part.astype(np.int32)))
    drawn = made.setup.objective.sample(row_of(whole, tokenizer, writes), np.random.default_rng(0), 0.0)
    batch = Batch.stack([drawn])
    (words,) = batch.targets
    assert words.labels.tolist() == [*target, writes.end]
    logits = made.model.eval().logits(made.model.hidden_at(batch)[0])
    return float(logits.log_softmax(-1).gather(1, words.labels[:, None]).sum())


@pytest.mark.parametrize(
    ("name", "expression"),
    [
        *((name, name) for name in ("causal", "prefix")),
        ("unilm2", "unilm2(rate=1, pairs=target)"),
        ("mass", "mass(pairs=target)"),
        ("bang", "bang(streams=1, together=1)"),
        ("bang(streams=1)", "bang(streams=1)"),
    ],
)
def test_what_it_writes_is_as_likely_as_it_was_taught(name: str, expression: str, once: Once, body: Path) -> None:
    run = once(f"writer-{name}", lambda folder: finetune(config(folder, body, objective=name)))
    model = bothways.load(run, device="cpu")
    ended = [
        (source, one)
        for source in SOURCES
        if (one := model.generate(source, remove_repeats=False)).finish_reason == "stop"
    ]
    assert ended
    for source, one in ended:
        assert one.logprob == pytest.approx(logprob_as_taught(run, expression, source, [*one.tokens]), abs=1e-4)


@pytest.mark.parametrize(
    "options", [{}, {"num_beams": 3}, {"min_new_tokens": 3}, {"num_beams": 2, "min_new_tokens": 4}]
)
def test_a_causal_writer_is_transformers_own(causal: Path, options: dict[str, Any]) -> None:
    theirs = transformers.AutoModelForCausalLM.from_pretrained(causal / "model").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(causal / "model")
    ours = bothways.load(causal, device="cpu")
    for source in SOURCES:
        given = tokenizer(source, return_tensors="pt")
        found = theirs.generate(**given, **options, length_penalty=0.0, early_stopping="num_beams" in options)[
            0, given.input_ids.shape[1] :
        ]
        text = tokenizer.decode(found, skip_special_tokens=True).strip()
        assert ours.generate(source, **options, length_penalty=0.0).text == text


@pytest.fixture(scope="session")
def opinionated(once: Once) -> Path:
    """An encoder-decoder with large random weights, hardly changed by steps of no size: it writes long texts, whose
    tokens are far from being as likely as others."""

    def make(folder: Path) -> Path:
        body = make_run(folder / "body", SEQ2SEQ, kind="wordpiece", decoder=2, seed=1)
        return finetune(config(folder, body, objective="seq2seq", epochs=1, learning_rate=1e-9, target_length=12))

    return once("opinionated", make)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"no_repeat_ngram_size": 2},
        {"num_beams": 3},
        {"num_beams": 3, "no_repeat_ngram_size": 1},
        {"num_beams": 4, "min_new_tokens": 5},
    ],
)
def test_an_encoder_decoder_is_transformers_own(options: dict[str, Any], opinionated: Path) -> None:
    theirs = transformers.AutoModelForSeq2SeqLM.from_pretrained(opinionated / "model").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(opinionated / "model")
    ours = bothways.load(opinionated, device="cpu")
    more = {"length_penalty": 0.0, "early_stopping": True} if "num_beams" in options else {}
    length = {"length_penalty": 0.0} if more else {}
    found = [ours.generate(source, **options, **length) for source in SOURCES]
    for source, mine in zip(SOURCES, found, strict=True):
        tokens = theirs.generate(**tokenizer(source, return_tensors="pt"), **options, **more)[0].tolist()
        assert [*mine.tokens] == [token for token in tokens if token not in tokenizer.all_special_ids]
    assert all(len(one.tokens) > 4 for one in found)
    assert not options or [one.tokens for one in found] != [ours.generate(source).tokens for source in SOURCES]


def test_an_encoder_decoder_begins_with_the_layers_that_are_asked_for(body: Path, tmp_path: Path) -> None:
    told = config(tmp_path, body, objective="seq2seq", epochs=1, decoder_layers=1, encoder_rate=0.1)
    model = bothways.load(finetune(told, device="cpu"), device="cpu").engine.model
    assert model.config.decoder is not None and model.config.decoder.layers == 1
    run = tmp_path / "run"
    with pytest.raises(ModelError, match="is an encoder-decoder, which is taught to write by seq2seq, not by causal"):
        finetune(config(tmp_path / "other", run, objective="causal"), device="cpu")
    with pytest.raises(UsageError, match="decoder_layers is 2, and the model has a decoder of 1"):
        finetune(config(tmp_path / "third", run, decoder_layers=2), device="cpu")
    with pytest.raises(UsageError, match="encoder_rate is for encoder-decoders"):
        finetune(config(tmp_path / "fourth", body, objective="prefix", encoder_rate=0.1), device="cpu")


@pytest.mark.parametrize("objective", ["unilm1", "diffusion"])
def test_a_stop_at_any_step_changes_nothing(
    objective: str, body: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is hidden is drawn from the epoch and the example, so it is the same whenever the epoch is trained."""
    told = config(tmp_path, body, objective=objective, epochs=2, label_smoothing=0.1)
    straight = finetune(told.model_copy(update={"out": tmp_path / "straight"}), device="cpu")

    def stopping(work: Any, **given: Any) -> Any:
        given["stop"] = lambda: given["state"].step >= 9
        return loop.train(work, **given)

    monkeypatch.setattr(fit, "train", stopping)
    with pytest.raises(Stopped, match="stopped after step 9 and saved"):
        finetune(told, device="cpu")
    monkeypatch.setattr(fit, "train", loop.train)
    finetune(told, resume=True, device="cpu")
    found, expected = (load_file(run / "model" / "model.safetensors") for run in (told.out, straight))
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("task", ["summarise", "translate"])
def test_a_preset_has_a_method_of_its_name(task: str, body: Path, tmp_path: Path) -> None:
    model = bothways.load(finetune(config(tmp_path, body, task=task, epochs=1), device="cpu"), device="cpu")
    assert getattr(model, task)("quick brown") == model.generate("quick brown")
    assert [one.text for one in getattr(model, task)(SOURCES)] == [one.text for one in model.generate(SOURCES)]
    assert "".join(model.stream("quick brown")) == model.generate("quick brown").text
    other = {"summarise": "translate", "translate": "summarise"}[task]
    with pytest.raises(ModelError, match=f"was fine-tuned to {task}, not to {other}"):
        getattr(model, other)("quick brown")


def test_several_texts_for_a_source(causal: Path) -> None:
    model = bothways.load(causal, device="cpu")
    one = model.generate("quick brown", num_beams=3, num_return_sequences=3)
    assert one.text == model.generate("quick brown", num_beams=3).text and len(one.others) == 2
    assert len({one.tokens, *(other.tokens for other in one.others)}) == 3
    drawn = model.generate(SOURCES[:2], temperature=5.0, num_return_sequences=4, seed=1)
    assert [len(some.others) for some in drawn] == [3, 3] and len({some.text for some in drawn[0].others}) > 1
    assert model.generate(SOURCES[:2], temperature=5.0, num_return_sequences=4, seed=1) == drawn
    assert model.generate("quick", options=GenerationOptions(temperature=0, max_new_tokens=2)).finish_reason
    with pytest.raises(UsageError, match="num_return_sequences 4 is more texts than there are"):
        model.generate("quick", num_return_sequences=4)


def test_the_least_length_and_the_first_token(causal: Path) -> None:
    model = bothways.load(causal, device="cpu")
    (first,) = model.tokenizer.encode("dog")
    for options in ({}, {"num_beams": 2}):
        found = model.generate(SOURCES, min_new_tokens=4, forced_bos_token_id=first, **options)
        assert all(one.tokens[0] == first and len(one.tokens) >= 4 for one in found)
    with pytest.raises(UsageError, match="min_new_tokens 9 is more than max_new_tokens 6"):
        model.generate("quick", min_new_tokens=9)


def test_words_that_come_twice_in_a_row_are_written_once_by_bang(once: Once, body: Path) -> None:
    run = once("writer-bang", lambda folder: finetune(config(folder, body, objective="bang")))
    model = bothways.load(run, device="cpu")
    for source in ("quick quick", "fox learns small", "reads"):
        tokens = model.generate(source).tokens
        assert all(one != other for one, other in itertools.pairwise(tokens))


def test_a_source_that_is_too_long_is_cut_and_counted(causal: Path, tmp_path: Path) -> None:
    long = "quick brown dog " * 40
    with pytest.warns(UserWarning, match=r"cut to the \d+ tokens of a source that the model reads: 1 of 2"):
        bothways.load(causal, device="cpu").generate([long, "quick"])
    file = write(tmp_path / "a.jsonl", {"source": long, "target": "quick"}, {"source": "dog", "target": "dog"})
    assert evaluate(causal, file, device="cpu")["truncated"] == 1
    assert [one.get("truncated", 0) > 0 for one in predict(causal, file, device="cpu")] == [True, False]


def test_several_references_the_best_counts(causal: Path, tmp_path: Path) -> None:
    text = bothways.load(causal, device="cpu").generate("quick brown").text
    records = [{"source": "quick brown", "target": ["no such", text]}, {"source": "dog fox", "target": ["x"]}]
    assert evaluate(causal, write(tmp_path / "a.jsonl", *records), device="cpu")["exact"] >= 0.5


def test_evaluate_says_whether_the_source_is_used(causal: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", *pairs())
    found = evaluate(causal, file, device="cpu", num_beams=2)
    use = found["shuffled_source"]
    assert use["metric"] == "rougeL" and use["own"] == found["rougeL"] and use["low"] <= use["high"]
    nonsense = [{**one, "target": "model"} for one in pairs()]  # whatever the source, one text is right
    train = write(tmp_path / "same.jsonl", *nonsense)
    run = finetune(config(tmp_path / "same", RunFolder(causal).config(FinetuneConfig).model, train=train, dev=train))
    told = evaluate(run, train, device="cpu")
    assert told["shuffled_source"]["ignored"]
    assert any("the model ignores its source" in line for line in told["warnings"])
    alone = evaluate(causal, write(tmp_path / "one.jsonl", pairs()[0]), device="cpu")
    assert alone["shuffled_source"] is None and any("is not known" in line for line in alone["warnings"])


def test_the_page_shows_the_best_and_the_worst(causal: Path) -> None:
    page = (causal / "report.html").read_text()
    for text in ("The best", "The worst", "reference", "Source use", "ROUGE-L", "asked for", "quick brown"):
        assert text in page


def test_runs_of_several_seeds(body: Path, tmp_path: Path) -> None:
    means = finetune_seeds(config(tmp_path, body, epochs=1), 2, device="cpu")
    assert len(means["dev"]["rougeL"]["values"]) == 2
    assert bothways.load(tmp_path / "run", device="cpu").generate("quick brown").finish_reason
