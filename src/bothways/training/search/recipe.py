"""What a search found, as a Python file that `--config` takes, in the form of those in recipes/."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from bothways.config import put
from bothways.machine import cores, processor
from bothways.terminal import command
from bothways.training.pretraining.config import PretrainConfig
from bothways.training.search.config import OUR_OWN, SearchConfig
from bothways.training.search.halving import Trial

ALWAYS = ("step_tokens", "optimiser", "schedule")
"""Settings of training that a recipe names though they may be the defaults: those may change."""
OPTIONS = {
    "objective": "--objective",
    "size": "--size",
    "hours": "--hours",
    "processes": "--processes",
    "start": "--from",
}
FILE = '''"""{title}

{about}
"""

from __future__ import annotations

from typing import Any


def recipe() -> dict[str, Any]:
    """The settings of a run, without shards and out."""
    return {settings}
'''


def recipe_file(config: SearchConfig, best: Trial, run: PretrainConfig, others: int) -> str:
    """The whole file.

    Args:
        run: of the best trial.
        others: how many candidates were tried beside it.
    """
    length = timedelta(seconds=round(best.budget))
    processes = f" --processes {config.processes}" if config.processes > 1 else ""
    about = "\n".join(
        [
            f"Good for: runs of about {length} ({best.steps:,} steps) on text like {config.shards}. Longer ones",
            "often want a lower learning rate: search again with more hours.",
            f"Reached: a held-out loss of {best.loss:.4f} nats after that time on {processor()}, {cores()} cores, one",
            f"seed; the least of {others + 1} candidates.",
            "Again:",
            f"    {again(config)}",
            f"    bothways pretrain SHARDS --config THIS_FILE --out RUN{processes}",
        ]
    )
    title = f"{config.objective}, {config.start or config.size}: found by search, {best.candidate.label}."
    settings = literal(settings_of(config, best, run), depth=1)
    return FILE.format(title=_in_docstring(title), about=_in_docstring(about), settings=settings)


def _in_docstring(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"""', r"\"\"\"")


def again(config: SearchConfig) -> str:
    """The command that searches in the same way, in another folder."""
    words: list[object] = [config.shards]
    for name, value in config.model_dump(mode="json", include=config.model_fields_set - {"shards", "out"}).items():
        plain = value if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else json.dumps(value)
        words += [OPTIONS[name], plain] if name in OPTIONS else ["--set", f"{name}={plain}"]
    return command("search", *words, "--out", "SEARCH")


def settings_of(config: SearchConfig, best: Trial, run: PretrainConfig) -> dict[str, Any]:
    """What a recipe gives: what the search was given, and what it found."""
    values = config.plain()
    for name, value in best.candidate.settings.items():
        put(values, name, value, "space")
    training = run.training.model_dump(mode="json")
    named = [*dict.fromkeys([*ALWAYS, *values["training"]])]
    own = {name: training[name] for name in named if name not in (*OUR_OWN, "seed")}
    given = {name: values[name] for name in ("size", "start", "model", "code") if values.get(name)}
    given = given if "size" in given or config.start else {"size": config.size, **given}
    given |= {"code": [str(file) for file in config.code]} if config.code else {}
    budget = {"budget": f"{round(best.budget)}s"}
    return {"objective": config.objective, **given, "training": {**budget, **own}}


def literal(value: Any, *, depth: int = 0) -> str:
    """A value as Python, a line for every key."""
    if not isinstance(value, dict) or not value:
        return f'"{value}"' if isinstance(value, str) and '"' not in value and "\\" not in value else repr(value)
    inside = "    " * (depth + 1)
    lines = [f'{inside}"{key}": {literal(one, depth=depth + 1)},' for key, one in value.items()]
    return "\n".join(["{", *lines, "    " * depth + "}"])
