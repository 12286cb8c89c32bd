"""Two processes that fine-tune together: the steps of one process, shared predictions, exact resume, one message."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from bothways.config import Frozen
from bothways.errors import UsageError
from bothways.training.finetuning import evaluate, finetune, finetune_multitask, finetune_seeds
from bothways.training.finetuning.batches import share_of_process
from bothways.training.finetuning.setup import set_up
from bothways.training.processes import Processes
from bothways.training.run_folder import RunFolder
from tests.tasks import conftest as tasks
from tests.training.finetuning import test_instruct as instruct
from tests.training.finetuning import test_preferences as preferences
from tests.training.finetuning import test_writing as writing
from tests.training.finetuning.together import several
from tests.training.pretraining.small import assert_same_weights, finish, lines, start

TIMES = {"seconds", "tokens_per_second", "examples_per_second"}
PAIR = [Processes(rank, 2, torch.device("cpu")) for rank in (0, 1)]
STOPPED_AT = 9  # in the second epoch
Made = dict[str, Path]


def job(config: Frozen, how: str = "one", *, stop: int | None = None, **given: Any) -> dict[str, Any]:
    """A run for `worker.py`."""
    return {"how": how, "config": config.model_dump(mode="json"), "stop": stop, "given": given}


@pytest.fixture(scope="module")
def made(body: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """All runs of this file, in one process and in two: {name: folder}. An epoch has six steps of 7 examples and one
    of 6; that of "lone" ends with one of a single example."""
    folder = tmp_path_factory.mktemp("runs")

    def labels(name: str, **changes: Any) -> Any:
        told = tasks.config(folder / name, body, **{"batch": 7, "class_weights": "balanced", **changes})
        return told.model_copy(update={"test": told.train})

    def texts(name: str) -> Any:
        told = writing.config(folder / name, body, batch=7, epochs=2, objective="unilm1")
        return told.model_copy(update={"test": told.train})

    def talks(name: str) -> Any:
        told = instruct.config(folder / name, body, batch=7, epochs=2, objective="causal")
        return told.model_copy(update={"test": told.train})

    def both(name: str) -> Any:
        return several(folder / name, body, "mood", "names")

    def liked(name: str) -> Any:
        return preferences.config(folder / name, body, *preferences.single(), loss="kto", batch=7, epochs=2)

    pairs = [
        (liked("liked"), liked("liked of two"), "one", finetune, {}),
        (labels("labels"), labels("labels of two"), "one", finetune, {}),
        (texts("texts"), texts("texts of two"), "one", finetune, {}),
        (talks("talks"), talks("talks of two"), "one", finetune, {}),
        (labels("lone", batch=47), labels("lone of two", batch=47), "one", finetune, {}),
        (both("both"), both("both of two"), "several", finetune_multitask, {}),
        (labels("seeds", epochs=1), labels("seeds of two", epochs=1), "seeds", finetune_seeds, {"seeds": 2}),
    ]
    stopped, exchanged, written = labels("resumed"), labels("resumed by one"), texts("texts resumed")
    jobs = [job(two, how, **given) for _, two, how, _, given in pairs]
    jobs += [job(one, stop=STOPPED_AT) for one in (stopped, written, exchanged)]
    jobs += [job(one, resume=True) for one in (stopped, written)]
    finish(start(jobs, folder, processes=2, worker=Path(__file__).with_name("worker.py")))
    for one, _, _, run, given in pairs:
        run(one, **given)
    finetune(exchanged, resume=True)
    configs = [config for one, two, *_ in pairs for config in (one, two)] + [stopped, exchanged, written]
    return {config.out.parent.name: config.out for config in configs}


def assert_close(ours: Path, theirs: Path) -> None:
    """The same steps over the same examples, up to rounding; only the padding is that of the first process, and the
    attention within rows, which are laid out anew, is counted in the FLOPs."""
    mine, others = lines(ours, without={*TIMES, "padding"}), lines(theirs, without={*TIMES, "padding"})
    assert [(line["kind"], line["step"]) for line in mine] == [(line["kind"], line["step"]) for line in others]
    for line, other in zip(mine, others, strict=True):
        assert line.pop("flops", 0.0) == pytest.approx(other.pop("flops", 0.0), rel=0.2)
        assert line.pop("loss", 0.0) == pytest.approx(other.pop("loss", 0.0), abs=1e-5)
        assert line.pop("scores", {}) == pytest.approx(other.pop("scores", {}), abs=1e-5)
        told, same = line.pop("tasks", {}), other.pop("tasks", {})
        for name, one in told.items():
            assert one["loss"] == pytest.approx(same[name]["loss"], abs=1e-5)
        assert line == other  # tokens, learning rate, epoch


@pytest.mark.parametrize("name", ["labels", "texts", "talks", "lone", "both", "seeds/seed-1"])
def test_two_processes_are_one(name: str, made: Made) -> None:
    kind, _, seed = name.partition("/")
    assert_close(made[f"{kind} of two"] / seed, made[kind] / seed)
    manifest = RunFolder(made[f"{kind} of two"] / seed).manifest()
    assert manifest["status"] == "done" and manifest["processes"] == 2


def test_what_kto_compares_with_is_that_of_all_processes(made: Made) -> None:
    """What the models sample may differ by a token where two are as likely, so only losses are compared."""
    one, two = ([line["loss"] for line in lines(made[name])] for name in ("liked", "liked of two"))
    assert one == pytest.approx(two, abs=1e-5) and len(one) == 16


@pytest.mark.parametrize("name", ["labels", "texts"])
def test_resuming_is_exact(name: str, made: Made) -> None:
    """The signal came to the first process only; both stopped."""
    again = made["resumed" if name == "labels" else "texts resumed"]
    assert_same_weights(again, made[f"{name} of two"])
    assert lines(again, without=TIMES) == lines(made[f"{name} of two"], without=TIMES)
    first, second = (load_file(run / "model" / "model.safetensors") for run in (again, made[f"{name} of two"]))
    assert all(torch.equal(second[key], weight) for key, weight in first.items())


def test_what_two_began_one_goes_on_with(made: Made) -> None:
    assert_close(made["resumed by one"], made["labels"])
    assert RunFolder(made["resumed by one"]).manifest()["processes"] == 1


def test_the_best_of_several_seeds_is_kept_and_answers(made: Made) -> None:
    one, two = (RunFolder(made[name]).manifest() for name in ("seeds", "seeds of two"))
    assert two["dev"] == one["dev"] and two["kept"] == one["kept"]
    assert evaluate(made["seeds of two"], made["seeds"].parent / "train.jsonl")["examples"] == 48


@pytest.mark.parametrize("tokens", [[5], [3, 3, 3, 3], [9, 1, 1, 1, 8, 2], []])
def test_examples_are_dealt_out_evenly_and_none_twice(tokens: list[int]) -> None:
    numbers = [*range(len(tokens))]
    shares = [share_of_process(numbers, tokens, team) for team in PAIR]
    assert sorted(shares[0] + shares[1]) == numbers and shares == [sorted(share) for share in shares]
    sums = [sum(tokens[i] for i in share) for share in shares]
    assert abs(sums[0] - sums[1]) <= max(tokens, default=0)


def test_examples_that_a_loss_compares_are_not_shared_out(body: Path, tmp_path: Path) -> None:
    told = tasks.config(tmp_path, body, task="embed")
    tasks.write(told.train, *({"text": f"text {n}", "positive": f"like it {n}"} for n in range(6)))
    with pytest.raises(UsageError, match="loss of embed compares the examples .* 2 processes cannot share them out"):
        set_up(told, PAIR[0], resume=False)
    assert not told.out.exists()


def command(body: Path, folder: Path, *more: object) -> subprocess.CompletedProcess[str]:
    """`bothways finetune --processes 2`, in a process of its own."""
    train = tasks.write(folder / "train.jsonl", *tasks.reviews())
    words = ["finetune", body, "--train", train, "--dev", train, "--out", folder / "run", "--processes", 2]
    words += ["--set", "batch=8", "--set", "epochs=1", "--set", "precision=fp32", *more]
    called = [sys.executable, "-m", "bothways", *map(str, words)]
    return subprocess.run(called, capture_output=True, text=True, timeout=600, check=False)


def test_the_command_speaks_once(body: Path, tmp_path: Path) -> None:
    done = command(body, tmp_path)
    assert done.returncode == 0, done.stderr
    for said in ("reading the records", "epoch 1 ", "kept       epoch 1"):
        assert done.stdout.count(said) == 1


@pytest.mark.parametrize("failing", [0, 1])
def test_an_error_of_one_process_ends_both(failing: int, body: Path, tmp_path: Path) -> None:
    """In its third step; the other then loses it, which is not what is said."""
    code = f"""
import os
from bothways.errors import MachineError
from bothways.training import loop

learning_rate, steps = loop.learning_rate, []

def failing(*given):
    steps.append(given)
    if os.environ["RANK"] == "{failing}" and len(steps) == 3:
        raise MachineError("the disk is full")
    return learning_rate(*given)

loop.learning_rate = failing
"""
    (tmp_path / "own.py").write_text(code)
    done = command(body, tmp_path, "--set", f"code=[{tmp_path / 'own.py'}]")
    assert (done.returncode, done.stderr) == (6, "bothways: the disk is full\n")


def test_predictions_that_no_file_can_hold_are_named() -> None:
    with pytest.raises(UsageError, match=r"predictions that a JSON file can hold, as texts and lists, got \{7\}"):
        PAIR[0].shared([1, 2], lambda some: [{7}])
