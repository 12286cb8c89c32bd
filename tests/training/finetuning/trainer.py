"""The losses of the Hugging Face Trainer, from the weights and over the batches of a run of ours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

NAMES = {"label": "SequenceClassification", "tags": "TokenClassification"}
UNDROPPED = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "classifier_dropout": 0.0}


def trainer_losses(run: Any, batches: Sequence[np.ndarray], *, total: int, folder: Path) -> list[float]:
    """Of every step; the rate falls to zero at step `total`."""
    answers = run.data.head
    kind = getattr(transformers, f"AutoModelFor{NAMES[answers.head]}")
    model = kind.from_pretrained(run.config.model, num_labels=len(answers.labels), **UNDROPPED)
    head = run.model.heads[answers.head].out
    with torch.no_grad():
        model.classifier.weight.copy_(head.weight)
        model.classifier.bias.copy_(head.bias)
    items = [_item(run.parts[i][0], answers.head) for chosen in batches for i in chosen]
    told = transformers.TrainingArguments(
        output_dir=str(folder / "trainer"),
        max_steps=len(batches),
        learning_rate=run.config.learning_rate,
        weight_decay=run.config.weight_decay,
        logging_steps=1,
        report_to=[],
        save_strategy="no",
        use_cpu=True,
        dataloader_pin_memory=False,
        disable_tqdm=True,
    )
    trainer = _Trainer(model=model, args=told, train_dataset=items)
    trainer.sizes = [len(chosen) for chosen in batches]
    trainer.create_optimizer()
    trainer.lr_scheduler = transformers.get_linear_schedule_with_warmup(trainer.optimizer, 0, total)
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


class _Trainer(transformers.Trainer):
    """One that takes the examples in the order given, in batches of the sizes given."""

    sizes: list[int]

    def get_train_dataloader(self) -> Any:
        return torch.utils.data.DataLoader(self.train_dataset, batch_sampler=_InOrder(self.sizes), collate_fn=_padded)


class _InOrder(torch.utils.data.Sampler[list[int]]):
    def __init__(self, sizes: list[int]) -> None:
        self._sizes = sizes

    def __iter__(self) -> Iterator[list[int]]:
        ends = np.cumsum(self._sizes).tolist()
        return iter(list(range(end - size, end)) for end, size in zip(ends, self._sizes, strict=True))

    def __len__(self) -> int:
        return len(self._sizes)


def _item(part: Any, head: str) -> dict[str, np.ndarray]:
    tags = np.full(len(part), -100)
    (target,) = part.targets
    if head == "tags":
        tags[target.at] = target.labels
    own = np.ones(len(part), dtype=np.int64)
    labels = target.labels[0] if head == "label" else tags
    return {"input_ids": part.tokens, "token_type_ids": part.layout.segment, "attention_mask": own, "labels": labels}


def _padded(items: list[dict[str, np.ndarray]]) -> dict[str, torch.Tensor]:
    longest = max(len(item["input_ids"]) for item in items)

    def column(name: str, padding: int) -> torch.Tensor:
        rows = [np.asarray(item[name]) for item in items]
        if not rows[0].ndim:
            return torch.tensor(np.stack(rows))
        return torch.tensor(np.stack([np.pad(row, (0, longest - len(row)), constant_values=padding) for row in rows]))

    return {name: column(name, -100 if name == "labels" else 0).long() for name in items[0]}
