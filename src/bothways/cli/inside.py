"""Commands that look inside models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from bothways.cli.options import TASK, Device, repeated
from bothways.cli.show import Json, load, load_torch, print_json, room_for
from bothways.errors import BothwaysError
from bothways.files import write_text
from bothways.terminal import doing, say

if TYPE_CHECKING:
    from bothways.evaluation.inspection.contextuality import Contextuality
    from bothways.evaluation.probing import Failed, Probed
    from bothways.inference import LanguageModel

T = TypeVar("T")
KEYS = ("self_similarity", "intra_sentence", "explained")


def contextuality(
    runs: Annotated[list[Path], typer.Argument(help="Runs or Hugging Face folders, side by side.")],
    texts: Annotated[Path, typer.Option(help="A file of text, one a line; or jsonl, csv, tsv.")],
    out: Annotated[Path | None, typer.Option(help="Write a page with pictures here.")] = None,
    tokens: Annotated[int, typer.Option(min=100, help="To read at most.")] = 100_000,
    device: Device = None,
    json: Json = False,
) -> None:
    """How much do words' states depend on context? Layer by layer, each measure beside what random words give."""
    load_torch()
    from bothways.evaluation.inspection.contextuality import contextuality as measure
    from bothways.evaluation.inspection.contextuality import read_texts

    room_for(out)
    read = read_texts(texts)
    by_model, failed = _each(
        runs, device, lambda name, one: list(measure(one.engine, read, name=name, most_tokens=tokens))
    )
    found = [one for ones in by_model.values() for one in ones]
    if out is not None:
        from bothways.evaluation.inspection.contextuality_page import render

        write_text(out, render(found))
    if json:
        print_json([one.as_json() for one in found])
    for one in () if json else found:
        _show(one)
    _end(None if json else out, failed)


def probe(
    runs: Annotated[list[Path], typer.Argument(help="Runs or Hugging Face folders, side by side.")],
    pairs: Annotated[list[Path], repeated(about="Records with good, bad and phenomenon (BLiMP)")],
    facts: Annotated[list[Path], repeated(about="Records with text, which has one [MASK], and answer")],
    words: Annotated[list[Path], repeated(about="Records with word1, word2 and score")],
    held_out: Annotated[list[Path], repeated(about="Shards: bits per byte of their held-out text")],
    out: Annotated[Path | None, typer.Option(help="Write a page here.")] = None,
    device: Device = None,
    json: Json = False,
) -> None:
    """What do models know without being taught to say it? Figures with intervals, differences with their chance."""
    load_torch()
    from bothways.evaluation.probing import probe as ask

    room_for(out)
    with doing("asking"):
        found = ask(runs, pairs=pairs, facts=facts, words=words, held_out=held_out, device=device)
    if out is not None:
        from bothways.evaluation.probing_page import render

        write_text(out, render(found))
    if json:
        print_json(found.as_json())
    else:
        _show_probed(found)
    _end(None if json else out, found.failed)


def _show_probed(found: Probed) -> None:
    from bothways.evaluation.probing import SIGNIFICANT

    titles = found.titles()
    wide = max(map(len, titles.values()))
    for one in found.scores:
        if one.group is None:
            ties = f", {one.ties:,} ties" if one.ties else ""
            left = f", {one.left_out:,} left out" if one.left_out else ""
            of = f" of {one.templates:,} templates" if one.templates > 1 else ""
            said = f"{one.figure:.3f} ({one.low:.3f} to {one.high:.3f})  {one.items:,} items{of}{ties}{left}"
            say(f"{one.model:20} {titles[one.probe, one.file]:{wide}} {said}")
    for model, file in found.unsupported:
        say(f"{model:20} was not trained for what {file} measures")
    sure = [one for one in found.differences if one.p < SIGNIFICANT]
    whole = [one for one in sure if one.group is None]
    if found.differences:
        say(
            f"\n{len(sure)} of {len(found.differences)} differences are more than chance (p < {SIGNIFICANT}, Holm), "
            f"{len(sure) - len(whole)} of them by phenomenon or relation: --out or --json shows all."
        )
    for two in whole:
        said = (
            f"{two.one} {two.difference:+.3f} ({two.low:+.3f} to {two.high:+.3f}) against {two.other}, p {two.chance}"
        )
        say(f"  {titles[two.probe, two.file]}: {said}")


def probe_layers(
    runs: Annotated[list[Path], typer.Argument(help="Runs or Hugging Face folders, side by side.")],
    task: Annotated[str, typer.Option(help="classify or tag.", autocompletion=TASK)],
    train: Annotated[Path, typer.Option(help="Records as finetune reads them.")],
    test: Annotated[Path, typer.Option(help="More of them.")],
    out: Annotated[Path | None, typer.Option(help="Write a page with pictures here.")] = None,
    device: Device = None,
    json: Json = False,
) -> None:
    """What is written in which layer? A linear probe on every one, beside a control that cannot be read off."""
    load_torch()
    from bothways.evaluation.inspection.layerwise import as_json, layerwise

    room_for(out)
    found, failed = _each(runs, device, lambda name, one: layerwise(one.engine, task, train, test))
    if out is not None:
        from bothways.evaluation.inspection.layerwise_page import render

        write_text(out, render(found, task=task))
    if json:
        print_json([{"model": name, "layers": as_json(layers)} for name, layers in found.items()])
    for name, layers in () if json else found.items():
        say(f"\n{name}: the most common answer gets {layers[0].most_common:.3f}")
        say(f"{'layer':>5} {'accuracy':>10} {'control':>10} {'selectivity':>12}")
        for i, one in enumerate(layers):
            say(f"{i:>5} {one.accuracy:>10.3f} {one.control:>10.3f} {one.selectivity:>+12.3f}")
    _end(None if json else out, failed)


def attention(
    run: Annotated[Path, typer.Argument(help="A run or a Hugging Face folder.")],
    text: Annotated[str, typer.Argument(help="A sentence, in quotes.")],
    out: Annotated[Path, typer.Option(help="Where to write the page.")],
    texts: Annotated[Path | None, typer.Option(help="A file of text: what every head does over it.")] = None,
    most: Annotated[int, typer.Option(min=1, help="Texts of it to read.")] = 200,
    device: Device = None,
) -> None:
    """Where do heads look? A page with a square for every layer and head of one sentence, in each way it is read."""
    load_torch()
    from bothways.evaluation.inspection.attention import attention as look
    from bothways.evaluation.inspection.attention import heads
    from bothways.evaluation.inspection.attention_page import render
    from bothways.evaluation.inspection.contextuality import read_texts

    room_for(out)
    engine = load(run, device=device).engine
    seen = look(engine, text)
    read = [] if texts is None else read_texts(texts)[:most]
    many = [heads(engine, read, one.reads) for one in seen if read]
    write_text(out, render(run.resolve().name, seen, many))
    if seen[0].note:
        say(seen[0].note)
    say(f"page  {out}")


def _each(
    runs: list[Path], device: str | None, ask: Callable[[str, LanguageModel], T]
) -> tuple[dict[str, T], list[Failed]]:
    """{name of a model: what it answers}, and those that cannot be loaded or asked: the others are, all the same.

    Raises:
        BothwaysError: none can.
    """
    from bothways.evaluation.probing import Failed, names_of

    found, failed = dict[str, T](), list[Failed]()
    for name, run in zip(names_of(runs), runs, strict=True):
        try:
            found[name] = ask(name, load(run, device=device))
        except BothwaysError as error:
            failed.append(Failed(name, "", error))
    if not found:
        raise failed[0].error
    return found, failed


def _end(page: Path | None, failed: Sequence[Failed]) -> None:
    """Says where the page is, and what could not be asked; the exit code is then that of the first of these."""
    if page is not None:
        say(f"\npage  {page}")
    for one in failed:
        say(f"bothways: {one}", error=True)
    if failed:
        raise typer.Exit(failed[0].error.exit_code)


def _show(one: Contextuality) -> None:
    unknown = f", {one.unknown:,} unknown and left out" if one.unknown else ""
    say(f"\n{one.name}, read from {one.reads}: {one.tokens:,} tokens, {len(one.words):,} words{unknown}")
    say(f"{'layer':>5} {'self-similarity':>20} {'within a text':>20} {'explained':>20} {'anisotropy':>12}")
    for i, layer in enumerate(one.layers):
        said = layer.figures()
        cells = (f"{said[key]:.3f} ({said[f'{key}_adjusted']:+.3f})" for key in KEYS)
        say(f"{i:>5} " + " ".join(f"{cell:>20}" for cell in cells) + f" {said['anisotropy']:>12.3f}")
    for title, words in zip(("most contextual ", "least contextual"), one.extremes(-1), strict=True):
        say(f"{title}  {', '.join(word.strip() for word, _ in words)}")
