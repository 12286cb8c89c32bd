"""Instruction tuning: what SmolLM2-135M-Instruct gains by LoRA on 2,000 rows of Alpaca and what it forgets, and our own
bodies taught the same rows.

    python proofs/instructions.py --data FOLDER --work FOLDER --smollm FILE [--parts smollm bodies] [--seeds 3]

FOLDER of --data holds pretrain/ and instruct/; FILE is SmolLM2-135M-Instruct, a GGUF file or a folder. What is done is
not done again: every row is a run in --work, and what was measured of a model is kept beside it.

- formats: an answer of Alpaca that is a numbered list, of at most ten words, or one sentence is asked for as such, in
  the words of FORMATS; held-out prompts ask for each format in equal numbers, and whether it is kept is counted.
- answers: nats a token of held-out answers, given their prompts.
- families: tasks of T0 that nobody is taught, by ROUGE-L, measured by the run itself before and after.
- general: bits a byte of encyclopaedia articles, before and after, by the articles.

Intervals are of 95 %: bootstrap over prompts, answers and articles; of differences, over pairs.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from writing import again, body_of, done, shown

import bothways
from bothways.corpus.records import read_records
from bothways.inference.asking import requests_of
from bothways.inference.chatting import chat_prompt
from bothways.inference.decoding.generate import generate
from bothways.inference.score import score, score_after
from bothways.inference.writing import chatting_as
from bothways.statistics import bootstrap
from bothways.text.conversation import conversation
from bothways.text.sentences import split_sentences
from bothways.training.finetuning import finetune
from bothways.training.pretraining import pretrain
from bothways.training.run_folder import RunFolder

TRAIN, HELD, ASKED = 2000, 200, 40
"""Rows to learn, held-out answers, prompts of each format."""
FORMATS: dict[str, tuple[str, Callable[[str], bool]]] = {
    "list": (
        "Answer with a numbered list.",
        lambda text: len(lines := text.strip().splitlines()) > 1 and all(re.match(r"\d+[.)] ", one) for one in lines),
    ),
    "ten words": ("Answer in at most ten words.", lambda text: 0 < len(text.split()) <= 10),
    "one sentence": ("Answer in one sentence.", lambda text: len(split_sentences(text)) == 1 and "\n" not in text),
}
FAMILIES = {"sentiment": ("imdb", "rotten"), "paraphrase": ("glue_mrpc",), "topic": ("ag_news",), "reading": ("ropes",)}
"""{family of T0: how its templates are called}"""
BODIES = {"causal": "causal", "prefix": "prefix", "hybrid": "hybrid"}


def rows(given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Alpaca's rows as prompt, completion and format; those with an answer."""
    for _, _, row in read_records(given.data / "instruct" / "alpaca_en" / "train.jsonl.gz"):
        prompt, answer = "\n\n".join(filter(None, (row["instruction"], row["input"]))), row["output"].strip()
        form = next((name for name, (_, holds) in FORMATS.items() if holds(answer)), None)
        if answer and form:
            prompt = f"{prompt}\n\n{FORMATS[form][0]}"
        if answer:
            yield {"prompt": prompt, "completion": answer, "format": form}


def files(given: argparse.Namespace) -> dict[str, Path]:
    """Rows to learn, held-out answers, prompts that ask for a format, T0's families, and all as a mixture."""
    found = {name: given.work / "data" / f"{name}.jsonl" for name in ("learned", "held", "asked", *FAMILIES)}
    found["mixture"] = given.work / "data" / "mixture.yaml"
    if found["mixture"].exists():
        return found
    found["mixture"].parent.mkdir(parents=True, exist_ok=True)
    read = rows(given)
    _write(found["learned"], [*islice(read, TRAIN)])
    _write(found["held"], [*islice(read, HELD)])
    rest = [*read]
    asked = [one for form in FORMATS for one in [row for row in rest if row["format"] == form][:ASKED]]
    _write(found["asked"], asked)
    t0 = [row for _, _, row in read_records(given.data / "instruct" / "t0_prompts" / "train.jsonl.gz")]
    for family, names in FAMILIES.items():
        _write(found[family], [row for row in t0 if row["template"].startswith(names) and len(row["prompt"]) < 1500])
    prompts = [{"prompt": "{{ prompt }}", "answer": "{{ completion }}"}]
    tasks = [
        {"name": name, "file": found[name].name, "prompts": prompts, "most": most}
        for name, most in (("learned", TRAIN), *((family, 25) for family in FAMILIES))
    ]
    found["mixture"].write_text(json.dumps({"tasks": tasks, "held_out": [*FAMILIES]}), encoding="utf-8")
    return found


def _write(path: Path, records: Sequence[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in records), encoding="utf-8")


def measured(given: argparse.Namespace, model: Path, out: Path) -> dict[str, Any]:
    """{what: a value an item} of a model, kept in a file."""
    if out.exists():
        found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
        return found
    opened, of = bothways.load(model), files(given)
    held, asked = ([row for _, _, row in read_records(of[name])] for name in ("held", "asked"))
    engine = chatting_as(opened.engine)
    prompts = [chat_prompt(engine, _messages(one)[:1]) for one in asked]
    written = generate(engine, requests_of(engine, prompts, None, {"max_new_tokens": 96, "temperature": 0.0}))
    kept = [float(FORMATS[one["format"]][1](text.text)) for one, text in zip(asked, written, strict=True)]
    found = {"format": kept, "texts": [one.text for one in written], "answers": _answers(opened, held)}
    if "decoder" in opened.engine.abilities.faces:
        with gzip.open(given.data / "pretrain" / "en_reference.txt.gz", "rt", encoding="utf-8") as file:
            texts = [text[:1500] for text in file.read(400_000).split("\n\n") if len(text) > 400][:60]
        sums = score(opened.engine, texts)
        found["general"] = [[-float(x) / np.log(2), len(text.encode())] for x, text in zip(sums, texts, strict=True)]
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(found, ensure_ascii=False), encoding="utf-8")
    return found


def _messages(row: dict[str, Any]) -> list[dict[str, str]]:
    return [{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": row["completion"]}]


def _answers(model: bothways.LanguageModel, held: Sequence[dict[str, Any]]) -> list[list[float]]:
    """[nats of the tokens of an answer, how many they are]; of a model that reads from left to right."""
    if "decoder" not in model.engine.abilities.faces:
        return []
    found = [conversation(model.tokenizer, _messages(row)) for row in held]
    cut = [(np.array(one.tokens[:end]), begin) for one in found for begin, end in one.answers]
    sums, counts = score_after(model.engine, [row[:begin] for row, begin in cut], [row[begin:] for row, begin in cut])
    return [[-float(x), int(count)] for x, count in zip(sums, counts, strict=True)]


def interval(value: Callable[[Sequence[int]], float], count: int) -> str:
    """A value of all items with its bootstrap interval."""
    low, high = bootstrap(lambda drawn: {"value": value(drawn)}, count)["value"]
    return f"{value(range(count)):.3f} ({low:.3f} to {high:.3f})"


def ratio(pairs: Sequence[Sequence[float]]) -> Callable[[Sequence[int]], float]:
    """Sum over sum, of the items drawn."""
    values = np.array(pairs)

    def of(drawn: Sequence[int]) -> float:
        above, below = values[[*drawn]].sum(0)
        return float(above / below)

    return of


def less(one: Callable[[Sequence[int]], float], other: Callable[[Sequence[int]], float]) -> Callable[..., float]:
    """By how much the other is more, of the same items."""
    return lambda drawn: other(drawn) - one(drawn)


def smollm(given: argparse.Namespace) -> None:
    """SmolLM2 before and after."""
    base, out = given.work / "smollm2", given.work / "smollm2-lora"
    if not (base / "decoder" / "config.json").exists():
        bothways.load(given.smollm).save(base)
    before = measured(given, base, given.work / "measured" / "smollm2.json")
    if not done(out):
        settings: dict[str, Any] = {"epochs": 1, "batch": 16, "length": 512, "dev": files(given)["held"]}
        settings |= {"dev_generated": 20, "adapter": "lora(rank=8)", "target_length": 128}
        finetune(
            model=str(base),
            task="instruct",
            train=files(given)["mixture"],
            out=out,
            **settings,
            **again(out),
            say=print,
        )
    after = measured(given, out, given.work / "measured" / "smollm2-lora.json")
    print("\n| SmolLM2-135M-Instruct | before | after LoRA | difference |\n|---|---|---|---|")
    pairs = [(np.array(before[name]), np.array(after[name])) for name in ("answers", "general")]
    for label, (one, two) in zip(("held-out answers, nats a token", "articles, bits a byte"), pairs, strict=True):
        both = [ratio(one), ratio(two)]
        gap = interval(less(*both), len(one))
        print(f"| {label} | {interval(both[0], len(one))} | {interval(both[1], len(two))} | {gap} |")
    kept = [np.array(one["format"]) for one in (before, after)]
    cells = [interval(ratio([[x, 1] for x in one]), len(one)) for one in (*kept, kept[1] - kept[0])]
    print(f"| formats kept | {' | '.join(cells)} |")
    for family, one in RunFolder(out).manifest()["held_out"].items():
        cells = [f"{one[when]['rougeL']:.3f}" for when in ("before", "after")]
        print(f"| {family} of T0, ROUGE-L ({one['examples']}) | {' | '.join(cells)} | |", flush=True)


def bodies(given: argparse.Namespace) -> None:
    """Our own bodies, taught the same rows."""
    body_of(given, "en", trained=False)  # for its shards
    print(
        "\n| body | taught by | dev loss, nats a token | ROUGE-L | of others' prompts | formats kept |\n"
        + "|---" * 6
        + "|"
    )
    for name, objective in BODIES.items():
        body = given.work / f"body-{name}"
        if not (body / "report.html").exists():
            training = {"budget": {"tokens": given.tokens}, "length": 512, "step_tokens": 4096}
            pretrain(
                given.work / "shards-en",
                out=body,
                objective=objective,
                size=given.size,
                training=training,
                **again(body),
            )
        runs, kept = [], []
        for seed in range(given.seeds):
            out = given.work / f"instruct-{name}-{seed}"
            if not done(out):
                settings: dict[str, Any] = {
                    "epochs": 3,
                    "batch": 8,
                    "learning_rate": 1e-3,
                    "dev_generated": 50,
                    "seed": seed,
                }
                of = files(given)
                finetune(
                    model=str(body),
                    task="instruct",
                    train=of["learned"],
                    dev=of["held"],
                    out=out,
                    **settings,
                    **again(out),
                )
            runs.append(RunFolder(out))
            kept.append(measured(given, out, given.work / "measured" / f"{out.name}.json"))
        print(_line(name, runs, kept), flush=True)


def _line(name: str, runs: Sequence[RunFolder], kept: Sequence[dict[str, Any]]) -> str:
    manifests = [run.manifest() for run in runs]
    best = [one["best"] for one in manifests]
    looks = [
        next(line for line in run.lines() if line["kind"] == "validation" and line["step"] == one["step"])
        for run, one in zip(runs, best, strict=True)
    ]
    cells = [
        shown([line["loss"] for line in looks]),
        shown([one["scores"]["rougeL"] for one in best]),
        shown([one["shuffled_source"]["shuffled"] for one in manifests]),
        shown([float(np.mean(one["format"])) for one in kept]),
    ]
    return f"| {name} | {manifests[0]['objective']['name']} | {' | '.join(cells)} |"


PARTS = {"smollm": smollm, "bodies": bodies}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--smollm", type=Path, help="SmolLM2-135M-Instruct, a GGUF file or a folder")
    parser.add_argument("--parts", nargs="+", default=[*PARTS], choices=PARTS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=4_000_000, help="of pretraining a body")
    parser.add_argument("--size", default="tiny", help="of a body")
    given = parser.parse_args(arguments)
    if "smollm" in given.parts and not given.smollm:
        parser.error("--smollm names the model of the part smollm; without it, take --parts bodies")
    for part in given.parts:
        PARTS[part](given)


if __name__ == "__main__":
    sys.exit(main())
