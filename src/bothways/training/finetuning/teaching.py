"""What a run by preferences or by rewards has in common: its epochs, and how it ends, beside the model that it began
with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from bothways.batch import Batch, Losses
from bothways.model import Model
from bothways.statistics import bootstrap, bootstrap_difference
from bothways.tasks.task import Example
from bothways.training.finetuning.baselines import chosen_by_chance, trained_on
from bothways.training.finetuning.epochs import EpochLoop
from bothways.training.finetuning.page import short, write_page
from bothways.training.finetuning.save import save_model
from bothways.training.fit import Show
from bothways.training.loop import loss_names
from bothways.training.state import load_state

if TYPE_CHECKING:
    from bothways.training.finetuning.setup import FinetuneRun

ScoresOf = Callable[[Sequence[int]], dict[str, float]]
MOST_ANSWERS = 10


@dataclass(frozen=True, slots=True)
class MeasuredAnswers:
    """What a model makes of the examples of a file.

    loss       of them, where there is one
    scores_of  (numbers of some of them) -> {metric: value}, the task's own first
    own        [E] what it answers itself: {"text", "tokens", "kl", perhaps "reward"}; None where it was not asked
    worst      numbers of those whose better answer it likes least beside the other, the worst first
    """

    examples: Sequence[Example]
    loss: float | None
    scores_of: ScoresOf
    own: Sequence[dict[str, Any] | None]
    worst: Sequence[int] = ()

    @property
    def scores(self) -> dict[str, float]:
        """Of all examples."""
        return self.scores_of(range(len(self.examples)))


class TrainingMethod(Protocol):
    """How a model is taught in another way than by the likelihood of right answers.

    name   of its loss
    count  (step) -> what its summed loss is divided by; None: what its targets weigh
    """

    run: FinetuneRun
    name: str

    @property
    def count(self) -> Callable[[int], float] | None:
        """See above."""

    @property
    def steps(self) -> int:
        """Of an epoch."""

    def losses(self, batch: Batch, generator: torch.Generator) -> Losses:
        """Those of a micro-batch."""

    def batches(self, step: int, progress: float) -> list[Batch]:
        """This process's micro-batches of a step."""

    def examples(self, step: int) -> int:
        """How many examples, or of those that are sampled answers, a step learns from."""

    def extra_metrics(self) -> dict[str, Any]:
        """What else stands in the line of the step that was just done."""

    def measured(self, where: str, model: Model) -> MeasuredAnswers:
        """What a model makes of the examples of "dev" or "test"."""


def own_scores(own: Sequence[dict[str, Any] | None], drawn: Sequence[int], *names: str) -> dict[str, float]:
    """The means of what is known of a model's own answers to some examples; nan of none."""
    known = [one for i in drawn if (one := own[i]) is not None]
    return {name: float(np.mean([one[name] for one in known])) if known else float("nan") for name in names}


def epoch_loop_by(teaching: TrainingMethod) -> EpochLoop:
    """Its epochs."""
    run = teaching.run

    def evaluate() -> dict[str, Any]:
        found = teaching.measured("dev", run.model)
        return {"loss": found.loss, "scores": found.scores}

    return EpochLoop(
        config=run.config,
        model=run.model,
        state=run.state,
        folder=run.folder,
        team=run.team,
        steps=teaching.steps,
        losses=run.state.weights.around(teaching.losses),
        names=loss_names(run.model, [teaching.name]),
        batches=teaching.batches,
        examples=teaching.examples,
        evaluate=evaluate,
        extra_metrics=teaching.extra_metrics,
        count=teaching.count,
    )


def finish_by(teaching: TrainingMethod, best: int, show: Show) -> None:
    """Saves the best epoch's model, and measures it beside the one that the run began with."""
    run = teaching.run
    found, weights, best_line = run.folder.best(best)
    dev = best_line["scores"]
    save = partial(save_model, run.config, weights, run.model.config, run.tokenizer, run.trained)
    run.team.once(lambda: save(length=run.length, dev=dev))
    run.folder.note(best={"epoch": best // teaching.steps, "step": best, "scores": dev})
    warnings = chosen_by_chance(run.data.held) + run.state.left_out
    load_state(run.state, found)
    where = "test" if run.test else "dev"
    assert run.reference
    before, after = (teaching.measured(where, model.eval()) for model in (run.reference, run.model))
    beside = compared_with_before(before, after)
    if run.test:
        line = {"kind": "test", "step": best, "scores": after.scores}
        run.folder.append(line)
        run.folder.note(test=after.scores, test_intervals=beside["intervals"])
        show(line)
    for side in ("dev", "test"):
        if getattr(run.config, side):
            warnings += trained_on(run.config.out, getattr(run.data, side), where=f"{side} texts")
    run.folder.note(status="done", warnings=warnings, before={"where": where, **beside})
    run.team.once(lambda: write_page(run.config.out, [part_of(before, after, where=where)], labelled=False))


def compared_with_before(before: MeasuredAnswers, after: MeasuredAnswers) -> dict[str, Any]:
    """{"scores": of the model that the run began with, "intervals": of the one that it ends with, "better_by": of the
    difference, the examples being drawn anew}."""
    count = len(after.examples)
    return {
        "scores": before.scores,
        "intervals": bootstrap(after.scores_of, count),
        "better_by": bootstrap_difference(after.scores_of, before.scores_of, count),
    }


def part_of(before: MeasuredAnswers, after: MeasuredAnswers, *, where: str) -> dict[str, Any]:
    """What the page shows: the model's own answers, before and after; and pairs that it still has the wrong way."""
    asked = [i for i, one in enumerate(after.own) if one is not None and before.own[i] is not None][:MOST_ANSWERS]
    answers = [
        (short(after.examples[i].texts[0]), [("before", _told(before.own[i])), ("after", _told(after.own[i]))])
        for i in asked
    ]
    wrong = [
        (short(after.examples[i].texts[0]), [(name, short(one.text)) for name, one in _pair(after.examples[i])])
        for i in after.worst[:MOST_ANSWERS]
    ]
    nothing: dict[str, Any] = {"classes": [], "confusion": None, "calibration": None, "written": []}
    return {**nothing, "where": where, "answers": answers, "mistakes": wrong}


def _pair(example: Example) -> list[tuple[str, Any]]:
    return [("chosen" if answer.good else "rejected", answer) for answer in example.gold]


def _told(own: dict[str, Any] | None) -> str:
    assert own is not None
    reward = f"{own['reward']:.3g}: " if "reward" in own else ""
    return reward + short(own["text"] or "(nothing)")
