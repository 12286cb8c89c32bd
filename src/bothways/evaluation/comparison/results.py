"""What came out, as one JSON document: figures, differences with their intervals, costs, samples, contamination."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from bothways.evaluation.comparison.config import CompareConfig
from bothways.evaluation.comparison.measure import Answers
from bothways.evaluation.comparison.metrics import BITS, FILL, NEXT, PAIRS, PSEUDO, Metric, ScoredItems
from bothways.evaluation.comparison.search import RateSearch
from bothways.statistics import Compared, compared
from bothways.terminal import compact
from bothways.training.pretraining.config import PretrainConfig
from bothways.training.run_folder import RunFolder

VERSION = 1
BEHIND, TIED, BOUND = "behind", "tied", "a bound"
Runs = dict[tuple[str, int], RunFolder]


def cost(config: CompareConfig, search: RateSearch, runs: Sequence[RunFolder]) -> dict[str, Any]:
    """What an objective's search and runs took: the means of its runs, the sum of its trials."""
    last = [folder.lines()[-1] for folder in runs]
    optimiser = runs[0].config(PretrainConfig).training.optimiser
    return {
        "folders": [str(folder.path.relative_to(config.out)) for folder in runs],
        "learning_rate": optimiser.learning_rate,
        "factor": search.factor,
        "edge": search.at_an_end,
        "trials": [
            {"factor": trial.factor, "loss": trial.loss if math.isfinite(trial.loss) else None}
            for trial in search.trials
        ],
        "search": {name: sum(getattr(trial, name) for trial in search.trials) for name in ("flops", "seconds")},
        "parameters": runs[0].manifest()["model"]["parameters"],
        **{name: float(np.mean([line[name] for line in last])) for name in ("flops", "seconds", "tokens", "step")},
    }


def compared_metrics(
    config: CompareConfig, answers: dict[tuple[str, int], Answers], baselines: dict[Metric, dict[str, float]]
) -> Iterator[dict[str, Any]]:
    """Every metric with those objectives that can be held to it, the best first, bounds behind figures."""
    for metric in dict.fromkeys(metric for found in answers.values() for metric in found):
        able = [name for name in config.objectives if metric in answers[name, 0]]
        items = [[answers[name, seed][metric] for seed in range(config.seeds)] for name in able]
        result = compared(items)
        sign = -1 if metric.better == "more" else 1
        order = sorted(range(len(able)), key=lambda k: (items[k][0].bound, sign * result.means[k]))
        yield {
            **asdict(metric),
            "items": len(items[0][0].value),
            "seed_sd": None if np.isnan(result.seed_sd) else result.seed_sd,
            "objectives": [_standing(able[k], result.figures[k], items[k]) for k in order],
            "differences": list(_differences(able, order, result, items)),
            "baselines": baselines.get(metric, {}),
        }


def _standing(name: str, figures: np.ndarray, items: Sequence[ScoredItems]) -> dict[str, Any]:
    return {
        "objective": name,
        "mean": float(figures.mean()),
        "seeds": figures.tolist(),
        "bound": items[0].bound,
        "ties": int(sum(one.ties for one in items)),
    }


def _differences(
    names: Sequence[str], order: Sequence[int], result: Compared, items: Sequence[Sequence[ScoredItems]]
) -> Iterator[dict[str, Any]]:
    """Of all pairs, the better first. A bound wins against nobody and loses to nobody: what it bounds may be better,
    and it is not measured as a figure is (who unmasks a text knows how long it is)."""
    for place, one in enumerate(order):
        for other in order[place + 1 :]:
            yield {
                "better": names[one],
                "worse": names[other],
                "difference": float(abs(result.means[one] - result.means[other])),
                "half_width": float(result.halves[one, other]),
                "verdict": BOUND if items[other][0].bound else BEHIND if result.exceeds(one, other) else TIED,
            }


def held_out_baselines(counted: dict[str, dict[str, Any]]) -> dict[Metric, dict[str, float]]:
    """The n-grams' figures, under the metrics that they can be held to."""
    keys = {BITS: "bits_per_byte", NEXT: "next_accuracy", FILL: "fill_accuracy"}
    found: dict[Metric, dict[str, float]] = {PAIRS: {"chance": 0.5}, PSEUDO: {"chance": 0.5}}
    for metric, key in keys.items():
        found[metric] = {name: gram[key] for name, gram in counted.items() if gram.get(key) is not None}
    return found


def against_the_best(metric: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """{objective: how it differs from the one with the best mean}, for all others."""
    first = metric["objectives"][0]["objective"]
    return {each["worse"]: each for each in metric["differences"] if each["better"] == first}


def tied(metric: dict[str, Any]) -> list[str]:
    """Those with the best mean and those indistinguishable from it; empty where the best leads, or is alone."""
    others = [name for name, found in against_the_best(metric).items() if found["verdict"] == TIED]
    return [metric["objectives"][0]["objective"], *others] if others else []


def leader(metric: dict[str, Any]) -> str | None:
    """The one that every other is behind, and every baseline; None: nobody can be called the best."""
    verdicts = {found["verdict"] for found in against_the_best(metric).values()}
    leads = verdicts == {BEHIND} and not _unbeaten(metric)
    return metric["objectives"][0]["objective"] if leads else None


def _unbeaten(metric: dict[str, Any]) -> list[str]:
    """The baselines that the best mean is not better than."""
    sign, best = (1 if metric["better"] == "more" else -1), metric["objectives"][0]["mean"]
    return [f"{name} ({figure(value)})" for name, value in metric["baselines"].items() if sign * (best - value) <= 0]


def summary(metric: dict[str, Any]) -> str:
    """A sentence: who leads or is tied, who is behind and by how much, and what needs no training and is as good."""
    first, others = metric["objectives"][0], against_the_best(metric)
    verdicts: dict[str, list[str]] = {TIED: [], BEHIND: [], BOUND: []}
    for name, found in others.items():
        by = f" (by {figure(found['difference'])} ± {figure(found['half_width'])})"
        verdicts[found["verdict"]].append(name + by * (found["verdict"] == BEHIND))
    if first["bound"]:
        return f"Only bounds, which decide nothing: {', '.join([first['objective'], *verdicts[BOUND]])}."
    if not others:
        parts = [f"Only {first['objective']} can be measured"]
    elif verdicts[TIED]:
        parts = [f"Tied: {', '.join(tied(metric))}"]
    else:
        parts = [first["objective"] + (" leads" if verdicts[BEHIND] else " can be told apart from none")]
    parts += [f"behind: {', '.join(verdicts[BEHIND])}"] if verdicts[BEHIND] else []
    parts += [f"only a bound, which decides nothing: {', '.join(verdicts[BOUND])}"] if verdicts[BOUND] else []
    unbeaten = _unbeaten(metric)
    parts += [f"not better than {', '.join(unbeaten)}"] if unbeaten else []
    return "; ".join(parts) + "."


def figure(value: float) -> str:
    """Three digits that matter, at most four places."""
    return f"{value:.4f}" if value < 0.1 else f"{value:.3f}"


def unequal(result: dict[str, Any]) -> str | None:
    """What is wrong with "equal compute", where a step is large beside the budget."""
    spent = [entry["flops"] for entry in result["objectives"]]
    if max(spent) <= 1.05 * min(spent) or set(result["budget"]) != {"flops"}:
        return None
    return (
        f"The runs spent from {compact(min(spent))} to {compact(max(spent))} floating-point operations: a step is "
        "large beside this budget. Give them more, or smaller steps."
    )


def samples(config: CompareConfig, runs: Runs) -> dict[str, Any]:
    """{objective: what its first run predicts of held-out text}."""
    return {name: runs[name, 0].manifest().get("samples", {}) for name in config.objectives}
