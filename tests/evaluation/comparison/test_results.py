"""What is said of figures: the best, ties, bounds; on the terminal and on the page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from bothways.evaluation.comparison.config import CompareConfig
from bothways.evaluation.comparison.metrics import BITS, FILL, Metric, ScoredItems
from bothways.evaluation.comparison.page import _dots, render
from bothways.evaluation.comparison.results import (
    Comparison,
    against_the_best,
    compared_metrics,
    leader,
    summary,
    tied,
    unequal,
)
from bothways.evaluation.comparison.table import tables
from bothways.training.config import Budget

BUDGET = Budget(flops=1e9)
NAMES = ("causal", "mlm", "diffusion")


def result(
    figures: dict[str, float],
    *,
    metric: Metric = FILL,
    bound: str = "",
    spread: float = 0.0,
    unigram: float | None = None,
) -> dict[str, Any]:
    """One metric over 200 items, two seeds; the unigram is worse than all where it is not said."""
    config = CompareConfig(
        shards=Path("s"),
        out=Path("o"),
        objectives=tuple(figures),
        budget=BUDGET,
        seeds=2,
    )
    noise = np.random.default_rng(0).normal(0, spread, 200)
    answers = {
        (name, seed): {metric: ScoredItems(figure + noise, np.ones(200), bound=name in bound.split())}
        for name, figure in figures.items()
        for seed in range(2)
    }
    worse = 9.0 if metric.better == "less" else 0.05
    (found,) = compared_metrics(config, answers, {metric.name: {"unigram": worse if unigram is None else unigram}})
    return found


def test_more_or_less_is_better() -> None:
    figures = {"causal": 1.5, "mlm": 1.2, "diffusion": 1.9}
    assert [each["objective"] for each in result(figures)["objectives"]] == ["diffusion", "causal", "mlm"]
    less = result(figures, metric=BITS)
    assert [each["objective"] for each in less["objectives"]] == ["mlm", "causal", "diffusion"]
    assert summary(less) == "mlm leads; behind: causal (by 0.300 ± 0.0000), diffusion (by 0.700 ± 0.0000)."


def test_a_comparison_shows_its_verdicts_and_is_a_table() -> None:
    pytest.importorskip("pandas")
    metric = result({"causal": 1.5, "mlm": 1.2, "diffusion": 1.9}, metric=BITS, bound="diffusion")
    whole = Comparison(objectives=[{"objective": name} for name in NAMES], seeds=2, metrics=[metric])
    assert repr(whole).splitlines()[0] == "Comparison(causal, mlm, diffusion; 2 seeds)"
    assert summary(metric) in repr(whole) and len(repr(whole).splitlines()) == 2
    table = whole.to_pandas().set_index("objective")
    assert table["mean"].to_dict() == pytest.approx({"causal": 1.5, "mlm": 1.2, "diffusion": 1.9})
    assert table["verdict"].to_dict() == {"mlm": "best mean", "causal": "behind", "diffusion": "a bound"}
    assert table["better"].unique().tolist() == ["less"] and table["bound"].to_dict()["diffusion"]


def test_a_tie_is_called_a_tie() -> None:
    rng, values = np.random.default_rng(0), {}
    for name in NAMES:
        values[name, 0] = {FILL: ScoredItems.right(rng.random(200) < 0.5)}
    config = CompareConfig(shards=Path("s"), out=Path("o"), objectives=NAMES, budget=BUDGET, seeds=1)
    (found,) = compared_metrics(config, values, {})
    assert {each["verdict"] for each in found["differences"]} == {"tied"}
    assert summary(found) == f"Tied: {', '.join(each['objective'] for each in found['objectives'])}."
    assert leader(found) is None and {*tied(found)} == {*NAMES}


def test_equal_scores_are_tied_and_neither_is_bold(whole: dict[str, Any]) -> None:
    found = result({"causal": 1.0, "mlm": 1.0, "diffusion": 0.5})
    assert summary(found) == "Tied: causal, mlm; behind: diffusion (by 0.500 ± 0.0000)."
    page, said = shown(whole | {"metrics": [found]})
    assert "<b>1.000</b>" not in page and page.count('1.000<small class="beaten">tied</small>') == 2
    assert "causal and mlm" in page and "causal over diffusion" in page
    assert said.count("1.000 =") == 2


@pytest.mark.parametrize(
    ("figures", "unigram", "said", "bold"),
    [
        ({"mlm": 0.04}, 0.05, "Only mlm can be measured; not better than unigram (0.0500).", None),
        ({"mlm": 0.06}, 0.05, "Only mlm can be measured.", None),
        ({"mlm": 0.5, "causal": 0.3}, 0.05, "mlm leads; behind: causal (by 0.200 ± 0.0000).", "mlm"),
        (
            {"mlm": 0.5, "causal": 0.3},
            0.5,
            "mlm leads; behind: causal (by 0.200 ± 0.0000); not better than unigram (0.500).",
            None,
        ),
    ],
)
def test_bold_is_what_leads_the_others_and_every_baseline(
    figures: dict[str, float], unigram: float, said: str, bold: str | None, whole: dict[str, Any]
) -> None:
    found = result(figures, unigram=unigram)
    assert summary(found) == said and leader(found) == bold
    page, _ = shown(whole | {"metrics": [found]})
    assert page.count("</i>mlm</th><td><b>") == (bold == "mlm")


@pytest.mark.parametrize("bits", [1.9, 1.1])
def test_a_bound_decides_nothing_worse_or_better(bits: float) -> None:
    found = result({"diffusion": bits, "causal": 1.5}, metric=BITS, bound="diffusion")
    assert against_the_best(found)["diffusion"]["verdict"] == "a bound"
    assert [each["objective"] for each in found["objectives"]] == ["causal", "diffusion"]
    assert summary(found) == "causal can be told apart from none; only a bound, which decides nothing: diffusion."


def test_of_bounds_alone_none_is_the_best() -> None:
    found = result({"diffusion": 1.4, "any-order": 1.5}, metric=BITS, bound="diffusion any-order")
    assert summary(found) == "Only bounds, which decide nothing: diffusion, any-order."


def test_one_alone_is_compared_with_nobody() -> None:
    assert summary(result({"mlm": 0.5})) == "Only mlm can be measured."


@pytest.fixture
def whole() -> dict[str, Any]:
    return whole_result()


def whole_result() -> dict[str, Any]:
    """A result of two objectives, one of which cannot be asked for bits."""
    bits = result({"causal": 1.5, "diffusion": 1.9}, metric=BITS, bound="diffusion")
    fills = result({"mlm": 0.3, "diffusion": 0.31}, spread=0.1)
    cost = {
        "learning_rate": 5e-3,
        "factor": 1.0,
        "edge": True,
        "flops": 1e9,
        "seconds": 9.0,
        "tokens": 1e6,
        "parameters": 1e6,
    }
    trials = {"trials": [{"factor": 1.0, "loss": 3.0}, {"factor": 2.0, "loss": None}]}
    search = {"search": {"flops": 2e8, "seconds": 3.0}}
    contamination = [{"eval_data": "minimal pairs", "documents": 2, "items": 9, "too_short": 1}]
    return {
        "budget": {"flops": 1e9},
        "size": "tiny",
        "seeds": 2,
        "objectives": [{"objective": name, **cost, **trials, **search} for name in NAMES],
        "metrics": [bits, fills],
        "contamination": contamination,
        "samples": {
            "mlm": {
                "fills": [{"text": "a [MASK] <b>", "hidden": "c", "answers": [{"token": " x", "probability": 0.5}]}]
            }
        },
    }


def shown(whole: dict[str, Any]) -> tuple[str, str]:
    """The page, and what the terminal says."""
    console = Console(width=120, record=True, force_terminal=False)
    for table in tables(whole):
        console.print(table)
    return render(whole, {}), console.export_text()


def test_the_terminal_has_a_row_for_each_objective_and_marks_bounds(whole: dict[str, Any]) -> None:
    _, said = shown(whole)
    assert all(name in said for name in (*NAMES, "unigram", "bits/byte ↓", "hidden word ↑"))
    assert "≤ 1.900" in said and "2 training documents contain one" in said and "200M" in said


def test_the_page_escapes_what_models_say_and_shows_divergence(whole: dict[str, Any]) -> None:
    page = render(whole, {})
    assert "&lt;b&gt;" in page and "a [MASK] <b>" not in page
    assert (
        "at an end of what was tried" in page
        and "2: diverged" in page
        and "≤ 1.900" in page
        and "2 training documents contain one" in page
    )


def test_a_rate_that_was_not_searched_has_a_dash_for_trials(whole: dict[str, Any]) -> None:
    for entry in whole["objectives"]:
        entry["trials"] = []
    assert shown(whole)[0].count("<td>–</td><td>–</td></tr>") == len(NAMES)


def test_compute_that_is_not_equal_is_said() -> None:
    entries = [{"objective": name, "flops": flops} for name, flops in (("causal", 1e12), ("mlm", 1.2e12))]
    said = unequal({"budget": {"flops": 1e11}, "objectives": entries})
    assert said is not None and "from 1T to 1.2T" in said
    assert unequal({"budget": {"seconds": 60}, "objectives": entries}) is None
    assert unequal({"budget": {"flops": 1e12}, "objectives": [entries[0], {**entries[1], "flops": 1.01e12}]}) is None


def test_means_stand_in_a_picture_and_a_bar_reaches_the_best_where_they_are_tied(whole: dict[str, Any]) -> None:
    rng, names = np.random.default_rng(0), NAMES
    config = CompareConfig(shards=Path("s"), out=Path("o"), objectives=names, budget=BUDGET, seeds=2)
    right = {name: rng.random(200) < share for name, share in zip(names, (0.5, 0.52, 0.9), strict=True)}
    values = {(name, seed): {FILL: ScoredItems.right(right[name])} for name in names for seed in range(2)}
    (metric,) = compared_metrics(config, values, {})
    ends = {dot.name: (dot.low, dot.value, dot.high) for dot in _dots(metric)}
    best = ends["diffusion"][1]
    assert ends["diffusion"] == (best, best, best)
    for found in against_the_best(metric).values():
        low, _, high = ends[found["worse"]]
        assert (low <= best <= high) == (found["verdict"] == "tied")
    page = render(whole | {"metrics": [metric]}, {})
    (picture,) = re.findall(r'<svg[^>]*class="dots">.*?</svg>', page)
    assert picture.count("<title>") == 3 and "those that reach it are tied." in page


def test_a_bound_stands_in_no_picture_and_one_figure_makes_none(whole: dict[str, Any]) -> None:
    figures = {"causal": 1.5, "mlm": 1.2, "diffusion": 1.9}
    page = render(whole | {"metrics": [result(figures, metric=BITS, bound="diffusion")]}, {})
    assert page.count("<title>") == 1 + 2 and "Bounds are left out." in page
    assert 'class="dots"' not in render(whole | {"metrics": [result(figures, bound="mlm diffusion")]}, {})
