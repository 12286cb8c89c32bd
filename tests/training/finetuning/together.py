"""Small files of several tasks, and their settings."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bothways.errors import Stopped
from bothways.training import fit
from bothways.training.finetuning import MultiTaskConfig, finetune_multitask
from tests.tasks.conftest import reviews, tagged, write

LEARNING = {"epochs": 2, "batch": 8, "learning_rate": 3e-3, "precision": "fp32"}


def pairs(times: int = 8) -> list[dict[str, Any]]:
    """Whether both texts are of one mood."""
    one = reviews(times)
    other = [one[(number + (3 if number % 2 else 1)) % len(one)] for number in range(len(one))]
    return [
        {"text_a": a["text"], "text_b": b["text"], "label": "alike" if a["label"] == b["label"] else "apart"}
        for a, b in zip(one, other, strict=True)
    ]


def lists(times: int = 6) -> list[dict[str, Any]]:
    """Several labels may be right."""
    return [
        {"text": one["text"], "label": [one["label"], "film"][: 1 + ("film" in one["text"])]} for one in reviews(times)
    ]


def stars(times: int = 4) -> list[dict[str, Any]]:
    return [{"text": one["text"], "score": 4.0 if one["label"] == "good" else 1.5} for one in reviews(times)]


def answers(times: int = 4) -> list[dict[str, Any]]:
    """Some of the contexts are read in several windows."""
    return [
        {
            "question": "who jumps",
            "context": f"{'over the lazy dog ' * (12 * (n % 2))} and the {who} jumps {n}",
            "answers": [{"text": who}],
        }
        for n in range(times)
        for who in ("quick fox", "brown dog", "lazy fox")
    ]


NAMES = "quick brown fox dog small model learns reading".split()


def words(place: int, times: int = 6) -> list[dict[str, Any]]:
    """The word of a text that stands at a place is to be written."""
    found = []
    for number in range(8 * times):
        two = (NAMES[number % 8], NAMES[(number // 8 + number + 1) % 8])
        found.append({"source": " ".join(two), "target": two[place]})
    return found


RECORDS = {
    "mood": ("classify", reviews),
    "alike": ("classify", pairs),
    "kinds": ("classify", lists),
    "stars": ("regress", stars),
    "names": ("tag", tagged),
    "who": ("answer", answers),
    "first": ("text2text", partial(words, 0)),
    "second": ("summarise", partial(words, 1)),
}


def one_task(folder: Path, name: str, **changes: Any) -> dict[str, Any]:
    """What tasks.yaml says of one; its file is written into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    task, records = RECORDS[name]
    file = write(folder / f"{name}.jsonl", *records())
    return {"name": name, "task": task, "train": str(file), "dev": str(file), **changes}


def several(folder: Path, body: Path, *tasks: str | dict[str, Any], **changes: Any) -> MultiTaskConfig:
    """A run in `folder` of some tasks."""
    made = [one_task(folder, one) if isinstance(one, str) else one for one in tasks]
    return MultiTaskConfig(**{"model": str(body), "out": folder / "run", "tasks": made, **LEARNING, **changes})


def stopped_at(step: int, told: MultiTaskConfig, patch: pytest.MonkeyPatch, *, resume: bool = False) -> None:
    """A run that is told to stop at a step, and does."""
    real = fit.train

    def stopping(work: Any, **given: Any) -> Any:
        given["stop"] = lambda: given["state"].step >= step
        return real(work, **given)

    with patch.context() as changed:
        changed.setattr(fit, "train", stopping)
        with pytest.raises(Stopped, match=f"stopped after step {step} and saved"):
            finetune_multitask(told, resume=resume)
