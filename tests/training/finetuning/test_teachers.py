"""Teachers: the first step learns from the teacher alone, the last from the gold alone, what lies between is mixed."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from bothways.batch import Target
from bothways.errors import ModelError, UsageError
from bothways.model import TaskHead
from bothways.model.losses import plain_loss
from bothways.tasks.answer import encode_question
from bothways.training.finetuning import FinetuneConfig, finetune, finetune_multitask
from bothways.training.finetuning.multitask_batches import multitask_batches
from bothways.training.finetuning.multitask_setup import MultiTaskRun, set_up_multitask
from bothways.training.finetuning.teachers import Teacher, _soft, share_of_gold
from bothways.training.finetuning.tuned import Tuned
from bothways.training.run_folder import RunFolder
from tests.conftest import Once
from tests.inference.made import tokenizer
from tests.tasks.conftest import write
from tests.training.finetuning.together import LEARNING, answers, one_task, several
from tests.training.small import ALONE

TAUGHT = ("mood", "kinds", "stars", "names", "who")


@pytest.fixture(scope="session")
def teachers(once: Once, body: Path) -> Path:
    """{name}/: a run of each task alone."""

    def make(folder: Path) -> Path:
        for name in TAUGHT:
            told = one_task(folder, name)
            del told["name"]
            finetune(FinetuneConfig(model=str(body), out=folder / name, **told, **{**LEARNING, "epochs": 3}))
        return folder

    return once("teachers", make)


def pupil(folder: Path, body: Path, teachers: Path, *names: str, **changes: Any) -> MultiTaskRun:
    told = [one_task(folder, name, teacher=str(teachers / name)) for name in names]
    return set_up_multitask(several(folder, body, *told, dropout=0.0, **changes), ALONE, resume=False)


def test_the_share_of_gold_grows_from_nothing_to_all() -> None:
    assert [share_of_gold(step, 5) for step in range(5)] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert share_of_gold(0, 1) == 1.0


@pytest.mark.parametrize("name", TAUGHT)
def test_the_first_step_is_the_teachers_and_the_last_gold(
    name: str, tmp_path: Path, body: Path, teachers: Path
) -> None:
    run = pupil(tmp_path, body, teachers, name, epochs=2, batch=200)
    of_step, total = multitask_batches(run), 2 * run.mixing.steps
    assert total == 2
    tuned = Tuned.load(teachers / name, device="cpu")
    part = run.parts[name]
    (batch,), pairs = of_step(0, 0.0), run.mixing.of_step(0)
    loss, count = plain_loss(run.model, batch)[part.data.head.name]
    gold = dict.fromkeys(range(len(part.parts)), 0)
    assert {i for _, i, _ in pairs} == {*gold}
    expected = sum(_cross_entropy(run, tuned, name, i) for i in gold)
    assert float(loss.detach()) == pytest.approx(expected, rel=2e-4)
    assert float(count) == pytest.approx(len(gold), rel=1e-4)

    del run.teachers[name]
    for (one,), (other,) in [
        (of_step(1, 0.5), multitask_batches(pupil(tmp_path / "b", body, teachers, name, epochs=2, batch=200))(1, 0.5))
    ]:
        for plain, taught in zip(one.targets, other.targets, strict=True):
            assert torch.equal(torch.as_tensor(plain.labels), torch.as_tensor(taught.labels))


@pytest.mark.parametrize("kind", ["several", "sentences", "relevance"])
def test_labels_of_a_binary_loss_are_chances(kind: str) -> None:
    soft = _soft(np.array([[-5.0], [4.0]]), [], SimpleNamespace(kind=kind))  # type: ignore[arg-type]
    np.testing.assert_allclose(soft, [[0.00669285], [0.98201379]], rtol=1e-5)


def _cross_entropy(run: MultiTaskRun, tuned: Tuned, name: str, example: int) -> float:
    """What a pupil loses of one example where its teacher's own probabilities are right."""
    from bothways.inference.pipeline import logits_of

    part = run.parts[name]
    head, samples = part.data.head, part.parts[example]
    ours = [torch.from_numpy(some[0]).double() for some in logits_of(run.model, samples)]
    asked = [tuned.encode([part.data.train[example]])[0][1]]
    theirs = [torch.from_numpy(some[0]).double() for some in logits_of(tuned.engine.model, asked[0])]
    weight = 1.0 if head.head not in ("tags", "span") else _scale(run, name)
    if head.kind == "number":
        return float(((ours[0] - theirs[0]) ** 2).sum())
    if head.kind == "several":
        return float(torch.nn.functional.binary_cross_entropy_with_logits(ours[0], theirs[0].sigmoid()))
    if head.head == "span":
        each = [-(t.softmax(0) * o.log_softmax(0)).sum(0).mean() for o, t in zip(ours, theirs, strict=True)]
        return weight * float(torch.stack(each).sum())
    each = [-(t.softmax(-1) * o.log_softmax(-1)).sum() for o, t in zip(ours, theirs, strict=True)]
    return weight * float(torch.stack(each).sum())


def _scale(run: MultiTaskRun, name: str) -> float:
    parts = run.parts[name].parts
    own = [sum(float(np.sum(target.weight)) for one in some for target in one.targets) for some in parts]
    return len(own) / sum(own)


def test_between_them_labels_are_mixed() -> None:
    head = TaskHead("classify", "label", ("a", "b"), "one", "encoder", name="x")
    number = TaskHead("regress", "label", ("score",), "number", "encoder", name="y")
    one = Target("x", np.array([[0, 3]]), np.array([1]))
    other = Target("y", np.array([[0, 3]]), np.array([[2.0]], dtype=np.float32))
    teacher = Teacher([[np.array([[0.8, 0.2]])]], head)
    assert teacher._mixed(one, np.array([[0.8, 0.2]]), 0.25).labels == pytest.approx(np.array([[0.6, 0.4]]))
    assert Teacher([[]], number)._mixed(other, np.array([[4.0]]), 0.25).labels == pytest.approx(np.array([[3.5]]))
    unseen = teacher._mixed(one, np.array([[np.nan, np.nan]]), 0.25).labels
    assert unseen == pytest.approx(np.array([[0.0, 1.0]]))


def test_a_teacher_is_asked_once(tmp_path: Path, body: Path, teachers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    away = shutil.copytree(teachers / "mood", tmp_path / "away")
    told = several(tmp_path, body, one_task(tmp_path, "mood", teacher=str(away)), "stars", epochs=1)
    run = set_up_multitask(told, ALONE, resume=False)
    kept = tmp_path / "run" / "tasks" / "mood" / "teacher.safetensors"
    assert load_file(kept)["logits"].shape == (48, 2)
    monkeypatch.setattr("bothways.training.finetuning.teachers._asked", None)
    again = set_up_multitask(told, ALONE, resume=True)
    for one, other in zip(run.teachers["mood"].soft, again.teachers["mood"].soft, strict=True):
        assert np.array_equal(one[0], other[0])


def test_a_run_with_teachers_is_told_beside_them(tmp_path: Path, body: Path, teachers: Path) -> None:
    mood = one_task(tmp_path, "mood", teacher=str(teachers / "mood"))
    stars = one_task(tmp_path, "stars", compare=str(teachers / "stars"))
    run = finetune_multitask(several(tmp_path, body, mood, stars, "names"))
    tasks = RunFolder(run).manifest()["tasks"]
    alone = RunFolder(teachers / "mood").manifest()["best"]["scores"]
    assert tasks["mood"]["beside"]["scores"] == pytest.approx(alone) and tasks["mood"]["beside"]["where"] == "dev"
    low, high = tasks["mood"]["beside"]["better_by"]["accuracy"]
    assert low <= tasks["mood"]["dev"]["accuracy"] - alone["accuracy"] <= high
    assert tasks["stars"]["beside"]["run"] == str(teachers / "stars") and "beside" not in tasks["names"]
    assert "that task alone" in (run / "report.html").read_text()


def test_a_teacher_of_something_else_is_refused(tmp_path: Path, body: Path, teachers: Path) -> None:
    for name, other, said in (
        (
            "mood",
            "kinds",
            "mood: expected as teacher a run with the labels bad, good .one., got .*kinds with bad, film",
        ),
        ("mood", "stars", "mood: expected as teacher a run of classify, got .*stars, which was taught regress"),
        ("alike", "mood", "alike: expected as teacher a run with the labels alike, apart"),
    ):
        told = several(tmp_path, body, one_task(tmp_path, name, teacher=str(teachers / other)), "names")
        with pytest.raises(UsageError, match=said):
            set_up_multitask(told, ALONE, resume=False)
    with pytest.raises(UsageError, match="mood: expected as run to compare with a run of classify"):
        set_up_multitask(
            several(tmp_path, body, one_task(tmp_path, "mood", compare=str(teachers / "names"))), ALONE, resume=False
        )
    with pytest.raises(ModelError, match="was not fine-tuned"):
        set_up_multitask(several(tmp_path, body, one_task(tmp_path, "mood", teacher=str(body))), ALONE, resume=False)
    assert not (tmp_path / "run").exists()


def test_a_teacher_reads_the_window_that_an_answer_is_taught_in(tmp_path: Path, body: Path) -> None:
    """One more than it would predict from, where each of those cuts the answer: its places were not found there."""
    own, context = tokenizer("wordpiece"), " ".join(["fox"] * 60)
    room = own.frame.room(32, 2) - len(own.encode("why?"))
    long = {"text": " ".join(["fox"] * (room - 1)), "start": 12}
    file = write(tmp_path / "long.jsonl", {"question": "why?", "context": context, "answers": [long]}, *answers(2))
    told: dict[str, Any] = {"task": "answer", "train": str(file), "dev": str(file)}
    more: dict[str, Any] = {**LEARNING, "epochs": 1, "length": 32}
    teacher = finetune(FinetuneConfig(model=str(body), out=tmp_path / "teacher", **told, **more))
    one = {"name": "who", **told, "teacher": str(teacher)}
    run = set_up_multitask(several(tmp_path, body, one, **more), ALONE, resume=False)
    part = run.parts["who"]
    plain = encode_question(own, "why?", context, part.data.head, length=32)
    assert len(run.teachers["who"].soft[0]) == len(part.parts[0]) == len(plain) + 1
