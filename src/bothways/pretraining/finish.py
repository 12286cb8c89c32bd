"""What stands around the training: the manifest and the baselines before it, the model and its report after it."""

from __future__ import annotations

import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bothways import machine
from bothways.corpus.ngrams import baselines
from bothways.model.config import ModelConfig
from bothways.pretraining.batches import bits_per_nat, validation_rows
from bothways.pretraining.setup import Run
from bothways.reports import write_report

VERSIONS = ("bothways", "torch", "numpy", "tokenizers", "safetensors")


def begin(run: Run) -> None:
    """Writes the manifest: what is trained, on what, with which versions, and what counting alone can do."""
    if not run.team.first:
        return
    manifest, statistics = run.folder.manifest(), run.shards.manifest
    run.folder.note(
        status="running",
        objective={"name": run.objective.name, "faces": list(run.objective.about.faces)},
        versions={name: machine.package_version(name) for name in VERSIONS} | {"python": platform.python_version()},
        data={
            "fingerprint": run.shards.fingerprint,
            "train": statistics.train.model_dump(include={"documents", "pieces", "bytes"}),
            "validation": statistics.validation.model_dump(include={"documents", "pieces", "bytes"}),
        },
        model={"parameters": run.model.parameter_count(), **run.model.config.model_dump()},
        machine={
            "processor": machine.processor(),
            "processes": run.team.count,
            "precision": run.precision,
            "peak": run.peak,
            "huge_pages": machine.huge_pages_asked() and machine.huge_pages() in ("always", "madvise"),
        },
        baselines=manifest.get("baselines") or _baselines(run),
    )


def _baselines(run: Run) -> dict[str, dict[str, Any]]:
    """Unigram, bigram and trigram on the rows that the model is validated on."""
    train = run.shards.train
    rows = [row.pieces for row in validation_rows(run.shards, run.config.training)]
    pieces, _ = train.read(0, train.pieces)
    factor = bits_per_nat(run.shards.validation)
    found = baselines(pieces, rows, run.shards.vocabulary)
    return {name: {**asdict(baseline), "bits_per_byte": baseline.nats * factor} for name, baseline in found.items()}


def finish(run: Run) -> None:
    """Exports the model for the faces its objective trained, and writes the report."""
    weights = run.full_weights()
    if not run.team.first:
        return
    run.folder.note(status="done")
    write_report(run.folder.path)
