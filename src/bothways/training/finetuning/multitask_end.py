"""How a run of several tasks ends: the best epoch saved under all of its heads, and each task measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bothways.model import Abilities, TaskHead
from bothways.statistics import bootstrap_difference
from bothways.tasks.records import Skipped
from bothways.training.finetuning.multitask_config import MEAN, MultiTaskConfig, folder_of_task
from bothways.training.finetuning.multitask_page import write_multitask_report
from bothways.training.finetuning.run import Judged, judge
from bothways.training.finetuning.save import save_model
from bothways.training.finetuning.setup import FinetuneRun
from bothways.training.finetuning.thresholds import best_thresholds
from bothways.training.finetuning.tuned import Tuned, measure
from bothways.training.fit import Show


def finish(config: MultiTaskConfig, parts: Mapping[str, FinetuneRun], best: int, *, steps: int, show: Show) -> None:
    """Saves the best epoch's model under the heads of all tasks, and asks it about each task's test examples."""
    first = next(iter(parts.values()))
    folder, model, team = first.folder, first.model, first.team
    _, weights, best_line = folder.best(best)
    heads = {name: part.data.head for name, part in parts.items()}
    own = partial(save_model, config, weights, model.config, first.tokenizer, length=first.length)
    load = partial(Tuned.load, config.out, device=model.table.device, precision=folder.noted("precision"))

    def write() -> None:
        trained = Abilities.of_heads(*heads.values(), rule=model.rule.name)
        team.once(lambda: own(trained, dev=best_line["scores"]))

    write()
    if tuned := [name for name, part in parts.items() if part.config.thresholds == "tuned"]:
        for name in tuned:
            part = parts[name]
            _, predictions = measure(load(task=name), part.dev, team)
            heads[name] = replace(heads[name], thresholds=best_thresholds(part.data.dev, predictions, heads[name]))
        write()
        for name in tuned:
            scores, _ = measure(load(task=name), parts[name].dev, team)
            best_line["tasks"][name]["scores"] = scores
        best_line["scores"] = with_mean({name: one["scores"] for name, one in best_line["tasks"].items()})
        write()  # its card has these scores
    judged = {name: judge(part, load(task=name), seen=folder_of_task(config.out, name)) for name, part in parts.items()}
    beside = {
        one.name: _beside(run, parts[one.name], judged[one.name], heads[one.name])
        for one in config.tasks
        if (run := one.compare or one.teacher)
    }
    folder.note(best={"epoch": best // steps, "step": best, "scores": best_line["scores"]})
    folder.note(tasks=_told(folder.noted("tasks"), judged, best_line["tasks"], beside, heads))
    tested = {name: one.scores for name, one in judged.items() if one.where == "test"}
    if tested:
        line = {"kind": "test", "step": first.state.step, "scores": with_mean(tested), "tasks": tested}
        folder.append(line)
        folder.note(test=line["scores"])
        show(line)
    folder.note(status="done")
    team.once(lambda: write_multitask_report(config.out, parts, judged, heads))


def _beside(run: Path, part: FinetuneRun, judged: Judged, head: TaskHead) -> dict[str, Any]:
    """What the run of one task alone says of the same examples, and by how much this one is better: {"run", "where",
    "scores", "better_by": {metric: interval of the difference}, where the pairs of predictions are drawn anew}."""
    tuned, skipped = Tuned.load(run, device=part.model.table.device), Skipped()
    read = tuned.encode(judged.examples, skipped)
    told = {"run": str(run), "where": judged.where}
    if skipped.found:
        return {**told, "scores": None, "why": f"it cannot read {len(skipped.found)} of the examples"}
    scores, predictions = measure(tuned, read, part.team)
    ours, theirs = (part.task.scores_of(judged.examples, some, head) for some in (judged.predictions, predictions))
    return {**told, "scores": scores, "better_by": bootstrap_difference(ours, theirs, len(judged.examples))}


def with_mean(scores: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """The tasks' own metrics, and before them their mean."""
    own = {name: next(iter(one.values())) for name, one in scores.items()}
    return {MEAN: float(np.mean([*own.values()])), **own}


def _told(
    noted: Mapping[str, Any],
    judged: Mapping[str, Judged],
    looks: Mapping[str, Any],
    beside: Mapping[str, Any],
    heads: Mapping[str, TaskHead],
) -> dict[str, Any]:
    """What manifest.json holds of each task, with how good it is in the end."""
    found = {}
    for name, one in judged.items():
        test = {"test": one.scores, "test_intervals": one.intervals} if one.where == "test" else {}
        limits = {"thresholds": list(heads[name].thresholds or ())} if heads[name].thresholds else {}
        alone = {"beside": beside[name]} if name in beside else {}
        found[name] = {**noted[name], "dev": looks[name]["scores"], **test, **limits, **alone, **one.worth}
    return found
