"""Fine-tuning as a metric: every finished body learns the same task and is measured on the same test examples."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from bothways.corpus import Shards
from bothways.evaluation.comparison.config import TaskFiles
from bothways.evaluation.comparison.metrics import Metric, ScoredItems
from bothways.model import Abilities, Model, save_faces
from bothways.tasks import task_named
from bothways.tasks.reading import check_known, read_examples
from bothways.tasks.records import Skipped
from bothways.training.finetuning import FinetuneConfig, finetune
from bothways.training.finetuning.tuned import Tuned, measure
from bothways.training.pretraining import PretrainConfig


def finetuned_metric(name: str, files: TaskFiles) -> Metric:
    """Of a task."""
    counts = task_named(files.task).items_say
    about = (
        f"Test examples after fine-tuning to {files.task}: {counts}. Each run's seed is that of its fine-tuning too."
    )
    return Metric(f"fine-tuned {name}", f"{name} (tuned)", about)


def finetuned_items(run: Path, files: TaskFiles, *, seed: int, device: torch.device | str | None = None) -> ScoredItems:
    """Fine-tunes the body of a run, in a folder that is left to nobody, and measures it; an item is a test example.

    Raises:
        BothwaysError: what fine-tuning finds wrong with the files or of the body.
    """
    with TemporaryDirectory(dir=run, prefix=".tuned-") as place:
        out = Path(place) / "run"
        config = FinetuneConfig(model=str(run), task=files.task, train=files.train, out=out, seed=seed, skip_bad=True)
        finetune(config, device=device)
        tuned, skip = Tuned.load(out, device=device), Skipped()
        _, examples = read_examples(tuned.task, files.test, skip=skip)
        encoded = tuned.encode(check_known(tuned.task, examples, tuned.head, skip), skip)
        _, predictions = measure(tuned, encoded)
        return ScoredItems(*tuned.task.items([example for example, _ in encoded], predictions, tuned.head))


def untrained_run(config: PretrainConfig, place: Path) -> Path:
    """A run whose body has the weights that training starts from."""
    shards = Shards.open(config.shards)
    shape = config.model_config_for(shards.vocabulary.size)
    save_faces(
        place,
        weights=Model(shape, seed=config.training.seed).state_dict(),
        config=shape,
        vocabulary=shards.vocabulary,
        trained=Abilities("", ("encoder",), "in place"),
        save_tokenizer=lambda folder, face: shards.tokenizer.save(
            folder, template=face, length=shape.length, segments=shape.segments > 1
        ),
        card=lambda face: "An untrained model: what pretraining is compared with.\n",
    )
    return place
