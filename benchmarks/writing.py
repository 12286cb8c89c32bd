"""Encoder-decoders beside transformers: fine-tuning to write, generating, and a deep encoder with a shallow decoder.

    python benchmarks/writing.py [--train train.jsonl] [--shape classic] [--pairs 3] [--parts training generating depth]

Records hold source and target; left out, they are the docstrings of this Python: a first paragraph from what follows
it. The model has 6 and 6 layers of mini's width with random weights: a BART (`--shape modern`: a T5Gemma, of which
transformers has the slow attention alone). One thread on one core; the sides take turns.

- training: `bothways finetune --task text2text` as it is by default, and `Seq2SeqTrainer` from the same folder with the
  same batches of 32: as it comes, and with `train_sampling_strategy="group_by_length"`; each in a process of its own.
  Examples a second after the first steps.
- generating: `model.generate` and transformers' `generate`, batches of 1 and of 16 sources of unequal lengths, the
  likeliest token and 4 beams; sources a second; texts are compared.
- depth: 12 and 1 layers beside 6 and 6, ours alone: the feed-forward layers of the first are so wide that both have as
  many weights.

A ratio is taken between neighbours in time; the median of the ratios counts.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import common
import numpy as np
import torch

import bothways
from bothways.corpus import Shards
from bothways.corpus.records import read_records
from bothways.machine import dtype_of
from bothways.model import Abilities, Model, ModelConfig, preset, save_faces

BATCH = 32
WARM = 8  # steps before the clock
SIDES = ("ours", "trainer", "grouped")
WRITES = {"seq2seq": 0}


def records(given: argparse.Namespace, shards: Shards) -> list[dict[str, str]]:
    """Pairs of real lengths."""
    if given.train:
        read = (record for _, (_, _, record) in zip(range(given.examples), read_records(given.train), strict=False))
        return [{"source": one["source"], "target": _first(one["target"])} for one in read]
    tokens, _ = shards.train.read(0, min(shards.train.token_count, 2**20))
    documents = np.split(tokens, np.flatnonzero(tokens == shards.vocabulary.cls)[1:])
    texts = (shards.tokenizer.decode(document.tolist()).strip().partition("\n\n") for document in documents)
    found = [{"source": rest, "target": first} for first, _, rest in texts if first and rest.strip()]
    return found[: given.examples]


def _first(target: Any) -> str:
    return str(target[0] if isinstance(target, list) else target)


def made(folder: Path, config: ModelConfig, shards: Shards) -> Path:
    """A random model, as its folder."""
    model = Model(config.model_copy(update={"init": 0.1}), seed=0)  # so that few tokens are nearly as likely
    (saved,) = save_faces(
        folder,
        weights=model.state_dict(),
        config=config,
        vocabulary=shards.vocabulary,
        trained=Abilities("seq2seq", (), None, WRITES, "all sides"),
        save_tokenizer=lambda place, face: shards.tokenizer.save(place, template="encoder", length=config.length),
        card=lambda face: "# made for a benchmark\n",
    )
    return saved


def as_many(config: ModelConfig, wanted: ModelConfig) -> ModelConfig:
    """`config` with feed-forward layers so wide that its blocks have as many weights as those of `wanted`."""
    assert config.decoder is not None
    blocks = config.layers + config.decoder.layers
    over = wanted.body_parameters - config.body_parameters
    change = over / (blocks * config.width * config.feed_forward_matrices)
    return config.model_copy(update={"inner": 8 * round((config.inner + change) / 8)})


def train_ours(given: argparse.Namespace) -> float:
    """Examples a second, by the run's own metrics.jsonl."""
    out = given.work / "ours"
    common.shutil.rmtree(out, ignore_errors=True)
    told = ["--task", "text2text", "--train", given.file, "--dev", given.few, "--out", out]
    settings = ["epochs=1", "dev_generated=1", f"length={given.length}", f"target_length={given.target}"]
    told += [word for one in settings for word in ("--set", one)]
    common.call(["-m", "bothways", "finetune", str(given.model), *map(str, told)], cores=given.cores)
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    seconds = [line["seconds"] for line in lines if line["kind"] == "train"][:-1]  # the last batch is smaller
    return BATCH * (len(seconds) - WARM) / (seconds[-1] - seconds[WARM - 1])


def train_theirs(given: argparse.Namespace, *, grouped: bool) -> float:
    """In this process: examples a second of the Seq2SeqTrainer."""
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(given.model)
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(given.model)
    rows = [record for _, _, record in read_records(given.file)]
    items = [
        {
            **tokenizer(row["source"], truncation=True, max_length=given.length),
            "labels": tokenizer(row["target"], truncation=True, max_length=given.target + 1)["input_ids"][1:],
        }
        for row in rows
    ]
    told = transformers.Seq2SeqTrainingArguments(
        output_dir=str(given.work / "theirs"),
        num_train_epochs=1,
        per_device_train_batch_size=BATCH,
        learning_rate=5e-5,
        bf16="bf16" in common.precisions(),
        use_cpu=True,
        train_sampling_strategy="group_by_length" if grouped else "random",
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    collator = transformers.DataCollatorForSeq2Seq(tokenizer, model=model)
    trainer = transformers.Seq2SeqTrainer(model=model, args=told, train_dataset=items, data_collator=collator)
    return common.trainer_speed(trainer, batch=BATCH, warm=WARM)


WORKERS = {
    "trainer": lambda given: train_theirs(given, grouped=False),
    "grouped": lambda given: train_theirs(given, grouped=True),
}


def training(given: argparse.Namespace) -> None:
    ratios: dict[str, list[float]] = {side: [] for side in SIDES[1:]}
    for number in range(given.pairs):
        found = {}
        for side in SIDES if number % 2 == 0 else SIDES[::-1]:
            if side == "ours":
                found[side] = train_ours(given)
                continue
            asked = ["--model", given.model, "--file", given.file, "--work", given.work, "--side", side]
            asked += ["--length", given.length, "--target", given.target]
            said = common.call([__file__, *map(str, asked)], cores=given.cores)
            found[side] = float(said.strip().splitlines()[-1])
        print(
            f"round {number + 1}: " + ", ".join(f"{side} {x:.2f} examples/s" for side, x in found.items()), flush=True
        )
        for side, some in ratios.items():
            some.append(found["ours"] / found[side])
    for side, some in ratios.items():
        print(f"training: ours {statistics.median(some):.2f} times {side} ({min(some):.2f} to {max(some):.2f})")


def transformers_of(folder: Path, precision: str, new: int, beams: int) -> Callable[[list[str]], list[str]]:
    """`generate` as its users call it."""
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=dtype_of(precision)).eval()
    how = {"num_beams": beams, "early_stopping": True, "length_penalty": 0.0} if beams > 1 else {}

    def generate(sources: list[str]) -> list[str]:
        asked = tokenizer(sources, return_tensors="pt", padding=True, truncation=True)
        with torch.inference_mode():
            rows = model.generate(**asked, max_new_tokens=new, do_sample=False, **how)
        return [text.strip() for text in tokenizer.batch_decode(rows, skip_special_tokens=True)]

    return generate


def timed(generate: Callable[[list[str]], list[str]], sources: list[str]) -> tuple[list[str], float]:
    began = time.perf_counter()
    return generate(sources), time.perf_counter() - began


def ours_of(folder: Path, precision: str, new: int, beams: int) -> Callable[[list[str]], list[str]]:
    model = bothways.load(folder, device="cpu", dtype=dtype_of(precision))
    how: Any = {"num_beams": beams, "length_penalty": 0.0} if beams > 1 else {"temperature": 0}
    return lambda sources: [one.text.strip() for one in model.generate(sources, max_new_tokens=new, **how)]


def compared(
    title: str,
    one: Callable[[list[str]], list[str]],
    other: Callable[[list[str]], list[str]],
    sources: list[str],
    pairs: int,
) -> None:
    one(sources[:1]), other(sources[:1])
    ratios, speeds, same = [], [], 0
    for number in range(pairs):
        turn = [timed(one, sources), timed(other, sources)] if number % 2 == 0 else None
        if turn is None:
            second = timed(other, sources)
            turn = [timed(one, sources), second]
        (mine, took), (theirs, needed) = turn
        ratios.append(needed / took)
        speeds.append(len(sources) / took)
        same = sum(a == b for a, b in zip(mine, theirs, strict=True))
    print(
        f"{title}, batch of {len(sources)}: {statistics.median(ratios):.2f} times ({min(ratios):.2f} to "
        f"{max(ratios):.2f}), {statistics.median(speeds):.2f} sources a second; {same} texts are the same",
        flush=True,
    )


def sources_of(rows: Sequence[dict[str, str]], count: int) -> list[str]:
    """Of unequal lengths: spread over those that there are."""
    ordered = sorted({row["source"] for row in rows}, key=len)
    return [ordered[i * len(ordered) // count][:2000] for i in range(count)]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = common.parser((__doc__ or "").splitlines()[0], pairs=3)
    parser.add_argument("--train", type=Path, help="records with source and target")
    parser.add_argument("--shape", choices=("classic", "modern"), default="classic")
    parser.add_argument("--size", default="6-6x256")
    parser.add_argument("--examples", type=int, default=960)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--target", type=int, default=64)
    parser.add_argument("--new", type=int, default=32)
    parser.add_argument("--parts", nargs="+", default=["training", "generating", "depth"])
    parser.add_argument("--model", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--side", choices=WORKERS, help=argparse.SUPPRESS)
    given = common.parse(parser, arguments)
    if given.side:
        print(WORKERS[given.side](given))
        return
    given.cores = [min(os.sched_getaffinity(0))]
    common.begin(["torch", "transformers"])
    shards = Shards.open(common.prepare("python-docs", given.work / "python-docs-8192", vocabulary=8192))
    rows = records(given, shards)
    own = shards.tokenizer
    rows = [row for row in rows if 0 < len(own.encode(row["target"])) < given.target and row["source"].strip()]
    given.file, given.few = given.work / "train.jsonl", given.work / "few.jsonl"
    for path, some in ((given.file, rows), (given.few, rows[:4])):
        path.write_text("".join(json.dumps(row) + "\n" for row in some), encoding="utf-8")
    config = preset(given.size, vocabulary=shards.vocabulary.size, length=given.length, shape=given.shape)
    given.model = made(given.work / "equal", config, shards)
    lengths = sorted(len(own.encode(row["source"])) for row in rows)
    print(f"{len(rows)} pairs, sources of {lengths[0]}, {lengths[len(lengths) // 2]}, {lengths[-1]} tokens", flush=True)
    if "training" in given.parts:
        training(given)
    os.sched_setaffinity(0, set(given.cores))
    torch.set_num_threads(1)
    sources = sources_of(rows, 16)
    middle = [sources[8]]
    for precision in common.precisions():
        for beams in (1, 4) if "generating" in given.parts else ():
            sides = [of(given.model, precision, given.new, beams) for of in (ours_of, transformers_of)]
            for some in (middle, sources):
                compared(f"generating, {precision}, beams {beams}: ours", *sides, some, given.pairs)
        if "depth" in given.parts:
            deep = as_many(
                preset("12-1x256", vocabulary=config.vocabulary, length=given.length, shape=given.shape), config
            )
            print(f"weights of the blocks: 12-1 {deep.body_parameters:,}, {given.size} {config.body_parameters:,}")
            folders = made(given.work / "deep", deep, shards), given.model
            sides = [ours_of(folder, precision, given.new, 1) for folder in folders]
            for some in (middle, sources):
                compared(f"depth, {precision}: 12-1", *sides, some, given.pairs)


if __name__ == "__main__":
    sys.exit(main())
