"""A word budget on one page: pairs against words seen, beside n-grams and the published figures."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from bothways.corpus.ngrams import COUNT_AT_MOST
from bothways.evaluation.babylm.published import CAP, PUBLISHED, differs
from bothways.html import Cell, KeyFigure, TableRow, page
from bothways.html.curves import Axis, Chart, Curve
from bothways.terminal import compact

NAME = "BabyLM budget, own text"
AXIS = Axis("words", "Words", "words seen")
RULES = {"official": "BabyLM's rule", "sum": "a tie is a half", "mean": "mean per token"}
WORDS = {
    "BabyLM's rule": "The larger sum of log-probabilities, in float32; of two that are alike the first, which is the "
    "good sentence. A model that gives all sentences the same probability wins every pair.",
    "a tie is a half": "The same sums; two within 1e-4 nats are a tie, and win half a pair.",
    "mean per token": "The mean log-probability of a token, which does not favour the shorter sentence; a tie is "
    "a half.",
    "left to right": "The sum over a sentence's tokens, each predicted from those before it.",
    "pseudo-log-likelihood": "The sum over its tokens, each hidden alone among all others (Salazar et al. 2020).",
    "unigram, bigram, trigram": "Models that only count the training text (interpolated modified Kneser-Ney).",
}
DRAWN = {
    "official": "By BabyLM's rule: the sum of log-probabilities.",
    "mean": "By the mean of a token, a tie a half: the sum favours the shorter sentence.",
}
HEADS = (
    *("", "scored", "weights", f"{RULES['official']} (published: BLiMP)", RULES["sum"], RULES["mean"]),
    "supplement (published)",
)


def render(result: dict[str, Any]) -> str:
    """The whole page as HTML."""
    return page(
        "babylm.html",
        name=NAME,
        result=result,
        tiles=[*_tiles(result)],
        heads=HEADS,
        rows=[*compared(result)],
        lead=_lead(result),
        differs=differs(result),
        charts=[(chart, [AXIS]) for chart in _charts(result)],
        curve_heads=["words seen", *(title for title, _ in columns(result)), *LEARNED],
        curve=[*along(result)],
        paradigms=[*_paradigms(result)],
        facts=[*_facts(result)],
        words=WORDS,
    )


def _lead(result: dict[str, Any]) -> str:
    words, passes = CAP
    within = result["words"] <= words and result["passes"] <= passes
    cap = f"BabyLM's cap ({compact(words)} words, each read {passes} times at most)"
    own = "" if within else f": {result['words']:,} words, each read {result['passes']} times at most"
    return f"{'Under' if within else 'Not under'} {cap}{own}; on a text of one's own, not on BabyLM's corpus."


LEARNED = ("next word", "hidden word")
"""Held-out text of one's own."""


def _tiles(result: dict[str, Any]) -> Iterator[KeyFigure]:
    last = result["points"][-1]
    for name, found in last["scores"].items():
        for scoring, one in found.items():
            yield KeyFigure(f"{name}, {scoring}", f"{one['official']:.1%}", "of pairs, BabyLM's rule")
    yield KeyFigure("Text", compact(result["words"]), f"words, read {result['passes']} times at most")
    yield KeyFigure("Read", compact(last["tokens"]), f"tokens in {last['step']:,} steps")
    yield KeyFigure("Time", str(timedelta(seconds=round(last["seconds"]))), "of training")
    yield KeyFigure("Model", compact(result["parameters"]), f"parameters: {result['size']}")


def compared(result: dict[str, Any]) -> Iterator[TableRow]:
    """The last model and n-grams by all rules, in percent, and below them the published ones."""
    of = {name: _scored(name, result) for name in result["pairs"]}
    which = {name: f", {name}" if len(of) > 1 else "" for name in of}
    for name, found in result["points"][-1]["scores"].items():
        for scoring, one in found.items():
            notes = ("", f"{100 * one['low']:.1f} to {100 * one['high']:.1f}; {one['ties']:,} ties", "")
            own = [Cell(f"{100 * one[rule]:.2f}", note) for rule, note in zip(RULES, notes, strict=True)]
            scored = Cell(scoring, of[name])
            yield TableRow(f"This model{which[name]}", [scored, compact(result["parameters"]), *own, None], "ours")
    for name, found in result["counted"].items():
        for gram, one in found.items():
            shares = [f"{100 * one[rule]:.2f}" for rule in RULES]
            yield TableRow(f"{gram}, same text{which[name]}", [Cell("left to right", of[name]), None, *shares, None])
    for each in PUBLISHED:
        figures = [f"{each.blimp:.2f}", None, None, each.supplement or None]
        yield TableRow(each.model, [Cell(each.scored, each.source), each.weights, *figures])


def _scored(name: str, result: dict[str, Any]) -> str:
    """Of which pairs a score is, and of how many: those with a token that the tokenizer has not are left out."""
    given = result["pairs"][name]
    items = next(iter(result["points"][-1]["scores"][name].values()))["items"]
    return f"{items:,} pairs of {name}" + (f"; {given - items:,} with unknown tokens left out" if items < given else "")


def columns(result: dict[str, Any]) -> Iterator[tuple[Cell, tuple[str, str, str]]]:
    """(head, (set, scoring, rule)) of the figures of every model on the way."""
    several = len(result["pairs"]) > 1
    for name, found in result["points"][-1]["scores"].items():
        for scoring in found:
            for rule, title in RULES.items():
                yield Cell(title, f"{name}, {scoring}" if several else scoring), (name, scoring, rule)


def along(result: dict[str, Any]) -> Iterator[TableRow]:
    """A row for every model on the way, in percent."""
    for point in result["points"]:
        figures = [f"{100 * point['scores'][name][scoring][rule]:.2f}" for _, (name, scoring, rule) in columns(result)]
        learned = [None if one is None else f"{one:.1%}" for one in (point["next_accuracy"], point["fill_accuracy"])]
        yield TableRow(f"{point['words']:,}", [*figures, *learned])


def _charts(result: dict[str, Any]) -> Iterator[Chart]:
    for name, found in result["points"][-1]["scores"].items():
        for rule, caption in DRAWN.items():
            curves = [
                Curve(
                    scoring,
                    [({"words": point["words"]}, point["scores"][name][scoring][rule]) for point in result["points"]],
                    colour=colour,
                )
                for colour, scoring in enumerate(found)
            ]
            levels = [("chance", 0.5), *((gram, one[rule]) for gram, one in result["counted"][name].items())]
            title = f"{name}: {RULES[rule]}"
            most = compact(COUNT_AT_MOST)
            told = f"{caption} Dashed: chance, and n-grams of the same text (at most {most} tokens of it)."
            yield Chart(title, told, curves, levels, whole=True)


def _paradigms(result: dict[str, Any]) -> Iterator[tuple[str, list[str], list[TableRow]]]:
    """(set, heads, rows) of the last model, where a set has several."""
    for name, found in result["points"][-1]["scores"].items():
        names = next(iter(found.values()))["paradigms"]
        if len(names) > 1:
            heads = ["", *(f"{scoring}, {title}" for scoring in found for title in RULES.values())]
            yield (
                name,
                heads,
                [
                    TableRow(
                        each.replace("_", " "),
                        [f"{100 * share:.1f}" for one in found.values() for share in one["paradigms"][each]],
                    )
                    for each in names
                ],
            )


def _facts(result: dict[str, Any]) -> Iterator[tuple[str, str]]:
    words = {"spaces": "between white space, each ideograph one", "jieba": "as jieba finds them"}
    yield "words to train on", f"{result['words']:,} of {result['words_there']:,}, {words[result['counted_by']]}"
    yield "documents to train on", f"{result['documents']:,} of {result['documents_there']:,}, drawn by their hash"
    yield "documents held out", f"{result['held_out']:,}, not counted"
    yield "tokens in a pass", f"{result['tokens_in_a_pass']:,}"
    yield "pairs", "; ".join(f"{name}: {count:,}" for name, count in result["pairs"].items())
    yield "pairs of a paradigm", f"the first {result['pairs_each']:,} at most"
    machine = result["machine"]
    yield "machine", f"{machine['processor']}, {machine['processes']} process(es), {machine['precision']}"
    yield "seed", str(result["seed"])
