"""Commands that label by patterns: a prompt, and PET."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bothways.cli.options import ConfigFile, Device, Settings, configured, from_record, refuse_beside_resume
from bothways.cli.show import Json, load, load_torch, print_json, room_for, worth_lines
from bothways.cli.tasks import Column, FinetuneDisplay, SkipBad, as_columns, show_columns, skipping
from bothways.terminal import say

if TYPE_CHECKING:
    from bothways.training.prompting.file import PromptFile

ModelName = Annotated[
    str, typer.Argument(metavar="MODEL", help="A run's folder, a Hugging Face folder, or a name of its hub.")
]
WORDS_SHOWN = 10


@from_record(
    "bothways.training.prompting:PromptConfig",
    *("pattern", "verbaliser", "examples", "shots", "how", "seed"),
)
def prompt(
    context: typer.Context,
    *,
    model: ModelName,
    file: Annotated[Path, typer.Argument(help="Records: jsonl, csv or tsv; labels in them are what is measured by.")],
    out: Annotated[
        Path | None, typer.Option(help="A line of JSON for every record, in order.", show_default=False)
    ] = None,
    search_words: Annotated[
        bool, typer.Option("--search-words", help="Find words for the labels of the file instead; no verbaliser.")
    ] = False,
    column: Column,
    settings: Settings,
    config: ConfigFile = None,
    skip_bad: SkipBad = False,
    device: Device = None,
    json: Json = False,
    **given: Any,
) -> None:
    """Label the records of a file by a pattern and a word for each label, without training."""
    del context
    load_torch()
    from bothways.errors import UsageError
    from bothways.training.prompting import PromptConfig, prompt_file

    example = "prompt MODEL FILE --pattern '{text} It was [MASK].' --verbaliser good=great,bad=terrible"
    chosen = configured(PromptConfig, given, file=config, settings=settings, example=example)
    room_for(out)
    skip, skipped = skipping(skip_bad)
    engine = load(Path(model), device=device).engine
    if search_words:
        if chosen.verbaliser:
            raise UsageError("--search-words finds the words of a verbaliser: leave --verbaliser out")
        return _search(engine, file, chosen, columns=as_columns(column), skip=skip, json=json)
    show = (lambda columns: None) if json else show_columns
    found = prompt_file(engine, file, chosen, out=out, columns=as_columns(column), skip=skip, show=show)
    if json:
        return print_json({**_as_json(found), "skipped": len(skipped.found)})
    _tell(found, out)
    for line in skipped.found:
        say(f"skipped  {line}")
    return None


def _as_json(found: PromptFile) -> dict[str, Any]:
    rest = {"records": found.count, "shown": found.shown, "shown_tokens": found.tokens, "notes": found.notes}
    return {**(found.evaluation or {}), **rest}


def _tell(found: PromptFile, out: Path | None) -> None:
    if found.shown:
        say(f"{'shown':20s} {found.shown} examples before every text, {found.tokens} tokens")
    if scores := found.evaluation:
        for name, value in scores.scores.items():
            low, high = scores["intervals"][name]
            say(f"{name:20s} {value:.4f} ({low:.4f} to {high:.4f})")
        for name, line in [("examples", str(scores["examples"])), *worth_lines(scores)]:
            say(f"{name:20s} {line}")
    for line in found.notes:
        say(f"{'warning':20s} {line}")
    say(f"{found.count} answers in {out}" if out else f"{found.count} answers; --out FILE writes them")


def _search(engine: Any, file: Path, chosen: Any, *, columns: dict[str, str], skip: Any, json: bool) -> None:
    from bothways.training.prompting import find_words

    words = find_words(engine, file, chosen.pattern, how=chosen.how, columns=columns, skip=skip, top_k=WORDS_SHOWN)
    best = {label: some[0].word for label, some in words.items() if some}
    if json:
        return print_json({"words": words, "verbaliser": best})
    for label, some in words.items():
        say(f"{label:20s} " + "  ".join(f"{one.word} {one.odds:.2f}" for one in some))
    say("\n--verbaliser " + ",".join(f"{label}={word}" for label, word in best.items()))
    return None


@from_record(
    "bothways.training.prompting:PetConfig",
    *("train", "unlabelled", "pattern", "verbaliser", "dev", "test", "generations"),
    *("out", "skip_bad"),
    model="",
)
def pet(
    context: typer.Context,
    *,
    settings: Settings,
    config: ConfigFile = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in --out, at the next member that is missing.")
    ] = False,
    device: Device = None,
    json: Json = False,
    **given: Any,
) -> None:
    """Train a classifier from few labelled and many unlabelled texts, by patterns (PET, iPET)."""
    (display := FinetuneDisplay(quiet=json)).say("loading torch")
    from bothways.training.prompting import PetConfig
    from bothways.training.prompting import pet as run
    from bothways.training.run_folder import RunFolder

    if resume:
        out = given.get("out", PetConfig.model_fields["out"].default)
        refuse_beside_resume(context, out / "pet")
        chosen = RunFolder(out / "pet").config(PetConfig).model_copy(update={"out": out})  # it may have moved
    else:
        example = (
            "pet runs/mine --train few.jsonl --unlabelled many.jsonl --pattern '{text} It was [MASK].' "
            "--verbaliser good=great,bad=terrible"
        )
        chosen = configured(PetConfig, given, file=config, settings=settings, example=example)
    run(chosen, resume=resume, device=device, show=display.show, say=display.say)
    told, tuned = RunFolder(chosen.out / "pet").manifest(), RunFolder(chosen.out).manifest()
    if json:
        return print_json({**told, "classifier": {key: tuned.get(key) for key in ("best", "test", "majority")}})
    return _tell_pet(told, tuned, chosen.out)


def _tell_pet(told: dict[str, Any], tuned: dict[str, Any], out: Path) -> None:
    columns = ("untrained", "train", *(["test"] if told["examples"]["test"] else []))
    wide = max(len(one["name"]) for one in told["members"])
    say(f"\n{'member':{wide}}  " + "  ".join(f"{name:>9}" for name in columns) + "  taught  pattern")
    for one in told["members"]:
        cells = "  ".join(f"{one[name]:9.4f}" for name in columns)
        say(f"{one['name']:{wide}}  {cells}  {one['taught']:6}  {one['pattern']}")
    cells = "  ".join(f"{told['ensemble'].get(name, float('nan')):9.4f}" for name in columns[1:])
    say(f"{'ensemble':{wide}}  {'':9}  {cells}")
    say("given    " + ", ".join(f"{count} {label}" for label, count in told["labelled"].items()) + " to the unlabelled")
    for name, value in (tuned.get("test") or {}).items():
        low, high = tuned["test_intervals"][name]
        say(f"test     {name} {value:.4f} ({low:.4f} to {high:.4f})")
    for name, line in worth_lines(tuned):
        say(f"{name:8} {line}")
    for line in told["skipped"][:WORDS_SHOWN]:
        say(f"skipped  {line}")
    say(f"kept     epoch {tuned['best']['epoch']}, in {out / 'model'}")
