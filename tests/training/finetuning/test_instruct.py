"""Models that are taught instructions: by every objective, on answers alone, in a template that transformers reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

import bothways
from bothways.batch import Sample
from bothways.cli import app
from bothways.errors import DataError, Stopped, UsageError
from bothways.evaluation.judging.answers import answered
from bothways.evaluation.judging.prompts import read_prompts
from bothways.inference.conversation import Conversation
from bothways.model.losses import plain_loss
from bothways.tasks.packing import pack
from bothways.text import Tokenizer
from bothways.text.conversation import conversation
from bothways.training import fit, loop
from bothways.training.finetuning import FinetuneConfig, evaluate, finetune, finetune_multitask, predict
from bothways.training.finetuning.setup import set_up
from bothways.training.finetuning.writing import WRITING_OBJECTIVES, turns_of
from bothways.training.processes import processes
from bothways.training.run_folder import RunFolder
from tests.conftest import Once
from tests.inference.made import make_run
from tests.tasks.conftest import write
from tests.tasks.test_mixture import mixture
from tests.text.test_conversation import LLAMA3
from tests.training.finetuning.test_writing import NAMES
from tests.training.finetuning.together import one_task, several

pytest.importorskip("rouge_score")
pytest.importorskip("sacrebleu")
transformers = pytest.importorskip("transformers")


def turn(first: str, second: str) -> list[dict[str, str]]:
    """The first of two words is the answer."""
    return [{"role": "user", "content": f"{first} {second}"}, {"role": "assistant", "content": first}]


def talks(count: int = 48) -> list[dict[str, Any]]:
    """Every third has two turns, every fourth is told something before."""
    found = []
    for number in range(count):
        first, second = NAMES[number % 8], NAMES[(number // 8 + number + 1) % 8]
        told = [{"role": "system", "content": "reading"}] if number % 4 == 0 else []
        again = turn(second, first) if number % 3 == 0 else []
        found.append({"id": number, "messages": [*told, *turn(first, second), *again]})
    return found


def config(folder: Path, body: Path | str, **changes: Any) -> FinetuneConfig:
    folder.mkdir(parents=True, exist_ok=True)
    train = write(folder / "train.jsonl", *talks())
    values = {
        "model": str(body),
        "task": "instruct",
        "train": train,
        "dev": train,
        "out": folder / "run",
        "precision": "fp32",
        "epochs": 6,
        "batch": 8,
        "learning_rate": 3e-3,
        "target_length": 6,
        "dev_generated": 8,
    }
    return FinetuneConfig(**{**values, **changes})


@pytest.fixture(scope="session", params=[*WRITING_OBJECTIVES])
def taught(request: pytest.FixtureRequest, once: Once, body: Path) -> Path:
    return once(f"instruct-{request.param}", lambda folder: finetune(config(folder, body, objective=request.param)))


@pytest.fixture(scope="session")
def causal(once: Once, body: Path) -> Path:
    return once("instruct-causal", lambda folder: finetune(config(folder, body, objective="causal")))


ASKED = [
    [{"role": "user", "content": "quick brown"}],
    [*turn("dog", "fox"), {"role": "user", "content": "small model"}],
    [{"role": "system", "content": "reading"}, {"role": "user", "content": "learns quick"}],
]


def test_it_learns_and_answers_the_same_however_it_is_asked(taught: Path, tmp_path: Path) -> None:
    lines = [line for line in RunFolder(taught).lines() if line["kind"] == "validation"]
    assert lines[-1]["loss"] < 0.8 * lines[0]["loss"]
    model = bothways.load(taught, device="cpu")
    answers = [model.chat(one).text for one in ASKED]
    assert ["".join(model.stream_chat(one)) for one in ASKED] == answers
    assert [one["text"] for one in model.predict("instruct", ASKED)] == answers
    assert model.generate("quick brown").text == model.predict("instruct", ["quick brown"])[0]["text"] == answers[0]
    said = CliRunner().invoke(app, ["chat", str(taught), "quick brown", "--device", "cpu"], catch_exceptions=False)
    assert said.stdout.strip() == answers[0].strip()  # greedy, as it was taught
    file = write(tmp_path / "asked.jsonl", *({"messages": one} for one in ASKED))
    found = list(predict(taught, file, device="cpu"))
    assert [one["messages"][:-1] for one in found] == ASKED  # what follows may be computed in other numbers
    assert all(one["messages"][-1]["role"] == "assistant" and "logprob" in one for one in found)
    judged = answered("it", model, read_prompts(file), None)
    assert (judged.way, [one.text for one in judged.answers]) == ("chat", [one.strip() for one in answers])
    folder, *_ = model.save(tmp_path / "again")
    assert [bothways.load(folder, device="cpu").chat(one).text for one in ASKED] == answers


def test_the_card_says_how_messages_are_answered(taught: Path) -> None:
    """What it says for transformers runs there."""
    card = (taught / "model" / "README.md").read_text()
    (code, *_) = (part.split("```")[0] for part in card.split("```python\n")[1:])
    if "writing needs Bothways" in card:
        assert "model.chat([{" in code
    else:
        assert "apply_chat_template" in code
    exec(code.replace("path/to/this/folder", str(taught / "model")), {})


def test_a_causal_model_answers_in_transformers(causal: Path) -> None:
    folder = causal / "model"
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    assert type(theirs).__name__ == "LlamaForCausalLM" and (folder / "chat_template.jinja").is_file()
    ours = bothways.load(causal, device="cpu")
    for messages in ASKED:
        given = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt")
        made = theirs.generate(**given)[0, given["input_ids"].shape[1] :]
        assert tokenizer.decode(made, skip_special_tokens=True).strip() == ours.chat(messages).text
        assert made[-1] == ours.engine.writes.end or len(made) == ours.engine.writes.target


def test_a_models_own_template_is_kept_and_its_turns_end_texts(once: Once, tmp_path: Path) -> None:
    """What ends a turn there ended no text before."""
    body = make_run(tmp_path / "body", kind="wordpiece")
    own = Tokenizer.load(body)
    template = LLAMA3.replace("<|im_start|>", "[CLS]").replace("<|im_end|>", "[PAD]").replace("<s>", "")
    for folder in body.iterdir():
        if folder.is_dir():
            (folder / "chat_template.jinja").write_text(template)
    run = finetune(config(tmp_path, body, objective="causal", epochs=1), device="cpu")
    pad = own.vocabulary.pad
    assert (run / "model" / "chat_template.jinja").read_text() == template
    told = json.loads((run / "model" / "generation_config.json").read_text())
    assert set(told["eos_token_id"]) == {own.vocabulary.sep, pad}
    writes = bothways.load(run, device="cpu").engine.writes
    assert writes is not None and writes.end == pad and writes.chat


def parts_of(told: FinetuneConfig, **changes: Any) -> Any:
    with processes(device="cpu") as team:
        return set_up(told.model_copy(update=changes), team, resume=False)


def loss_of(run: Any, samples: list[Sample]) -> float:
    """Summed over all targets."""
    with torch.no_grad():
        losses = plain_loss(run.model.eval(), pack(samples).batch)
    return float(sum(total for total, _ in losses.values()))


def test_packed_conversations_leak_nothing(body: Path, tmp_path: Path) -> None:
    """Packed into rows they lose what each loses alone, and a conversation what its answers lose one by one."""
    run = parts_of(config(tmp_path, body, objective="causal"))
    drawn = [run.drawn(0, number, 0.0)[0] for number in range(24)]
    together, alone = loss_of(run, drawn), sum(loss_of(run, [one]) for one in drawn)
    assert pack(drawn).batch.tokens.shape[0] < len(drawn)
    assert together == pytest.approx(alone, rel=1e-5)
    turns = [one for number in range(24) for one in turns_of(run.parts[number][0], 6)]
    assert len(turns) == 24 + 8
    each = [run.draw.objective.sample(_row(run, one), np.random.default_rng(0), 0.0) for one in turns]
    assert sum(loss_of(run, [one]) for one in each) == pytest.approx(alone, rel=1e-5)


def _row(run: Any, sample: Sample) -> Any:
    from bothways.training.finetuning.writing import row_of

    return row_of(sample, run.tokenizer, run.draw.writes)


@pytest.mark.parametrize("way", WRITING_OBJECTIVES)
def test_answers_alone_are_targets(way: str, body: Path, tmp_path: Path) -> None:
    """Of each conversation the tokens of its answers, each with the one that ends its turn, and no others."""
    run = parts_of(config(tmp_path, body, objective=way))
    wanted = conversation(run.tokenizer, talks(1)[0]["messages"])
    answers = [wanted.tokens[begin:end] for begin, end in wanted.answers]
    assert len(answers) == 2
    labels: list[int] = []
    for epoch in range(30):
        drawn = run.drawn(epoch, 0, 0.5)
        assert len(drawn) == (1 if way == "causal" else 2)
        labels += [int(label) for one in drawn for target in one.targets for label in target.labels]
    assert {*labels} == {token for answer in answers for token in answer}
    (sample,) = run.parts[0]
    said = np.asarray(sample.layout.segment) > 0
    assert sample.tokens[said].tolist() == [token for answer in answers for token in answer]
    assert sample.targets[0].labels.tolist() == sample.tokens[said].tolist()
    assert (sample.tokens[np.asarray(sample.targets[0].at) + 1] == sample.targets[0].labels).all()


def test_the_page_shows_what_is_taught(causal: Path) -> None:
    told = RunFolder(causal).manifest()["conversation"]
    assert [taught for _, taught in told] == [False, True, False, True]
    assert told[0][0].startswith("[CLS]") and told[1][0].endswith("[SEP]") and "quick" in told[1][0]
    page = (causal / "report.html").read_text()
    assert "What is taught of a conversation" in page and f"<mark>{told[1][0]}</mark>" in page


def test_what_is_too_long_is_cut_and_counted(causal: Path, tmp_path: Path) -> None:
    """The oldest turns go first; of an answer as much is taught as the model writes."""
    long = [message for number in range(30) for message in turn(NAMES[number % 8], "fox")]
    run = parts_of(
        config(tmp_path, RunFolder(causal).config(FinetuneConfig).model, objective="causal"),
        train=write(tmp_path / "a.jsonl", {"messages": long}, {"messages": turn("quick " * 9, "dog")}),
        out=tmp_path / "cut",
    )
    first, second = (parts[0] for parts in run.parts)
    assert first.cut and len(first) <= run.length and first.tokens[0] == run.tokenizer.vocabulary.cls
    assert second.cut and int(np.asarray(second.layout.segment).sum()) == run.data.head.writes.target == 6
    assert RunFolder(tmp_path / "cut").manifest()["truncated"]["train"] == 2
    with pytest.warns(UserWarning, match="the messages are too long for the model: .* tokens are left out"):
        bothways.load(causal, device="cpu").chat(long[:-1])


@pytest.mark.parametrize("objective", ["causal", "diffusion"])
def test_a_stop_changes_nothing(objective: str, body: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = config(tmp_path, body, objective=objective, epochs=2)
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


def test_instructions_beside_another_task(body: Path, tmp_path: Path) -> None:
    """One model that answers messages, and tells moods."""
    train = write(tmp_path / "talks.jsonl", *talks())
    own = {"name": "talk", "task": "instruct", "train": str(train), "dev": str(train), "target_length": 6}
    run = finetune_multitask(several(tmp_path, body, one_task(tmp_path, "mood"), own, epochs=1), device="cpu")
    model = bothways.load(run, device="cpu")
    assert model.classify("a quick fox").label and model.chat(ASKED[0]) == model.chat(ASKED[0], head="talk")
    assert model.chat(ASKED[0]).text == model.predict("instruct", [ASKED[0]])[0]["text"]
    greedy = bothways.GenerationOptions(temperature=0.0, max_new_tokens=6)
    talk = Conversation(model, greedy)
    assert "".join(talk.ask(ASKED[0][-1]["content"])) == model.chat([ASKED[0][-1]], greedy).text


def test_it_is_judged_by_its_template(causal: Path, tmp_path: Path) -> None:
    """Messages of several turns are asked as `chat` asks them, and their last answer has a likelihood."""
    asked = write(tmp_path / "asked.jsonl", *talks(6))
    (run,) = bothways.judge({"mine": causal}, prompts=asked, device="cpu").runs
    model = bothways.load(causal, device="cpu")
    assert run.way == "chat" and (run.references[:, 1] > 0).all()
    assert [one.text for one in run.answers] == [model.chat(one["messages"][:-1]).text.strip() for one in talks(6)]


def test_evaluating_scores_the_last_answer(causal: Path, tmp_path: Path) -> None:
    asked = [{"messages": one["messages"][-2:-1]} for one in talks(16)]
    found = predict(causal, write(tmp_path / "asked.jsonl", *asked), device="cpu")
    right = [{"messages": one["messages"]} for one in found if one["messages"][-1]["content"]]
    assert len(right) > 8
    scores = evaluate(causal, write(tmp_path / "a.jsonl", *right), device="cpu")
    assert scores["exact"] == 1.0 and scores["examples"] == len(right)
    assert scores["shuffled_source"]["own"] == scores["rougeL"]


def test_what_cannot_be_taught_is_said_first(body: Path, causal: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="prefix: instruct has none; .* is a message of the system"):
        finetune(config(tmp_path / "a", body, prefix="Be brief: "), device="cpu")
    told = config(tmp_path / "b", body)
    bad = write(tmp_path / "bad.jsonl", *talks(2), {"messages": [*turn("a", "b"), *turn("a", "b")[1:]]})
    with pytest.raises(DataError, match="bad.jsonl, line 3: field 'messages': expected message 3 to be of user"):
        finetune(replace_train(told, bad), device="cpu")
    open_ended = write(tmp_path / "open.jsonl", {"messages": turn("a", "b")[:1]})
    with pytest.raises(DataError, match="open.jsonl, line 1: .*ends with an answer of the assistant, got .* user"):
        finetune(replace_train(told, open_ended), device="cpu")
    for say in (None, 3, [], [{"role": "assistant", "content": "a"}], turn("a", "b")):
        with pytest.raises(UsageError, match="instruct: expected"):
            bothways.load(causal, device="cpu").predict("instruct", [say])


def replace_train(told: FinetuneConfig, file: Path) -> FinetuneConfig:
    return told.model_copy(update={"train": file, "dev": file})


def test_a_template_that_refuses_a_record_names_its_line(tmp_path: Path) -> None:
    body = make_run(tmp_path / "body", kind="wordpiece")
    refuses = "{% if messages[0].role == 'system' %}{{ raise_exception('no system here') }}{% endif %}"
    template = refuses + "[CLS]{% for m in messages %}{{ m.content }}[SEP]{% endfor %}"
    for folder in body.iterdir():
        if folder.is_dir():
            (folder / "chat_template.jinja").write_text(template)
    told = config(tmp_path, body, objective="causal", epochs=1)
    with pytest.raises(DataError, match=r"train.jsonl, line 1: .*refuses these messages \(system, .*no system here"):
        finetune(told, device="cpu")
    run = finetune(told.model_copy(update={"skip_bad": True}), device="cpu")
    assert len(RunFolder(run).manifest()["skipped"]) >= 12


def test_tasks_that_are_held_out_are_measured_before_and_after(
    body: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = config(
        tmp_path, body, train=mixture(tmp_path / "mix"), dev=None, dev_share=0.2, objective="causal", epochs=2
    )
    straight = finetune(told, device="cpu")
    found = RunFolder(straight).manifest()["held_out"]
    assert [*found] == ["asked"] and found["asked"]["examples"] == 5
    assert {"rougeL", "exact"} <= {*found["asked"]["before"]} == {*found["asked"]["after"]}
    scores = evaluate(straight, told.train, device="cpu")
    assert {**scores["tasks"]["asked"].scores} == found["asked"]["after"] and scores["tasks"]["asked"]["examples"] == 5
    page = (straight / "report.html").read_text()
    assert "Tasks that were held out" in page and "asked, before (5)" in page
    again = told.model_copy(update={"out": tmp_path / "again"})
    real = loop.train

    def stopping(work: Any, **given: Any) -> Any:
        given["stop"] = lambda: given["state"].step >= 2
        return real(work, **given)

    with monkeypatch.context() as changed:
        changed.setattr(fit, "train", stopping)
        with pytest.raises(Stopped):
            finetune(again, device="cpu")
    finetune(again, resume=True, device="cpu")
    assert RunFolder(tmp_path / "again").manifest()["held_out"] == found
