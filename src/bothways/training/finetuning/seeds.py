"""The same fine-tuning with several seeds: one run is chance, their mean and its interval less so."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from bothways.arguments import checked
from bothways.errors import Stopped, UsageError
from bothways.statistics import Mean
from bothways.training.finetuning.baselines import SEEN
from bothways.training.finetuning.config import FinetuneConfig
from bothways.training.finetuning.run import finetune
from bothways.training.finetuning.several import finetune_several
from bothways.training.finetuning.several_config import SeveralConfig
from bothways.training.fit import Say, Show
from bothways.training.run_folder import RunFolder


@checked
def finetune_seeds(
    config: FinetuneConfig | SeveralConfig,
    seeds: int,
    *,
    device: torch.device | str | None = None,
    track: str | None = None,
    show: Show = lambda line: None,
    say: Say = lambda text: None,
) -> dict[str, Any]:
    """Runs in `out/seed-I` for each of the seeds from `config.seed` on, of one task or of several at once; those that
    are done are not done again.

    The model of the best run, by its score on the dev examples, is `out/model`. Returns what is in `out/manifest.json`:
    {"seeds", "kept", "dev": {metric: Mean as a record}, "test": the same or None}; of several tasks each by its own
    metric, and their mean.

    Raises:
        UsageError: a run there has other settings, or is one of a single seed.
        Stopped: SIGTERM or Ctrl-C came; the run that was going on is saved.
    """
    if (config.out / "config.yaml").is_file():
        raise UsageError(f"{config.out} holds a run of one seed; choose another --out")
    several = isinstance(config, SeveralConfig)
    run_one, kind = (finetune_several, SeveralConfig) if several else (finetune, FinetuneConfig)
    runs = []
    for seed in range(config.seed, config.seed + seeds):
        own = config.model_copy(update={"seed": seed, "out": config.out / f"seed-{seed}"})
        folder = RunFolder(own.out)
        begun = (own.out / "config.yaml").is_file()
        if begun and folder.config(kind) != own:
            raise UsageError(f"{own.out} was started with other settings; choose another --out")
        if folder.manifest().get("status") != "done":
            say(f"seed {seed}")
            try:
                run_one(own, resume=begun, device=device, track=track, show=show, say=say)
            except Stopped as stopped:
                message = f"stopped in seed {seed} and saved. Go on with the same command."
                raise Stopped(message, exit_code=stopped.exit_code) from None
        runs.append(folder)
    manifests = [run.manifest() for run in runs]
    best = max(range(seeds), key=lambda i: next(iter(manifests[i]["best"]["scores"].values())))
    _keep(runs[best].path, config.out)
    manifest: dict[str, Any] = {
        "status": "done",
        "seeds": [run.path.name for run in runs],
        "kept": runs[best].path.name,
        **{
            key: manifests[best].get(key)
            for key in (() if several else ("roles", "label_names", "majority", "baselines", "warnings"))
        },
        **{
            key: manifests[best][key]
            for key in ("code", "objective", "shuffled_source", "tasks")
            if key in manifests[best]
        },
        "dev": _means([one["best"]["scores"] for one in manifests]),
        "test": _means([one["test"] for one in manifests]) if manifests[best].get("test") else None,
    }
    RunFolder(config.out).note(**manifest)
    return manifest


def _keep(run: Path, out: Path) -> None:
    """Copies a run's model, and which texts it was trained on; a run of an older version has not noted these."""
    for folder in ("model", "tasks"):
        shutil.rmtree(out / folder, ignore_errors=True)
        if (run / folder).is_dir():
            shutil.copytree(run / folder, out / folder)
    if (run / SEEN).is_file():
        shutil.copy(run / SEEN, out / SEEN)


def _means(scores: Sequence[dict[str, float]]) -> dict[str, dict[str, Any]]:
    means = {name: Mean.of([one[name] for one in scores]) for name in scores[0]}
    return {name: {"mean": one.mean, "half_width": one.half, "values": one.values} for name, one in means.items()}
