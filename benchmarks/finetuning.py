"""Fine-tuning and prediction beside the Hugging Face Trainer and pipeline: examples a second, same weights, same texts.

    python benchmarks/finetuning.py [--train train.jsonl] [--texts test.jsonl] [--model FOLDER] [--pairs 3]

Records hold text (or text_a and text_b) and label; left out, they are the docstrings of this Python by length, cut to
their first paragraph. The model is a Hugging Face folder of an encoder; left out, a BERT of MiniLM's shape with random
weights, which is as fast. All sides begin from the same folder, with batches of 32, dropout as
the model has it, one thread on one core. They take turns, each in a process of its own:

- training: ours as `bothways finetune` does it by default; the Trainer as it comes, with its padding collator in
  arrival order; and the Trainer with `train_sampling_strategy="group_by_length"`;
- prediction: `model.classify` of ours; `transformers.pipeline` with batch_size=32 in arrival order, and with its input
  sorted by length; in fp32 and, where the machine is
  faster in it, in bf16; the faster of these counts.

A ratio is taken between neighbours in time; the median of the ratios counts.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import common
import numpy as np

BATCH = 32
WARM = 8  # steps before the clock
SIDES = ("ours", "trainer", "grouped")
READERS = ("ours", "pipeline", "sorted")


def records(file: Path, most: int) -> list[dict[str, Any]]:
    from bothways.corpus.records import read_records

    return [record for (_, _, record), _ in zip(read_records(file), range(most), strict=False)]


def texts_of(record: dict[str, Any]) -> tuple[str, ...]:
    return (record["text_a"], record["text_b"]) if "text_a" in record else (record["text"],)


def docstrings(work: Path) -> Path:
    """Records of the documentation that Python carries: is a first paragraph longer than most?"""
    shards = common.prepare("python-docs", work / "python-docs", vocabulary=8192)
    from bothways.corpus import Shards

    opened = Shards.open(shards)
    tokens, _ = opened.train.read(0, min(opened.train.token_count, 2**19))
    documents = np.split(tokens, np.flatnonzero(tokens == opened.vocabulary.cls)[1:])
    texts = [opened.tokenizer.decode(document.tolist()).strip().split("\n\n")[0] for document in documents]
    texts = [text for text in texts if text]
    middle = statistics.median(map(len, texts))
    path = work / "docstrings-by-length.jsonl"  # another file than benchmarks/pretraining.py makes
    rows = [json.dumps({"text": text, "label": "long" if len(text) > middle else "short"}) + "\n" for text in texts]
    path.write_text("".join(rows), encoding="utf-8")
    return path


def random_model(work: Path) -> Path:
    """BERT of 6 layers of width 384 with 12 heads, under the tokenizer of python-docs."""
    import transformers

    from bothways.text import Tokenizer

    own = Tokenizer.load(common.prepare("python-docs", work / "python-docs", vocabulary=8192))
    shape = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
    config = transformers.BertConfig(vocab_size=own.vocabulary.size, pad_token_id=own.vocabulary.pad, **shape)
    transformers.BertForMaskedLM(config).save_pretrained(work / "random")
    own.save(work / "random", template="encoder", length=512)
    return work / "random"


def train_ours(given: argparse.Namespace) -> float:
    """Examples a second, by the run's own metrics.jsonl."""
    out = given.work / "ours"
    common.shutil.rmtree(out, ignore_errors=True)
    told = ["--task", "classify", "--train", given.train, "--dev", given.dev, "--out", out, "--set", "epochs=1"]
    common.call(["-m", "bothways", "finetune", str(given.model), *map(str, told)], cores=given.cores)
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    steps = [line["seconds"] for line in lines if line["kind"] == "train"][:-1]  # the last batch is smaller
    return BATCH * (len(steps) - WARM) / (steps[-1] - steps[WARM - 1])


def train_theirs(given: argparse.Namespace, *, grouped: bool) -> float:
    """In this process: examples a second of the Trainer."""
    import transformers

    rows = records(given.train, given.examples)
    names = sorted({str(row["label"]) for row in rows})
    tokenizer = transformers.AutoTokenizer.from_pretrained(given.model)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(given.model, num_labels=len(names))
    longest = min(512, model.config.max_position_embeddings)
    items = [
        {**tokenizer(*texts_of(row), truncation=True, max_length=longest), "labels": names.index(str(row["label"]))}
        for row in rows
    ]
    told = transformers.TrainingArguments(
        output_dir=str(given.work / "theirs"),
        num_train_epochs=1,
        per_device_train_batch_size=BATCH,
        learning_rate=5e-5,
        bf16="bf16" in common.precisions(),
        use_cpu=True,
        warmup_steps=0.1,
        train_sampling_strategy="group_by_length" if grouped else "random",
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    collator = transformers.DataCollatorWithPadding(tokenizer)
    trainer = transformers.Trainer(model=model, args=told, train_dataset=items, data_collator=collator)
    return common.trainer_speed(trainer, batch=BATCH, warm=WARM)


def read_ours(given: argparse.Namespace) -> float:
    """In this process: texts a second of `classify`, in the faster precision."""
    import bothways
    from bothways.machine import dtype_of

    rows = [texts_of(row) for row in records(given.texts, given.examples)]
    texts: Any = [row[0] if len(row) == 1 else row for row in rows]
    return max(
        _texts_a_second(bothways.load(given.work / "ours", device="cpu", dtype=dtype_of(precision)).classify, texts)
        for precision in common.precisions()
    )


def read_theirs(given: argparse.Namespace, *, in_order: bool) -> float:
    """In this process: texts a second of the pipeline, in the faster precision."""
    import transformers

    from bothways.machine import dtype_of

    rows = [texts_of(row) for row in records(given.texts, given.examples)]
    if in_order:
        rows.sort(key=lambda row: sum(map(len, row)))
    texts = [row[0] if len(row) == 1 else {"text": row[0], "text_pair": row[1]} for row in rows]

    def speed(precision: str) -> float:
        model = str(given.work / "ours" / "model")
        pipe = transformers.pipeline("text-classification", model=model, device="cpu", dtype=dtype_of(precision))
        return _texts_a_second(lambda some: pipe(some, batch_size=BATCH, truncation=True), texts)

    return max(map(speed, common.precisions()))


def _texts_a_second(ask: Any, texts: Sequence[Any]) -> float:
    ask(texts[: 2 * BATCH])
    started = time.perf_counter()
    ask(texts)
    return len(texts) / (time.perf_counter() - started)


WORKERS = {
    "trainer": lambda given: train_theirs(given, grouped=False),
    "grouped": lambda given: train_theirs(given, grouped=True),
    "read-ours": read_ours,
    "read-pipeline": lambda given: read_theirs(given, in_order=False),
    "read-sorted": lambda given: read_theirs(given, in_order=True),
}


def measured(given: argparse.Namespace, side: str) -> float:
    """A side in a process of its own."""
    if side == "ours":
        return train_ours(given)
    told = ["--model", given.model, "--train", given.train, "--texts", given.texts, "--work", given.work]
    said = common.call(
        [__file__, *map(str, told), "--examples", str(given.examples), "--side", side], cores=given.cores
    )
    return float(said.strip().splitlines()[-1])


def turns(given: argparse.Namespace, sides: Sequence[str]) -> Iterator[dict[str, float]]:
    for number in range(given.pairs):
        found = {side: measured(given, side) for side in (sides if number % 2 == 0 else sides[::-1])}
        print(f"round {number + 1}: " + ", ".join(f"{side} {value:.1f}/s" for side, value in found.items()), flush=True)
        yield found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = common.parser((__doc__ or "").splitlines()[0], pairs=3)
    parser.add_argument("--model", type=Path, help="a Hugging Face folder of an encoder")
    parser.add_argument("--train", type=Path, help="labelled records")
    parser.add_argument("--texts", type=Path, help="records to predict")
    parser.add_argument("--examples", type=int, default=2000, help="that are read of each file (default 2000)")
    parser.add_argument("--side", choices=WORKERS, help=argparse.SUPPRESS)
    given = common.parse(parser, arguments)
    if not given.side:
        given.model = given.model or random_model(given.work)
        given.train = given.train or docstrings(given.work)
        given.texts = given.texts or given.train
    given.model, given.train, given.texts = (path.resolve() for path in (given.model, given.train, given.texts))
    if given.side:
        print(WORKERS[given.side](given))
        return
    given.cores = [min(os.sched_getaffinity(0))]
    common.begin(["torch", "transformers"])
    rows = records(given.train, given.examples)
    for name, some in (("train", rows), ("dev", rows[:BATCH])):
        path = given.work / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in some), encoding="utf-8")
        setattr(given, name, path)
    for title, sides in (("training", SIDES), ("prediction", tuple(f"read-{name}" for name in READERS))):
        found = list(turns(given, sides))
        for other in sides[1:]:
            ratio = statistics.median(one[sides[0]] / one[other] for one in found)
            print(f"{title}: ours {ratio:.2f} times {other}")


if __name__ == "__main__":
    sys.exit(main())
