"""Fine-tuning to several tasks, on the command line: settings from a file, and what is told at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bothways.cli.options import configured
from bothways.cli.show import worth_lines
from bothways.terminal import say

if TYPE_CHECKING:
    from bothways.training.finetuning import MultiTaskConfig

OF_ONE = ("task", "train", "dev", "test")
"""Options of a run of one task; of several, the file says them."""
TOLD = (
    *("examples", "share", "dev", "test", "test_intervals", "beside", "majority", "baselines"),
    *("shuffled_source", "objective", "warnings", "truncated", "skipped"),
)


def names_tasks(config: Path | None) -> bool:
    """Whether a YAML file of settings is one of several tasks, as the config.yaml of such a run is."""
    from bothways.config import load_config

    return config is not None and config.is_file() and "tasks" in load_config(config)


def settings_of(
    tasks: Path | None, given: Mapping[str, Any], *, file: Path | None, more: Sequence[str]
) -> MultiTaskConfig:
    """Those of the file of tasks, of --config, of the options and of --set, the last over the first.

    Raises:
        UsageError: an option of a run of one task; or what cannot be read.
    """
    from bothways.errors import UsageError
    from bothways.training.finetuning import MultiTaskConfig, tasks_in

    if odd := [f"--{name}" for name in OF_ONE if name in given]:
        raise UsageError(f"{tasks or file} says what each task is: leave out {', '.join(odd)}")
    example = "finetune runs/mine --tasks tasks.yaml"
    before = tasks_in(tasks) if tasks else {}
    return configured(MultiTaskConfig, given, file=file, settings=more, example=example, before=before)


def told(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What a finished run tells programs."""
    tasks = {name: {key: one.get(key) for key in TOLD} for name, one in manifest["tasks"].items()}
    return {"best": manifest["best"], "test": manifest.get("test"), "tasks": tasks}


def tell(manifest: Mapping[str, Any], out: Path) -> None:
    """A finished run, task by task."""
    for name, one in manifest["tasks"].items():
        counts = one["examples"]
        held = " (held out of train)" if counts["dev_cut_from_train"] else ""
        counted = f"{counts['train']} train, {counts['dev']} dev{held}, {counts['test']} test"
        taught = f" by {by['name']}" if (by := one.get("objective")) else ""
        say(f"\n{name}: {one['task']}{taught}, drawn {one['share']:.0%} of the time; {counted}")
        for where in ("dev", "test"):
            if one.get(where):
                say(f"  {where:10} {_figures(one[where])}")
        if (beside := one.get("beside")) and beside["scores"]:
            say(f"  alone      {_figures(beside['scores'])}  ({beside['run']}, {beside['where']})")
        for kind, line in worth_lines(one):
            say(f"  {kind:10} {line}")
        for line in one["skipped"][:10]:
            say(f"  skipped    {line}")
    best = manifest["best"]
    place = out / ("adapter" if manifest.get("adapter") else "model")
    say(f"\nkept epoch {best['epoch']}, mean {best['scores']['mean']:.4f} on dev, in {place}")


def tell_scores(found: Mapping[str, Any]) -> None:
    """What `evaluate` found of every task."""
    for name, one in found["tasks"].items():
        figures = {key: value for key, value in one.items() if isinstance(value, float)}
        say(f"{name:20s} {_figures(figures)}  ({one['examples']} examples)")
        for kind, line in worth_lines(one):
            say(f"  {kind:10} {line}")
    say(f"{'mean':20s} {found['mean']:.4f}")
    if found["left_out"]:
        say(f"left out, since they name no test or dev file: {', '.join(found['left_out'])}")


def _figures(scores: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:.4f}" for name, value in scores.items())
