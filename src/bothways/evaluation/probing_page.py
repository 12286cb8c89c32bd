"""Probes on one page: every model's figures by phenomenon, and which differences are more than chance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bothways.corpus.ngrams import NAMES
from bothways.evaluation.held_out import NAME as BITS
from bothways.evaluation.probing import SIGNIFICANT, Probed, ProbeScore
from bothways.html import Cell, TableRow, page
from bothways.html.charts import COLOURS
from bothways.html.intervals import Dot, figure


def render(found: Probed) -> str:
    """The whole page as HTML."""
    known = dict.fromkeys(one.model for one in found.scores)
    named = {name: place % COLOURS for place, name in enumerate(known)}
    sections = [
        _section(name, [one for one in found.scores if (one.probe, one.file) == key], named)
        for key, name in found.titles().items()
    ]
    models = ", ".join(name for name in named if name not in NAMES)
    differences = [*_differences(found)]
    return page(
        "probing.html", models=models, found=found, sections=sections, significant=SIGNIFICANT, differences=differences
    )


def _section(name: str, scores: Sequence[ProbeScore], colours: Mapping[str, int]) -> dict[str, Any]:
    dots = [Dot(_group(one.group), one.model, one.figure, one.low, one.high) for one in scores]
    chance = 0.5 if name.startswith("pairs") else None
    better = "Less is better." if scores[0].probe == BITS else "More is better."
    drawn = figure(name, f"{better} {_caption(scores, chance)}", dots, colours=colours, chance=chance)
    mine = {(one.group, one.model): one for one in scores}
    groups, models = (list(dict.fromkeys(each)) for each in zip(*mine, strict=True))
    rows = [
        TableRow(_group(group), [_cell(mine.get((group, model))) for model in models], "" if group else "ours")
        for group in groups
    ]
    return {"name": name, "drawn": drawn, "heads": ["", *models], "rows": rows if len(dots) > 1 else []}


def _group(name: str | None) -> str:
    """What items belong to, in words: BLiMP's phenomena are joined by underscores."""
    return "all" if name is None else name.replace("_", " ")


def _caption(scores: Sequence[ProbeScore], chance: float | None) -> str:
    whole = [one for one in scores if one.group is None]
    ties = ", ".join(f"{one.model} {one.ties:,}" for one in whole if one.ties)
    left = ", ".join(f"{one.model} {one.left_out:,}" for one in whole if one.left_out)
    templates = max(one.templates for one in scores)
    made = f"the {templates:,} templates from which the items were made, of one template over its items"
    caption = f"Bars: the 95 % interval over {made if templates > 1 else 'the items'}."
    caption += "" if chance is None else " Dashed: chance."
    caption += f" Ties, counted as a half: {ties}." if ties else ""
    return caption + (f" Left out, the tokenizer cannot represent them: {left}." if left else "")


def _cell(one: ProbeScore | None) -> Cell | None:
    if one is None:
        return None
    of = f" of {one.templates:,} templates" if one.templates > 1 else ""
    return Cell(f"{one.figure:.3f}", f"{one.low:.3f} to {one.high:.3f}, {one.items:,} items{of}")


def _differences(found: Probed) -> Iterator[TableRow]:
    """Those that are more than chance, the smallest p first."""
    titles = found.titles()
    for one in sorted((one for one in found.differences if one.p < SIGNIFICANT), key=lambda one: one.p):
        yield TableRow(
            f"{titles[one.probe, one.file]}, {_group(one.group)}",
            [
                Cell(f"{one.one} against {one.other}", f"{one.items:,} items"),
                Cell(f"{one.difference:+.3f}", f"{one.low:+.3f} to {one.high:+.3f}"),
                one.chance,
            ],
        )
