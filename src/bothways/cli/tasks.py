"""Commands that fine-tune a model, and use and measure what was fine-tuned."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bothways.cli.show import Json, console, options_given, print_json

if TYPE_CHECKING:
    from bothways.tasks.records import Columns, Skip, Skipped

Column = Annotated[
    list[str],
    typer.Option(metavar="ROLE=COLUMN", help="Which column is which, if its name does not tell; may be repeated."),
]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Leave out, count and list records that are wrong.")]
LISTED = 10  # bad records
Run = Annotated[Path, typer.Argument(help="A run that finetune made, or its model/ folder.", show_default=False)]


def finetune(
    context: typer.Context,
    model: Annotated[
        str | None, typer.Argument(help="A run, a Hugging Face folder, or a name of its hub.", show_default=False)
    ] = None,
    task: Annotated[
        str, typer.Option(help="classify, match, tag, intent, relate, answer, choose or embed.")
    ] = "classify",
    train: Annotated[Path | None, typer.Option(help="Records to learn from: jsonl, csv or tsv.")] = None,
    dev: Annotated[Path | None, typer.Option(help="Records to choose an epoch by; left out, some of --train.")] = None,
    test: Annotated[Path | None, typer.Option(help="Records to measure the chosen epoch on, once.")] = None,
    out: Annotated[Path, typer.Option(help="The run's folder.")] = Path("runs/tuned"),
    column: Column = [],  # noqa: B006
    skip_bad: SkipBad = False,
    epochs: Annotated[int, typer.Option(min=1, help="Times that everything is read.")] = 3,
    seed: Annotated[int, typer.Option(min=0, help="Of the new head, the order and dropout.")] = 0,
    seeds: Annotated[
        int, typer.Option(min=1, help="So many runs, from --seed on, and their mean; the same command goes on.")
    ] = 1,
    settings: Annotated[
        list[str], typer.Option("--set", metavar="KEY=VALUE", help="Any setting: batch=16; may be repeated.")
    ] = [],  # noqa: B006
    resume: Annotated[bool, typer.Option(help="Go on with the run in --out.")] = False,
    json: Json = False,
) -> None:
    """Teach a model to label, rate, tag or relate, to answer from a text, to choose one of several, or to embed."""
    from bothways.errors import UsageError
    from bothways.pretraining.config import read, with_settings
    from bothways.pretraining.folder import RunFolder
    from bothways.tasks import FinetuneConfig, finetune_seeds
    from bothways.tasks import finetune as run

    if resume:
        _refuse_settings(context, out)
        config = RunFolder(out).config_as(FinetuneConfig)
    elif model is None or train is None:
        raise UsageError("expected a model and --train FILE, as in: bothways finetune runs/mine --train train.jsonl")
    else:
        values = {
            "model": model,
            "task": task,
            "train": str(train),
            "dev": dev and str(dev),
            "test": test and str(test),
            "out": str(out),
            "columns": _columns(column),
            "skip_bad": skip_bad,
            "epochs": epochs,
            "seed": seed,
        }
        config = read(FinetuneConfig, with_settings(values, settings))
    show = (lambda line: None) if json else Display().show
    if seeds > 1:
        means = finetune_seeds(config, seeds, show=show)
        return print_json(means) if json else _tell_means(means, config.out)
    run(config, resume=resume, show=show)
    manifest = RunFolder(config.out).manifest()
    if json:
        return print_json({key: manifest.get(key) for key in ("examples", "best", "test", "truncated", "skipped")})
    return _tell(manifest, config.out)


def _refuse_settings(context: typer.Context, out: Path) -> None:
    """
    Raises:
        UsageError: what a run that goes on would not heed.
    """
    from bothways.errors import UsageError

    if said := [shown for name, shown in options_given(context).items() if name not in ("resume", "out", "json")]:
        raise UsageError(f"--resume goes on with the settings in {out / 'config.yaml'}: leave out {', '.join(said)}")


def _tell(manifest: dict[str, Any], out: Path) -> None:
    from bothways.tasks.report import cut_texts

    examples, cut, skipped = manifest["examples"], manifest["truncated"], manifest["skipped"]
    held = " (held out of --train by a hash of the texts)" if examples["dev_cut_from_train"] else ""
    lines = [
        "",
        f"read       {manifest['columns']}",
        f"examples   {examples['train']} train, {examples['dev']} dev{held}, {examples['test']} test",
        f"cut        {cut_texts(cut)}",
        *(f"skipped    {line}" for line in skipped[:LISTED]),
        *([f"           and {len(skipped) - LISTED} more, in {out / 'manifest.json'}"] if skipped[LISTED:] else []),
        f"kept       epoch {manifest['best']['epoch']}, in {out / 'model'}",
    ]
    console().out("\n".join(lines), highlight=False)


def _tell_means(means: dict[str, Any], out: Path) -> None:
    lines = [""]
    for where in ("dev", "test"):
        for name, one in (means[where] or {}).items():
            values = ", ".join(f"{value:.4f}" for value in one["values"])
            lines.append(f"{where:6s} {name:20s} {one['mean']:.4f} ± {one['half_width']:.4f}   ({values})")
    console().out("\n".join([*lines, f"kept   {means['kept']}, in {out / 'model'}"]), highlight=False)


class Display:
    """A line an epoch, and one of the test."""

    def __init__(self) -> None:
        self._losses: list[float] = []

    def show(self, line: dict[str, Any]) -> None:
        if line["kind"] == "train":
            self._losses.append(line["loss"])
            if sys.stderr.isatty():
                recent = sum(self._losses[-20:]) / len(self._losses[-20:])
                end = "\n" if line["progress"] == 1 else ""
                sys.stderr.write(f"\r{line['progress']:4.0%}  step {line['step']}  loss {recent:.3f}{end}")
            return
        scores = "  ".join(f"{name} {value:.4f}" for name, value in line["scores"].items())
        label = f"epoch {line['epoch']}" if line["kind"] == "validation" else "test"
        loss = f"loss {sum(self._losses) / len(self._losses):.4f}  " if line["kind"] == "validation" else ""
        self._losses = [] if line["kind"] == "validation" else self._losses
        console().out(f"{label:8s}  {loss}{scores}", highlight=False)


def _columns(texts: list[str]) -> dict[str, str]:
    from bothways.errors import UsageError, unknown
    from bothways.tasks.records import NAMES

    found = {}
    for text in texts:
        role, equals, name = text.partition("=")
        if not equals or not name:
            raise UsageError(f"--column expects ROLE=COLUMN, as in label=stars; got {text!r}")
        if role not in NAMES:
            raise unknown("role of a column", role, NAMES)
        found[role] = name
    return found


def _skip(skip_bad: bool) -> tuple[Skip, Skipped]:
    from bothways.tasks.records import Skipped, refuse

    skipped = Skipped()
    return (skipped if skip_bad else refuse), skipped


def _show_columns(columns: Columns) -> None:
    console().out(f"read  {columns}", highlight=False)


def predict(
    run: Run,
    file: Annotated[Path, typer.Argument(help="Records: jsonl, csv or tsv; answers in them are not read.")],
    out: Annotated[Path, typer.Option(help="A line of JSON for every record, in order.", show_default=False)],
    column: Column = [],  # noqa: B006
    skip_bad: SkipBad = False,
) -> None:
    """Answer every record of a file, of any size."""
    from bothways.tasks import predict as write

    skip, skipped = _skip(skip_bad)
    count = write(run, file, out, columns=_columns(column), skip=skip, show=_show_columns)
    console().out(f"{count} answers in {out}", highlight=False)
    for line in skipped.found:
        console().out(f"skipped  {line}", highlight=False)


def evaluate(
    run: Run,
    file: Annotated[Path, typer.Argument(help="Records with their right answers: jsonl, csv or tsv.")],
    column: Column = [],  # noqa: B006
    skip_bad: SkipBad = False,
    json: Json = False,
) -> None:
    """Measure a fine-tuned model on a file."""
    from bothways.tasks import evaluate as measure

    skip, skipped = _skip(skip_bad)
    show = (lambda columns: None) if json else _show_columns
    scores = measure(run, file, columns=_columns(column), skip=skip, show=show)
    if json:
        return print_json(scores | {"skipped": len(skipped.found)})
    for name, value in scores.items():
        console().out(f"{name:20s} {value if isinstance(value, int) else format(value, '.4f')}", highlight=False)
    for line in skipped.found:
        console().out(f"skipped  {line}", highlight=False)
    return None
