"""Probes on one page: every model's figures by phenomenon, and which differences are more than chance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bothways.corpus.ngrams import NAMES
from bothways.evaluation.held_out import NAME as BITS
from bothways.evaluation.probing import SURE, Probed, Standing
from bothways.reports.html import Markup, row, table, tag
from bothways.reports.intervals import Dot, figure
from bothways.reports.page import document


def render(found: Probed) -> str:
    """The whole page as HTML."""
    named = list(dict.fromkeys(one.model for one in found.standings))
    models = [name for name in named if name not in NAMES]
    header = tag(
        "header",
        tag("p", "Probes", class_="kind"),
        tag("h1", ", ".join(models)),
        tag("p", "What a model knows without being taught to say it.", class_="lead"),
        *(tag("p", f"{model} was not taught what {file} asks.", class_="note") for model, file in found.silent),
        *(tag("p", f"Not asked: {one}", class_="note") for one in found.failed),
    )
    sections = [
        _section(name, [one for one in found.standings if (one.probe, one.file) == key], named)
        for key, name in found.titles().items()
    ]
    return document("Probes", header, *sections, _differences(found), foot="Written by Bothways.")


def _section(name: str, standings: Sequence[Standing], colours: Sequence[str]) -> Markup:
    dots = [Dot(_group(one.group), one.model, one.figure, one.low, one.high) for one in standings]
    chance = 0.5 if name.startswith("pairs") else None
    better = "Less is better." if standings[0].probe == BITS else "More is better."
    drawn = figure(name, f"{better} {_said(standings, chance)}", dots, colours=colours, chance=chance)
    details = [tag("details", tag("summary", "All figures"), _table(standings), class_="card")] if len(dots) > 1 else []
    return tag("section", tag("h2", name), drawn, *details)


def _group(name: str | None) -> str:
    """What items belong to, in words: BLiMP's phenomena are joined by underscores."""
    return "all" if name is None else name.replace("_", " ")


def _said(standings: Sequence[Standing], chance: float | None) -> str:
    whole = [one for one in standings if one.group is None]
    ties = ", ".join(f"{one.model} {one.ties:,}" for one in whole if one.ties)
    left = ", ".join(f"{one.model} {one.left_out:,}" for one in whole if one.left_out)
    templates = max(one.templates for one in standings)
    made = f"the {templates:,} templates from which the items were made, of one template over its items"
    over = made if templates > 1 else "the items"
    said = f"Bars: the 95 % interval over {over}."
    said += "" if chance is None else " Dashed: chance."
    said += f" Ties, counted as a half: {ties}." if ties else ""
    return said + (f" Left out, the tokenizer cannot represent them: {left}." if left else "")


def _table(standings: Sequence[Standing]) -> Markup:
    mine = {(one.group, one.model): one for one in standings}
    groups, models = (list(dict.fromkeys(each)) for each in zip(*mine, strict=True))
    rows = (
        row(_group(group), *(_cell(mine.get((group, model))) for model in models), class_=None if group else "ours")
        for group in groups
    )
    return table(("", *models), rows)


def _cell(one: Standing | None) -> Iterator[str]:
    if one is None:
        yield "–"
        return
    yield f"{one.figure:.3f}"
    of = f" of {one.templates:,} templates" if one.templates > 1 else ""
    yield tag("small", f"{one.low:.3f} to {one.high:.3f}, {one.items:,} items{of}")


def _differences(found: Probed) -> Markup:
    if not found.differences:
        return Markup()
    titles = found.titles()
    sure = sorted((one for one in found.differences if one.p < SURE), key=lambda one: one.p)
    rows = (
        row(
            f"{titles[one.probe, one.file]}, {_group(one.group)}",
            [f"{one.one} against {one.other}", tag("small", f"{one.items:,} items")],
            [f"{one.difference:+.3f}", tag("small", f"{one.low:+.3f} to {one.high:+.3f}")],
            one.chance,
        )
        for one in sure
    )
    about = (
        f"{len(sure)} of {len(found.differences)} differences are more than chance: over the same items, p below "
        f"{SURE} after Holm's correction for all of them. Above 0: the first has the larger figure."
    )
    listed = table(("", "models", "difference", "p"), rows) if sure else Markup()
    return tag("section", tag("h2", "More than chance"), tag("p", about, class_="about"), listed)
