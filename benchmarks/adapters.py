"""LoRA beside peft with the Trainer, beside fine-tuning whole, and adapters chosen per request.

    python benchmarks/adapters.py [--train train.jsonl] [--base FOLDER] [--pairs 3] [--parts training whole choosing]

Records hold source and target; left out, they are the docstrings of this Python: a first paragraph from what follows
it. The base is a Llama of SmolLM2-135M's shape with random weights, or any decoder (`--base`, the weights themselves;
`--layers` makes the random one shallower). One thread on one core; the sides take turns.

- training: `bothways finetune --task text2text --objective causal --adapter "lora(rank=8, on=[q, v])"`, and
  `transformers.Trainer` with `peft.LoraConfig(r=8, target_modules=["q_proj", "v_proj"])`, from the same folder with the
  same batches and the same lengths at most: as it comes (padding), and with
  `train_sampling_strategy="group_by_length"`; each in a process of its own. Examples a second after the first steps.
- whole: the same command of ours with the adapter and without.
- choosing: three adapters on one body, one request of few tokens after another, each with the next adapter, beside the
  same requests with one adapter all along; milliseconds that a change costs.

A ratio is taken between neighbours in time; the median of the ratios counts.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import common
import torch
from writing import records

import bothways
from bothways.corpus import Shards
from bothways.corpus.records import read_records
from bothways.model import Abilities, Model, ModelConfig, save_faces

BATCH = 8
WARM = 4  # steps before the clock
ADAPTER = "lora(rank=8, on=[q, v])"
SHAPE = {"width": 576, "heads": 9, "inner": 1536, "length": 2048, "attention": {"key_heads": 3}}
"""Of SmolLM2-135M, which has 30 layers and 49,152 tokens."""


def made(given: argparse.Namespace, shards: Shards) -> Path:
    """A random decoder, as its folder."""
    config = ModelConfig.model_validate({**SHAPE, "vocabulary": given.vocabulary, "layers": given.layers, "init": 0.02})
    (saved,) = save_faces(
        given.work / "base",
        weights=Model(config, seed=0).state_dict(),
        config=config,
        vocabulary=shards.vocabulary,
        trained=Abilities("causal", ("decoder",), None),
        save_tokenizer=lambda place, face: shards.tokenizer.save(place, template="decoder", length=config.length),
        card=lambda face: "# made for a benchmark\n",
    )
    return saved


def train_ours(given: argparse.Namespace, adapter: str | None, name: str) -> float:
    """Examples a second, by the run's own metrics.jsonl."""
    out = given.work / name
    common.shutil.rmtree(out, ignore_errors=True)
    told = ["--task", "text2text", "--objective", "causal", "--train", given.file, "--dev", given.few, "--out", out]
    settings = ["epochs=1", "dev_generated=1", f"batch={BATCH}", f"length={given.length}"]
    settings += [f"target_length={given.target}"]
    told += [word for one in settings for word in ("--set", one)] + (["--adapter", adapter] if adapter else [])
    common.call(["-m", "bothways", "finetune", str(given.base), *map(str, told)], cores=given.cores)
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    seconds = [line["seconds"] for line in lines if line["kind"] == "train"][:-1]  # the last batch may be smaller
    return BATCH * (len(seconds) - WARM) / (seconds[-1] - seconds[WARM - 1])


def train_theirs(given: argparse.Namespace, *, grouped: bool) -> float:
    """In this process: examples a second of the Trainer with peft; the loss is over the target, as in ours."""
    import peft
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(given.base)
    model = transformers.AutoModelForCausalLM.from_pretrained(given.base)
    told = peft.LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    model = peft.get_peft_model(model, told)
    items = []
    for _, _, row in read_records(given.file):
        source = tokenizer(row["source"], truncation=True, max_length=given.length - given.target)["input_ids"]
        target = tokenizer(row["target"], truncation=True, max_length=given.target)["input_ids"][1:]
        labels = [-100] * len(source) + [*target, tokenizer.eos_token_id]
        items.append({"input_ids": source + labels[len(source) :], "labels": labels})
    arguments = transformers.TrainingArguments(
        output_dir=str(given.work / "theirs"),
        num_train_epochs=1,
        per_device_train_batch_size=BATCH,
        learning_rate=1e-4,
        bf16="bf16" in common.precisions(),
        use_cpu=True,
        train_sampling_strategy="group_by_length" if grouped else "random",
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    collator = transformers.DataCollatorForSeq2Seq(tokenizer, padding=True)
    trainer = transformers.Trainer(model=model, args=arguments, train_dataset=items, data_collator=collator)
    return common.trainer_speed(trainer, batch=BATCH, warm=WARM)


WORKERS = {
    "peft": lambda given: train_theirs(given, grouped=False),
    "grouped": lambda given: train_theirs(given, grouped=True),
}


def speed(given: argparse.Namespace, side: str) -> float:
    """Examples a second of one side, in a process of its own."""
    if side in ("ours", "whole"):
        return train_ours(given, ADAPTER if side == "ours" else None, side)
    asked = ["--base", given.base, "--file", given.file, "--work", given.work, "--side", side]
    asked += ["--length", given.length, "--target", given.target]
    said = common.call([__file__, *map(str, asked)], cores=given.cores)
    return float(said.strip().splitlines()[-1])


def compared(given: argparse.Namespace, sides: Sequence[str]) -> None:
    """The first side beside each of the others."""
    ratios: dict[str, list[float]] = {side: [] for side in sides[1:]}
    for number in range(given.pairs):
        found = {side: speed(given, side) for side in (sides if number % 2 == 0 else sides[::-1])}
        told = ", ".join(f"{side} {found[side]:.2f} examples/s" for side in sides)
        print(f"round {number + 1}: {told}", flush=True)
        for side, some in ratios.items():
            some.append(found[sides[0]] / found[side])
    for side, some in ratios.items():
        middle = statistics.median(some)
        spread = f"{min(some):.2f} to {max(some):.2f}"
        print(f"{sides[0]} {middle:.2f} times {side} ({spread}); a step takes {1 / middle:.2f} of its time", flush=True)


def choosing(given: argparse.Namespace) -> None:
    """What it costs to ask with another adapter than before."""
    adapter = given.work / "ours"
    if not (adapter / "adapter").is_dir():
        train_ours(given, ADAPTER, "ours")
    names = ["one", "two", "three"]
    model = bothways.load(given.base, device="cpu", adapters=dict.fromkeys(names, adapter))
    how: Any = {"max_new_tokens": 2, "temperature": 0}
    for name in names:
        model.generate("def area(side):", adapter=name, **how)
    costs = []
    for _ in range(given.requests):
        took = {}
        for kind, order in (("same", names[:1] * 3), ("turns", names)):
            began = time.perf_counter()
            for name in order:
                model.generate("def area(side):", adapter=name, **how)
            took[kind] = 1000 * (time.perf_counter() - began) / len(order)
        costs.append(took["turns"] - took["same"])
    spread = statistics.quantiles(costs, n=4)
    print(
        f"an adapter a request: {statistics.median(costs):.2f} ms ({spread[0]:.2f} to {spread[2]:.2f}, the middle half)"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = common.parser((__doc__ or "").splitlines()[0], pairs=3)
    parser.add_argument("--train", type=Path, help="records with source and target")
    parser.add_argument("--base", type=Path, help="a decoder's folder")
    parser.add_argument("--layers", type=int, default=30)
    parser.add_argument("--vocabulary", type=int, default=49152, help="rows of the random base's table")
    parser.add_argument("--examples", type=int, default=320)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--target", type=int, default=64)
    parser.add_argument("--requests", type=int, default=30)
    parser.add_argument("--parts", nargs="+", default=["training", "whole", "choosing"])
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--side", choices=WORKERS, help=argparse.SUPPRESS)
    given = common.parse(parser, arguments)
    if given.side:
        print(WORKERS[given.side](given))
        return
    given.cores = [min(os.sched_getaffinity(0))]
    common.begin(["torch", "transformers", "peft"])
    shards = Shards.open(common.prepare("python-docs", given.work / "python-docs-8192", vocabulary=8192))
    own = shards.tokenizer
    rows = [row for row in records(given, shards) if row["source"].strip() and own.encode(row["target"])]
    given.file, given.few = given.work / "train.jsonl", given.work / "few.jsonl"
    for path, some in ((given.file, rows), (given.few, rows[:2])):
        path.write_text("".join(json.dumps(row) + "\n" for row in some), encoding="utf-8")
    given.base = given.base or made(given, shards)
    lengths = sorted(len(own.encode(row["source"])) for row in rows)
    print(f"{len(rows)} pairs, sources of {lengths[0]}, {lengths[len(lengths) // 2]}, {lengths[-1]} tokens", flush=True)
    if "training" in given.parts:
        compared(given, ("ours", "peft", "grouped"))
    if "whole" in given.parts:
        compared(given, ("ours", "whole"))
    os.sched_setaffinity(0, set(given.cores))
    torch.set_num_threads(1)
    if "choosing" in given.parts:
        choosing(given)


if __name__ == "__main__":
    sys.exit(main())
