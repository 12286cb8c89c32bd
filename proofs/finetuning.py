"""Fine-tuned by us and by the Hugging Face Trainer: the same weights, the same recipe, the same scores?

    python proofs/finetuning.py --model FOLDER --tasks FOLDER [--only sst2 ...] [--seeds 3] [--rows 2000]

FOLDER of --tasks holds sst2, mrpc, wnut17, semeval2010_8, stsb_en, snips and subjqa, each with train, dev and test
records; without --only the first four are done. Both sides read the
same training rows as the same tokens, three epochs in batches of 32 at the same learning rate, and keep the epoch that
is best on dev; ours as `bothways finetune` does it by default, the Trainer in float32 with transformers' class (for
relations, which have none, its BertModel under a linear layer over the two markers). Its examples are parts of texts
where they are longer than the model reads. What is done is not done again.
The last line says whether ours is at most half a point behind, pooled over all.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor, nn

from bothways.batch import Sample
from bothways.corpus.records import read_records
from bothways.tasks.reading import EncodedExample
from bothways.tasks.task import Output
from bothways.training.finetuning import FinetuneConfig, finetune
from bothways.training.finetuning.setup import FinetuneRun, set_up
from bothways.training.processes import processes
from bothways.training.run_folder import RunFolder

ASKED = {"sst2": "classify", "mrpc": "classify", "wnut17": "tag", "semeval2010_8": "relate"}
KINDS = ASKED | {"stsb_en": "regress", "snips": "intent", "subjqa": "answer"}
CLASSES = {
    "label": transformers.AutoModelForSequenceClassification,
    "tags": transformers.AutoModelForTokenClassification,
    "span": transformers.AutoModelForQuestionAnswering,
}
ALLOWED = 0.005  # behind, pooled


class OverMarkers(nn.Module):
    """A relation from the states of the markers before both things."""

    def __init__(self, body: nn.Module, width: int, labels: int) -> None:
        super().__init__()
        self.body, self.dropout, self.out = body, nn.Dropout(0.1), nn.Linear(2 * width, labels)

    def forward(self, markers: Tensor, labels: Tensor | None = None, **text: Tensor) -> dict[str, Tensor]:
        """The logits of the two markers' states, and with labels the loss, as the Trainer wants it."""
        hidden = self.body(**text).last_hidden_state
        two = hidden.gather(1, markers[..., None].expand(-1, -1, hidden.shape[2]))
        logits = self.out(self.dropout(two.flatten(1)))
        return (
            {"logits": logits}
            if labels is None
            else {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}
        )


def model_of(run: FinetuneRun, seed: int) -> nn.Module:
    transformers.set_seed(seed)
    answers, folder = run.data.head, run.config.model
    if answers.head == "markers":
        body = transformers.AutoModel.from_pretrained(folder, add_pooling_layer=False)
        return OverMarkers(body, run.model.config.width, len(answers.labels))
    model: nn.Module = CLASSES[answers.head].from_pretrained(folder, num_labels=len(answers.labels))
    return model


def item(part: Sample, head: str) -> dict[str, Any]:
    (target,) = part.targets
    at, labels = np.asarray(target.at), np.asarray(target.labels)
    found: dict[str, Any] = {
        "input_ids": part.tokens,
        "token_type_ids": part.layout.segment,
        "attention_mask": np.ones(len(part), dtype=np.int64),
    }
    if head == "tags":
        tags = np.full(len(part), -100)
        tags[at] = labels
        return found | {"labels": tags}
    if head == "span":
        start, end = labels.argmax(0)
        return found | {"start_positions": start, "end_positions": end}
    return found | {"labels": labels[0].squeeze()} | ({"markers": at[0, [1, 3]]} if head == "markers" else {})


def padded(items: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
    longest = max(len(one["input_ids"]) for one in items)

    def column(name: str) -> np.ndarray:
        rows = [np.asarray(one[name]) for one in items]
        if name == "markers" or not rows[0].ndim:
            return np.stack(rows)
        fill = -100 if name == "labels" else 0
        return np.stack([np.pad(row, (0, longest - len(row)), constant_values=fill) for row in rows])

    columns = {name: torch.from_numpy(column(name)) for name in items[0]}
    return {name: one if one.is_floating_point() else one.long() for name, one in columns.items()}


class Peer:
    """The Trainer, over the tokens of a run of ours."""

    def __init__(self, run: FinetuneRun, seed: int, folder: Path) -> None:
        self.run, self.head = run, run.data.head.head
        told = transformers.TrainingArguments(
            output_dir=str(folder),
            num_train_epochs=run.config.epochs,
            per_device_train_batch_size=run.config.batch,
            learning_rate=0.04 / run.model.config.width,
            warmup_steps=0.1,
            weight_decay=run.config.weight_decay,
            eval_strategy="epoch",
            save_strategy="epoch",
            save_total_limit=1,
            load_best_model_at_end=True,
            metric_for_best_model="score",
            logging_strategy="no",
            seed=seed,
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
            dataloader_pin_memory=False,
            label_names=["start_positions", "end_positions"] if self.head == "span" else ["labels"],
            remove_unused_columns=False,
        )
        train = [item(part, self.head) for parts in run.parts for part in parts]
        self.trainer = transformers.Trainer(
            model=model_of(run, seed),
            args=told,
            train_dataset=train,
            eval_dataset=self.items(run.dev),
            data_collator=padded,
            compute_metrics=lambda found: {"score": next(iter(self.scores(run.dev, found.predictions).values()))},
        )

    def items(self, asked: Sequence[EncodedExample]) -> list[dict[str, Any]]:
        """What the Trainer reads, for each part of each example."""
        return [item(part, self.head) for _, parts in asked for part in parts]

    def scores(self, asked: Sequence[EncodedExample], logits: np.ndarray | tuple[np.ndarray, ...]) -> dict[str, float]:
        """By our task's own metrics. Of spans there are two arrays of logits, for starts and ends."""
        rows = iter(np.stack(logits, -1) if isinstance(logits, tuple) else logits)
        run, said = self.run, []
        for example, parts in asked:
            heard = [
                next(rows)[part.targets[0].at] if self.head in ("tags", "span") else next(rows)[None] for part in parts
            ]
            output = Output(parts, [[one] for one in heard], run.data.head, run.tokenizer)
            said.append(asdict(run.task.decode(example, output)))
        return run.task.score([example for example, _ in asked], said, run.data.head)

    def test(self) -> dict[str, float]:
        """{metric: value} on the test examples, after training."""
        self.trainer.train()
        self.trainer.compute_metrics = None  # it scores dev
        found = self.trainer.predict(self.items(self.run.test)).predictions
        return self.scores(self.run.test, found)


def files(given: argparse.Namespace, name: str) -> dict[str, Path]:
    """Some of the training records, the same for all; dev and test as they are."""
    found = {side: next((given.tasks / name).glob(f"{side}.jsonl*")) for side in ("train", "dev", "test")}
    rows = [record for _, _, record in read_records(found["train"])]
    order = np.random.default_rng(0).permutation(len(rows))[: given.rows]
    some = given.out / f"{name}.jsonl"
    some.write_text("".join(json.dumps(rows[i]) + "\n" for i in order), encoding="utf-8")
    return found | {"train": some}


def results(given: argparse.Namespace, name: str) -> Iterator[tuple[str, list[float]]]:
    """(side, its test scores) of every seed."""
    place = given.out / f"{name}.json"
    done: dict[str, list[float]] = json.loads(place.read_text()) if place.exists() else {"ours": [], "trainer": []}
    told = {"model": str(given.model), "task": KINDS[name], "skip_bad": True, **files(given, name)}
    for side, scores in done.items():
        for seed in range(len(scores), given.seeds):
            out = given.out / f"{name}-{side}-{seed}"
            shutil.rmtree(out, ignore_errors=True)
            config = FinetuneConfig(**told, out=out, seed=seed)
            if side == "ours":
                test = RunFolder(finetune(config)).manifest()["test"]
            else:
                with processes() as team:
                    test = Peer(set_up(config, team, resume=False), seed, out / "trainer").test()
            scores.append(next(iter(test.values())))
            place.write_text(json.dumps(done), encoding="utf-8")
            print(f"{name}, {side}, seed {seed}: {scores[-1]:.4f}", flush=True)
            shutil.rmtree(out)
    yield from done.items()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--tasks", type=Path, required=True)
    parser.add_argument("--only", nargs="*", choices=list(KINDS), default=list(ASKED))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--out", type=Path, default=Path("runs/finetuning"))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    ahead = []
    for name in given.only:
        scores = dict(results(given, name))
        means = {side: np.mean(values) for side, values in scores.items()}
        ahead.append(means["ours"] - means["trainer"])
        told = ", ".join(f"{value:.4f}" for value in scores["ours"])
        theirs = ", ".join(f"{value:.4f}" for value in scores["trainer"])
        print(f"{name}: ours {means['ours']:.4f} ({told}), Trainer {means['trainer']:.4f} ({theirs})")
    pooled = float(np.mean(ahead))
    print(f"ours is {pooled:+.4f} ahead, pooled: {'holds' if pooled >= -ALLOWED else 'DOES NOT HOLD'}")
    sys.exit(pooled < -ALLOWED)


if __name__ == "__main__":
    main()
