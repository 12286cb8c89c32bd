"""The same fine-tuning with several seeds: one run is chance, their mean and its interval less so."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from bothways.arguments import checked
from bothways.claims import claimed
from bothways.errors import Stopped, UsageError
from bothways.files import folder_aside, take_place, whole_file
from bothways.statistics import Mean
from bothways.training.finetuning.baselines import SEEN
from bothways.training.finetuning.config import FinetuneConfig
from bothways.training.finetuning.multitask import finetune_multitask
from bothways.training.finetuning.multitask_config import MultiTaskConfig
from bothways.training.finetuning.run import finetune
from bothways.training.fit import Say, Show
from bothways.training.processes import Processes, processes
from bothways.training.run_folder import RunFolder


@checked
def finetune_seeds(
    config: FinetuneConfig | MultiTaskConfig,
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
    with processes(device=device) as team, claimed(config.out, writes=team.first):
        runs = _runs(config, seeds, team, track=track, show=show, say=say if team.first else lambda text: None)
        manifests = [run.manifest() for run in runs]
        best = max(range(seeds), key=lambda i: next(iter(manifests[i]["best"]["scores"].values())))
        manifest = _manifest(config, runs, manifests, best)
        team.once(lambda: _keep(config.out, runs[best].path, manifest))
    return manifest


def _runs(
    config: FinetuneConfig | MultiTaskConfig, seeds: int, team: Processes, *, track: str | None, show: Show, say: Say
) -> list[RunFolder]:
    """The runs of all seeds, each of them done."""
    if (config.out / "config.yaml").is_file():
        raise UsageError(f"{config.out} holds a run of one seed; choose another --out")
    several = isinstance(config, MultiTaskConfig)
    run_one, kind = (finetune_multitask, MultiTaskConfig) if several else (finetune, FinetuneConfig)
    runs = []
    for seed in range(config.seed, config.seed + seeds):
        own = config.model_copy(update={"seed": seed, "out": config.out / f"seed-{seed}"})
        folder = RunFolder(own.out)
        begun = (own.out / "config.yaml").is_file()
        if begun and folder.config(kind) != own:
            raise UsageError(f"{own.out} was started with other settings; choose another --out")
        done = folder.manifest().get("status") == "done"
        team.wait()  # all have seen how far it was
        if done:
            with claimed(own.out, writes=team.first):
                pass  # the claim of one that was killed after its last word goes
        else:
            say(f"seed {seed}")
            try:
                run_one(own, resume=begun, device=team.device, track=track, show=show, say=say)
            except Stopped as stopped:
                message = f"stopped in seed {seed} and saved. Go on with the same command."
                raise Stopped(message, exit_code=stopped.exit_code) from None
        runs.append(folder)
    return runs


def _manifest(
    config: FinetuneConfig | MultiTaskConfig, runs: Sequence[RunFolder], manifests: Sequence[dict[str, Any]], best: int
) -> dict[str, Any]:
    several = isinstance(config, MultiTaskConfig)
    return {
        "status": "done",
        "seeds": [run.path.name for run in runs],
        "kept": runs[best].path.name,
        **{
            key: manifests[best].get(key)
            for key in (() if several else ("roles", "label_names", "majority", "baselines", "warnings"))
        },
        **{
            key: manifests[best][key]
            for key in ("code", "objective", "shuffled_source", "before", "tasks")
            if key in manifests[best]
        },
        "dev": _means([one["best"]["scores"] for one in manifests]),
        "test": _means([one["test"] for one in manifests]) if manifests[best].get("test") else None,
    }


def _keep(out: Path, best: Path, manifest: dict[str, Any]) -> None:
    """The best model, which texts it was trained on, and what is known of all runs, in the folder around them; a run of
    an older version has not noted the texts."""
    for folder in ("model", "adapter", "tasks"):
        if (best / folder).is_dir():
            with folder_aside(out / folder) as aside:
                for path in sorted((best / folder).rglob("*")):  # copytree would gather the disk's refusals
                    place = aside / path.relative_to(best / folder)
                    place.mkdir() if path.is_dir() else shutil.copyfile(path, place)
                take_place(aside, out / folder)
    if (best / SEEN).is_file():
        with whole_file(out / SEEN, "wb") as file:
            file.write((best / SEEN).read_bytes())
    RunFolder(out).note(**manifest)


def _means(scores: Sequence[dict[str, float]]) -> dict[str, dict[str, Any]]:
    means = {name: Mean.of([one[name] for one in scores]) for name in scores[0]}
    return {name: {"mean": one.mean, "half_width": one.half, "values": one.values} for name, one in means.items()}
