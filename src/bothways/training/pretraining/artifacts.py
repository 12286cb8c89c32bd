"""What stands around the training: the manifest and the baselines before it, the model and its report after it."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from bothways import __version__, machine
from bothways.corpus import Shards
from bothways.corpus.counts import count, summary
from bothways.corpus.ngrams import baselines
from bothways.files import folder_aside, take_place
from bothways.inference import load
from bothways.model import Abilities, ModelConfig, save_faces
from bothways.model.huggingface.card import Card
from bothways.terminal import command
from bothways.training.config import TrainingConfig
from bothways.training.evaluate import bits_per_byte
from bothways.training.pretraining.batches import validation_rows
from bothways.training.pretraining.page import write_report
from bothways.training.pretraining.setup import PretrainRun, networks_of
from bothways.training.pretraining.showcase import samples

COUNTED = 1 << 26  # tokens whose documents are measured for the report
VERSIONS = ("torch", "numpy", "tokenizers", "safetensors")


def begin(run: PretrainRun) -> None:
    """Writes the manifest: what is trained, on what, with which versions, and what counting alone can do."""
    if not run.team.first:
        return
    manifest, statistics = run.folder.manifest(), run.shards.manifest
    run.folder.note(
        status="running",
        objective={"name": run.objective.name, "faces": list(run.objective.abilities.faces)},
        versions={"bothways": __version__}
        | {name: machine.package_version(name) for name in VERSIONS}
        | {"python": platform.python_version()},
        data={
            "fingerprint": run.shards.fingerprint,
            **({"replay": run.replay.fingerprint} if run.replay else {}),
            "train": statistics.train.model_dump(include={"documents", "token_count", "bytes"}),
            "validation": statistics.validation.model_dump(include={"documents", "token_count", "bytes"}),
        },
        model={"parameters": run.model.parameter_count(), **run.model.config.model_dump()},
        machine={
            "processor": machine.processor(),
            "processes": run.team.count,
            "precision": run.precision,
            "peak": run.peak,
            "huge_pages": machine.huge_pages_asked() and machine.huge_pages() in ("always", "madvise"),
        },
        text=manifest.get("text") or summary(run.shards, count(run.shards, run.shards.train, at_most=COUNTED)),
        baselines=manifest.get("baselines") or count_baselines(run.shards, run.config.training),
    )


def count_baselines(shards: Shards, config: TrainingConfig) -> dict[str, dict[str, Any]]:
    """Unigram, bigram and trigram on the rows that a model is validated on: {name: its figures}."""
    rows = [row.tokens for row in validation_rows(shards, config)]
    size = shards.validation.bytes_a_prediction
    found = baselines(shards.train, rows, shards.vocabulary)
    return {
        name: {**asdict(baseline), "bits_per_byte": bits_per_byte(baseline.nats, size)}
        for name, baseline in found.items()
    }


def keep(run: PretrainRun) -> None:
    """Saves the model as it is now below kept/, unless it stands there, as `finish` does in the end."""
    weights = run.full_weights()
    place = run.folder.kept / f"step-{run.state.step}"
    if run.team.first and not place.exists():
        with folder_aside(place) as aside:
            _save(run, aside, weights)
            take_place(aside, place)
    run.team.wait()


def finish(run: PretrainRun) -> None:
    """Exports the model for the faces its objective trained, lets it speak, and writes the report."""
    weights = run.full_weights()
    if not run.team.first:
        return
    _save(run, run.folder.path, weights)
    loaded = load(run.folder.path, device="cpu")
    other = run.folder.path / "generator"
    generator = load(other, device="cpu") if other.exists() else None
    rows = validation_rows(run.shards, run.config.training)
    run.folder.note(status="done", samples=samples(loaded, rows, generator=generator))
    write_report(run.folder.path)


def _save(run: PretrainRun, place: Path, weights: Mapping[str, Tensor]) -> None:
    """The model's faces; and other networks, each under its name."""
    for name, own, config, trained in networks_of(run.objective, weights, run.model.config):
        if name:
            with folder_aside(place / name) as aside:
                (folder,) = _faces(run, aside, own, config, trained)
                take_place(folder, place / name)
        else:
            _faces(run, place, own, config, trained)


def _faces(
    run: PretrainRun, place: Path, weights: Mapping[str, Tensor], config: ModelConfig, trained: Abilities
) -> list[Path]:
    return save_faces(
        place,
        weights=weights,
        config=config,
        vocabulary=run.shards.vocabulary,
        trained=trained,
        save_tokenizer=lambda folder, face: run.shards.tokenizer.save(
            folder, template=face, length=config.length, segments=config.segments > 1
        ),
        card=_card(run, trained, weights, config),
    )


def _card(run: PretrainRun, trained: Abilities, weights: Mapping[str, Tensor], config: ModelConfig) -> Card:
    last = run.folder.last("validation")
    baselines, data = run.folder.noted("baselines"), run.folder.noted("data")["train"]
    measured = {
        "bits per byte": ("bits_per_byte", last["bits_per_byte"].get("causal")),
        "next-word accuracy": ("next_accuracy", last["next_accuracy"]),
        "fill accuracy": ("fill_accuracy", last["fill_accuracy"]),
    }
    return Card(
        name=run.folder.path.resolve().name,
        trained=trained,
        config=config,
        parameters=sum(weight.numel() for name, weight in weights.items() if not name.startswith("parts.")),
        about=f"{run.objective.about.summary} ({run.objective.about.paper})",
        facts={
            "text": f"{data['documents']:,} documents, {data['token_count']:,} tokens, {data['bytes']:,} bytes",
            "fingerprint of the data": run.folder.noted("data")["fingerprint"][:16],
            "training": f"{run.state.step:,} steps, {run.state.tokens:,} tokens read, {run.seconds / 60:.1f} minutes "
            f"on {run.folder.noted('machine')['processor']}, {run.team.count} process(es), {run.precision}",
        },
        figures={
            name: {"this model": value, **{gram: figures.get(key) for gram, figures in baselines.items()}}
            for name, (key, value) in measured.items()
            if value is not None
        },
        command=command("pretrain", "--config", Path(run.folder.path.name) / "config.yaml"),
    )
