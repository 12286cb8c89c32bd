"""Commands that fine-tune a model, and use and measure what was fine-tuned."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bothways.cli import multitask
from bothways.cli.launch import as_processes, leads
from bothways.cli.options import (
    ConfigFile,
    Device,
    Processes,
    Restarts,
    Settings,
    TaskName,
    Track,
    begun_in,
    configured,
    from_record,
    refuse_beside_resume,
    repeated,
)
from bothways.cli.show import Json, load_torch, print_json, room_for, worth_lines
from bothways.terminal import Status, say

if TYPE_CHECKING:
    from bothways.corpus.lines import Skip
    from bothways.tasks.records import Columns, Skipped

Column = Annotated[list[str], repeated(metavar="ROLE=COLUMN", about="Which column is which, if its name does not tell")]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Leave out, count and list records that are wrong.")]
Generating = Annotated[
    list[str], repeated("--set", metavar="NAME=VALUE", about="How it writes, num_beams=4, or extracts, sentences=2")
]
LISTED = 10  # bad records
TOLD = (
    *("examples", "best", "test", "before", "tags", "objective", "adapter", "majority", "baselines"),
    *("shuffled_source", "held_out", "warnings", "truncated", "skipped"),
)
Run = Annotated[Path, typer.Argument(help="A run that finetune made, or its model/ folder.", show_default=False)]


@from_record(
    "bothways.training.finetuning:FinetuneConfig",
    *("task", "objective", "adapter", "train", "dev", "test", "out", "skip_bad"),
    model="",
)
def finetune(
    context: typer.Context,
    *,
    seeds: Annotated[
        int,
        typer.Option(min=1, help="So many runs, from the setting seed on, and their mean; again: go on."),
    ] = 1,
    settings: Settings,
    config: ConfigFile = None,
    tasks: Annotated[
        Path | None,
        typer.Option(help="A YAML file of several tasks to teach at once, each with its name and files."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out, exactly.")] = False,
    processes: Processes = 1,
    max_restarts: Restarts = 0,
    device: Device = None,
    track: Track = None,
    json: Json = False,
    **given: Any,
) -> None:
    """Teach a model to label, rate, tag, relate, answer from a text, choose, embed, extract, rerank, or write."""
    again = partial(_again, context, given, file=config, settings=settings)
    as_processes(processes, restarts=max_restarts, again=again)
    (display := FinetuneDisplay(quiet=json or not leads())).say("loading torch")
    from bothways.training.finetuning import FinetuneConfig, MultiTaskConfig, finetune_multitask, finetune_seeds
    from bothways.training.finetuning import finetune as finetune_one
    from bothways.training.run_folder import RunFolder

    out = given.get("out", FinetuneConfig.model_fields["out"].default)
    if resume:
        refuse_beside_resume(context, out)
        RunFolder(out).check()
    whole = tasks or multitask.names_tasks(out / "config.yaml" if resume else config)
    kind: Any = MultiTaskConfig if whole else FinetuneConfig
    if resume:
        chosen = RunFolder(out).config(kind).model_copy(update={"out": out})  # it may have moved
    elif whole:
        chosen = multitask.settings_of(tasks, given, file=config, more=settings)
    else:
        example = "finetune runs/mine --train train.jsonl"
        chosen = configured(FinetuneConfig, given, file=config, settings=settings, example=example)
    if seeds > 1:
        means = finetune_seeds(chosen, seeds, device=device, track=track, show=display.show, say=display.say)
        return _end(means, lambda: _tell_means(means, chosen.out), json=json)
    run: Callable[..., Path] = finetune_multitask if whole else finetune_one
    run(chosen, resume=resume, device=device, track=track, show=display.show, say=display.say)
    manifest = RunFolder(chosen.out).manifest()
    found, tell = (multitask.told(manifest), multitask.tell) if whole else ({k: manifest.get(k) for k in TOLD}, _tell)
    return _end(found, lambda: tell(manifest, chosen.out), json=json)


def _end(found: dict[str, Any], tell: Callable[[], None], *, json: bool) -> None:
    """What a run found, for programs or for people; of several processes the first says it."""
    if leads():
        print_json(found) if json else tell()


def _again(context: typer.Context, given: dict[str, Any], *, file: Path | None, settings: list[str]) -> list[str]:
    """The words that go on with what this command began: with its folder's settings, or, of several seeds, its own."""
    from bothways.training.finetuning import FinetuneConfig

    out = begun_in(FinetuneConfig, given, file=file, settings=settings)
    if out is None or context.params["resume"]:
        return sys.argv[1:]
    options = [word for name in ("device", "track") if (value := context.params[name]) for word in (f"--{name}", value)]
    options += ["--json"] if context.params["json"] else []
    return ["finetune", "--resume", "--out", str(out), *options]


def _tell(manifest: dict[str, Any], out: Path) -> None:
    from bothways.training.finetuning.page import adapter_line, cut_texts

    examples, cut, skipped = manifest["examples"], manifest["truncated"], manifest["skipped"]
    held = " (held out of --train by a hash of the texts)" if examples["dev_cut_from_train"] else ""
    lines = [
        "",
        f"read       {manifest['columns']}",
        f"examples   {examples['train']} train, {examples['dev']} dev{held}, {examples['test']} test",
        *([f"tags       {manifest['tags']}"] if manifest["tags"] else []),
        *([f"objective  {taught['name']}: {taught['why']}"] if (taught := manifest.get("objective")) else []),
        *([f"adapter    {adapter_line(adapter)}"] if (adapter := manifest.get("adapter")) else []),
        f"cut        {cut_texts(cut)}",
        *(f"skipped    {line}" for line in skipped[:LISTED]),
        *([f"           and {len(skipped) - LISTED} more, in {out / 'manifest.json'}"] if skipped[LISTED:] else []),
        *(f"{name:10} {line}" for name, line in worth_lines(manifest)),
        f"kept       epoch {manifest['best']['epoch']}, in {out / ('adapter' if adapter else 'model')}",
    ]
    say("\n".join(lines))


def _tell_means(means: dict[str, Any], out: Path) -> None:
    lines = [""]
    for where in ("dev", "test"):
        for name, one in (means[where] or {}).items():
            values = ", ".join(f"{value:.4f}" for value in one["values"])
            lines.append(f"{where:6s} {name:20s} {one['mean']:.4f} ± {one['half_width']:.4f}   ({values})")
    lines += [f"{name}  {line}" for name, line in worth_lines(means)]
    kept = next(out / name for name in ("adapter", "model") if (out / name).is_dir())
    say("\n".join([*lines, f"kept   {means['kept']}, in {kept}"]))


class FinetuneDisplay:
    """What is being done, a line an epoch, and one of the test."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._status = Status()
        self._losses: list[float] = []

    def say(self, text: str) -> None:
        """A line for people."""
        if not self._quiet:
            self._status()
            say(text)

    def show(self, line: dict[str, Any]) -> None:
        """A line of metrics.jsonl as it is written."""
        if self._quiet:
            return
        if line["kind"] == "train":
            self._losses.append(line["loss"])
            recent = sum(self._losses[-20:]) / len(self._losses[-20:])
            self._status(f"{line['progress']:4.0%}  step {line['step']}/{line['steps']}  loss {recent:.3f}")
            return
        scores = "  ".join(f"{name} {value:.4f}" for name, value in line["scores"].items())
        label = f"epoch {line['epoch']}" if line["kind"] == "validation" else "test"
        loss = ""
        if line["kind"] == "validation":  # of a run that was stopped before it, the steps are not known here
            loss = f"loss {sum(self._losses) / len(self._losses):.4f}  " if self._losses else ""
            loss += f"dev loss {line['loss']:.4f}  " if line["loss"] is not None else ""
        self._losses = [] if line["kind"] == "validation" else self._losses
        self.say(f"{label:8s}  {loss}{scores}")


def as_columns(texts: list[str]) -> dict[str, str]:
    """{role: column} of --column.

    Raises:
        UsageError: one without "=".
    """
    from bothways.errors import UsageError

    found = {}
    for text in texts:
        role, equals, name = text.partition("=")
        if not equals or not name:
            raise UsageError(f"--column expects ROLE=COLUMN, as in label=stars; got {text!r}")
        found[role] = name
    return found


def skipping(skip_bad: bool) -> tuple[Skip, Skipped]:
    """What is done with a record that is wrong, and those that were left out."""
    from bothways.tasks.records import Skipped, refuse

    skipped = Skipped()
    return (skipped if skip_bad else refuse), skipped


def show_columns(columns: Columns) -> None:
    """Says how the columns of a file are read."""
    say(f"read  {columns}")


def merge(
    run: Annotated[Path, typer.Argument(help="A run of finetune --adapter, or its adapter/ folder.")],
    out: Annotated[Path, typer.Option(help="The folder of the whole model.", show_default=False)],
) -> None:
    """Add what an adapter learned to the weights of its base: a whole model, which needs neither."""
    load_torch()
    from bothways.claims import CLAIM
    from bothways.errors import ModelError, UsageError
    from bothways.inference.loading import folder_of_adapter, load
    from bothways.model.huggingface.adapter_folders import is_adapter

    if not is_adapter(folder_of_adapter(run)):
        raise ModelError(f"{run} holds no adapter: expected a run of finetune --adapter, or its folder adapter/")
    room_for(out, kind="folder")
    if any(path.name != CLAIM for path in out.iterdir()):
        raise UsageError(f"{out} is there already: choose another --out")
    model = load(run, device="cpu")
    for folder in model.merge().save(out):
        say(f"saved in {folder}")


def predict(
    run: Run,
    file: Annotated[Path, typer.Argument(help="Records: jsonl, csv or tsv; answers in them are not read.")],
    out: Annotated[Path, typer.Option(help="A line of JSON for every record, in order.", show_default=False)],
    column: Column,
    settings: Generating,
    task: TaskName = None,
    skip_bad: SkipBad = False,
    device: Device = None,
) -> None:
    """Answer every record of a file, of any size."""
    load_torch()
    from bothways.config import with_settings
    from bothways.training.finetuning import predict as write

    skip, skipped = skipping(skip_bad)
    options, columns = with_settings({}, settings), as_columns(column)
    asked = {"task": task, "columns": columns, "skip": skip, "device": device, "show": show_columns}
    count = write(run, file, out, **asked, **options)
    say(f"{count} answers in {out}")
    for line in skipped.found:
        say(f"skipped  {line}")


def evaluate(
    run: Run,
    column: Column,
    settings: Generating,
    file: Annotated[
        Path | None,
        typer.Argument(
            help="Records with their right answers: jsonl, csv or tsv; left out, those of a run of several tasks.",
            show_default=False,
        ),
    ] = None,
    task: TaskName = None,
    skip_bad: SkipBad = False,
    device: Device = None,
    json: Json = False,
) -> None:
    """Measure a fine-tuned model on a file."""
    load_torch()
    from bothways.config import with_settings
    from bothways.training.finetuning import evaluate as measure

    skip, skipped = skipping(skip_bad)
    show = (lambda columns: None) if json or file is None else show_columns
    options, columns = with_settings({}, settings), as_columns(column)
    scores = measure(run, file, task=task, columns=columns, skip=skip, device=device, show=show, **options)
    if json:
        return print_json(scores | {"skipped": len(skipped.found)})
    if file is None or "tasks" in scores:
        return multitask.tell_scores(scores)
    figures = {name: value for name, value in scores.items() if isinstance(value, int | float)}
    told = {name: str(value) if isinstance(value, int) else f"{value:.4f}" for name, value in figures.items()}
    tags = [("tags", scores["tags"])] if scores["tags"] else []
    for name, line in [*told.items(), *tags, *worth_lines(scores)]:
        say(f"{name:20s} {line}")
    for line in skipped.found:
        say(f"skipped  {line}")
    return None
