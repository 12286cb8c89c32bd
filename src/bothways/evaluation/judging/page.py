"""A judging on one page: how every model answers, which is better, how far a judge goes by places, and all answers."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from markupsafe import Markup

from bothways.evaluation.judging.answers import JudgedAnswer
from bothways.evaluation.judging.judgement import METRICS, SHARES, Judgement, JudgeScore
from bothways.evaluation.judging.prompts import JudgePrompt
from bothways.evaluation.judging.rules import REFUSALS, RULES
from bothways.evaluation.judging.verdicts import QUESTION, JudgeBias, Wins
from bothways.html import Cell, KeyFigure, TableRow, page
from bothways.html.charts import COLOURS
from bothways.html.intervals import Dot, figure

LESS = ("refused", "perplexity", "bits_per_byte")
SHOWN = 200
"""Prompts on the page at most."""
HEADS = ("prompts", "win rate", "wins", "ties", "losses", "p")
WAYS = {"chat": "by its chat template", "text": "as texts to go on with", "task": "as sources, as it was fine-tuned"}
WORDS = {
    **{name.replace("_", " "): f"{about[:1].upper()}{about[1:]}." for name, about in METRICS.items()},
    "refuses": f"One of these stands at the beginning of an answer: {', '.join(REFUSALS)}",
    "by rules": "More of the prompt's rules obeyed; where it has none, a reference met.",
    "tie": "Both alike; of a judge also: it did not say the same in both orders, or the answers are the same.",
}


def render(found: Judgement) -> str:
    """The whole page as HTML."""
    colours = {run.name: place % COLOURS for place, run in enumerate(found.runs)}
    metrics = [*dict.fromkeys(one.metric for one in found.scores)]
    ways = "; ".join(f"{run.name} {WAYS[run.way]}" for run in found.runs)
    return page(
        "judging.html",
        names=", ".join(colours),
        lead=f"The same {len(found.prompts):,} prompts, asked: {ways}.",
        tiles=[*_tiles(found)],
        heads=["", *colours],
        rows=[TableRow(_title(metric), [_cell(found.score(name, metric)) for name in colours]) for metric in metrics],
        shares=_shares(found, colours),
        win_heads=["", *HEADS],
        wins=[*_wins(found)],
        bias=found.judge,
        warnings=[*warnings_of(found.judge)],
        bias_tiles=[*_bias(found.judge)],
        judge_prompt=QUESTION,
        shown=[_side_by_side(found, place, colours) for place in range(min(SHOWN, len(found.prompts)))],
        left_out=max(0, len(found.prompts) - SHOWN),
        words=WORDS,
    )


def _tiles(found: Judgement) -> Iterator[KeyFigure]:
    rules = sum(bool(one.rules) for one in found.prompts)
    references = sum(bool(one.references) for one in found.prompts)
    refused = sum(answer.refused for run in found.runs for answer in run.answers)
    yield KeyFigure("Prompts", f"{len(found.prompts):,}", f"{rules:,} with rules, {references:,} with references")
    yield KeyFigure("Models", str(len(found.runs)), "side by side")
    yield KeyFigure("Refusals", f"{refused:,}", f"of {len(found.prompts) * len(found.runs):,} answers")
    yield KeyFigure("Judge", found.judge.name if found.judge else "rules", "" if found.judge else "and references")


def _title(metric: str) -> str:
    if metric in METRICS:
        return f"{metric.replace('_', ' ')}{' (less is better)' if metric in LESS else ''}"
    return f"{metric}: {RULES[metric.removeprefix('rule ')].about}"


def _cell(score: JudgeScore | None) -> Cell | None:
    if score is None:
        return None
    ends = "" if math.isnan(score.low) else f"{score.low:.3g} to {score.high:.3g}, "
    return Cell(f"{score.figure:.3g}", f"{ends}{score.prompts:,} prompts")


def _shares(found: Judgement, colours: Mapping[str, int]) -> Markup | str:
    """A picture of the shares, where there is more than one dot."""
    kept = [one for one in found.scores if one.metric in SHARES]
    dots = [Dot(one.metric, one.model, one.figure, one.low, one.high) for one in kept]
    caption = "Shares of the answers. Bars: the 95 % interval over the prompts."
    return figure("shares", caption, dots, colours=colours) if len(dots) > 1 else ""


def _wins(found: Judgement) -> Iterator[TableRow]:
    for one in found.wins:
        rate = Cell(f"{one.rate:.3f}", f"{one.low:.3f} to {one.high:.3f}", bold=one.p < 0.05)
        count = one.wins + one.ties + one.losses
        cells: list[str | Cell | None] = [
            f"{count:,}",
            rate,
            *map(str, (one.wins, one.ties, one.losses)),
            f"{one.p:.2g}",
        ]
        yield TableRow(f"{one.one} against {one.other}, by {one.by}", cells)


def _bias(bias: JudgeBias | None) -> Iterator[KeyFigure]:
    if bias is None:
        return
    if bias.first is not None and bias.agreed is not None:
        yield KeyFigure("First place", f"{bias.first:.0%}", f"of {bias.asked:,} times it chose the first answer")
        yield KeyFigure("Both orders alike", f"{bias.agreed:.0%}", "of the pairs; the others are ties")
    if bias.reference is not None:
        yield KeyFigure("Prefers the reference", f"{bias.reference:.0%}", "to that of the next prompt, in both orders")


def warnings_of(bias: JudgeBias | None) -> Iterator[str]:
    """Why a judge is not to be trusted, in words."""
    if bias is None:
        return
    if bias.reference is not None and bias.reference < 0.5:
        yield (
            f"{bias.name} prefers the right reference to one of another prompt in {bias.reference:.0%} of the pairs, "
            "in both orders: it cannot tell a right answer from a wrong one, and its verdicts say little."
        )
    if bias.unread:
        yield f"{bias.unread:,} pairs of answers are more than {bias.name} reads: they decide nothing."
    if bias.agreed is not None and bias.agreed < 0.5:
        yield (
            f"{bias.name} says the same in both orders of {bias.agreed:.0%} of the pairs: it goes by places, and most "
            "verdicts are ties."
        )


def _side_by_side(found: Judgement, place: int, colours: Mapping[str, int]) -> dict[str, Any]:
    prompt = found.prompts[place]
    better = [f"{name}, by {one.by}" for one in found.wins if (name := _better(one, place))]
    return {
        "name": prompt.name,
        "asked": [(one["role"], one["content"]) for one in prompt.messages],
        "reference": " / ".join(prompt.references),
        "rules": _in_words(prompt),
        "verdicts": "; ".join(better),
        "answers": [
            {
                "name": run.name,
                "colour": colours[run.name],
                "text": run.answers[place].text or "(nothing)",
                "marks": [*_marks(run.answers[place])],
            }
            for run in found.runs
        ],
    }


def _better(wins: Wins, place: int) -> str:
    verdict = wins.verdicts[place]
    tie = f"neither {wins.one} nor {wins.other}"
    return "" if verdict is None else {1: wins.one, -1: wins.other}.get(verdict, tie)


def _in_words(prompt: JudgePrompt) -> str:
    return ", ".join(f"{name} {json.dumps(value, ensure_ascii=False)}" for name, value in prompt.rules.items())


def _marks(answer: JudgedAnswer) -> Iterator[tuple[str, str]]:
    """What is known of an answer, each with its style."""
    for name, kept in answer.rules.items():
        yield f"{'✓' if kept else '✗'} {name}", "kept" if kept else "broken"
    if answer.exact is not None:
        yield "✓ exact" if answer.exact else "✗ exact", "kept" if answer.exact else ""
    if answer.refused:
        yield "refuses", "broken"
    if not answer.finished:
        yield "cut at its longest", ""
