"""A model that answers is taught by preferences and by a reward, and measured by the rule that made them.

    python proofs/preferences.py --model FOLDER --data FOLDER --work FOLDER [--parts dpo orpo kto reward grpo]

FOLDER of --model holds a causal model with a chat template (SmolLM2-135M-Instruct); that of --data holds
instruct/alpaca_en.

- dpo, orpo, kto: a prompt's answer of Alpaca that keeps a rule (whole, and at most two sentences) and one sampled from
  the model that breaks it are a pair; the model is taught on --pairs of them. Printed: the win rate by the rule of its
  answers to --held new prompts over those of the model before (a tie a half) with its interval, and the divergence from
  that model.
- reward: a reward model is taught on the same pairs; the rule's score of the best of eight answers beside that of one.
- grpo: --steps steps of 64 answers to "one sentence with the word ...", rewarded by a rule: half for the word, half for
  a single sentence of at most 12 words. Printed: the mean reward on prompts with new words before and after.

What is done is not done again: every row is a file or a run in --work, and a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

import bothways
from bothways.corpus.records import read_records
from bothways.inference import LanguageModel
from bothways.inference.decoding.generate import generate
from bothways.inference.decoding.options import GenerationOptions, GenerationRequest
from bothways.machine import dtype_of, precision_for
from bothways.statistics import bootstrap
from bothways.text.chat import chat_tokens
from bothways.text.conversation import DAY
from bothways.text.sentences import split_sentences
from bothways.training.finetuning import FinetuneConfig, finetune
from bothways.training.run_folder import RunFolder

AT_ONCE, LONGEST_PROMPT = 64, 120
MOST_SENTENCES = 2
NOUNS = """
river stone apple winter garden music letter bridge candle forest market ocean window silver teacher morning
shadow travel kitchen summer mountain doctor paper island engine flower thunder village mirror ladder butter
harbor pencil rabbit orange castle blanket desert lemon spider rocket museum farmer violin planet basket
hammer turtle pepper valley dragon bottle cotton meadow ticket anchor pillow whistle copper feather tunnel
carpet monkey needle parrot cherry lantern saddle button walnut canyon dolphin helmet jacket magnet napkin
oyster puddle quarry ribbon salmon tailor umbrella velvet wagon yogurt zebra acorn barrel cactus donkey
"""
FORMS = (
    "Write one short sentence with the word {}.",
    "Give me a single sentence of at most 12 words that contains the word {}.",
    "Use the word {} in one short sentence.",
    "Say something about a {} in one sentence of at most 12 words.",
    "Form one short sentence that has the word {} in it.",
    "In at most 12 words, write a sentence with {}.",
    "I need one brief sentence with the word {}.",
    "Please put the word {} into one short sentence.",
    "Make up one sentence with {}, no longer than 12 words.",
    "One short sentence with the word {}, please.",
)
REWARD = '''
import re


def reward(prompt, answer, record):
    """Half for the word, half for a single sentence of at most 12 words."""
    words = re.findall(r"[a-z']+", answer.lower())
    single = len(re.findall(r"[.!?]", answer)) == 1 and answer.strip().endswith((".", "!", "?"))
    return 0.5 * (record["word"] in words) + 0.5 * (single and 0 < len(words) <= 12)
'''


def rule(answer: str) -> int:
    """1: at most two sentences, the last of them whole."""
    return int(answer.endswith((".", "!", "?")) and len(split_sentences(answer)) <= MOST_SENTENCES)


def answered(given: argparse.Namespace) -> dict[str, str]:
    """{instruction: answer} of Alpaca, of instructions that are whole without an input, and short."""
    read = (record for _, _, record in read_records(given.data / "instruct" / "alpaca_en" / "train.jsonl.gz"))
    return {
        one["instruction"]: one["output"].strip()
        for one in read
        if not one["input"].strip() and len(one["instruction"]) <= LONGEST_PROMPT
    }


def held_out(given: argparse.Namespace) -> list[str]:
    """The prompts to measure on."""
    return [*answered(given)][: given.held]


def opened(folder: Path) -> LanguageModel:
    """A model to sample from."""
    return bothways.load(folder, dtype=dtype_of(precision_for()))


def answers(model: LanguageModel, prompts: Sequence[str], *, tokens: int, seed: int, count: int = 1) -> list[list[str]]:
    """So many sampled answers to each prompt, in the model's chat template."""
    options = GenerationOptions(max_new_tokens=tokens, seed=seed)
    asked = [
        GenerationRequest(
            np.array(chat_tokens(model.tokenizer, [{"role": "user", "content": prompt}], now=DAY)),
            options,
            (seed, i, j),
        )
        for i, prompt in enumerate(prompts)
        for j in range(count)
    ]
    texts = [one.text for one in generate(model.engine, asked)]
    return [texts[i : i + count] for i in range(0, len(texts), count)]


def kept(file: Path, prompts: Sequence[str], ask: Callable[[Sequence[str]], list[list[str]]]) -> Iterator[list[str]]:
    """The answers to prompts, some at a time, each a line of a file: those that stand there are not asked for."""
    file.parent.mkdir(parents=True, exist_ok=True)
    there = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []
    yield from there[: len(prompts)]
    for start in range(len(there), len(prompts), AT_ONCE):
        found = ask(prompts[start : start + AT_ONCE])
        with file.open("a", encoding="utf-8") as out:
            out.writelines(json.dumps(one, ensure_ascii=False) + "\n" for one in found)
        yield from found


def write(file: Path, records: Sequence[dict[str, Any]]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(one, ensure_ascii=False) + "\n" for one in records)
    file.write_text("".join(lines), encoding="utf-8")
    return file


def pairs_of(given: argparse.Namespace) -> tuple[Path, Path]:
    """Pairs to learn from and pairs to choose the epoch by: the best and the worst of four answers by the rule."""
    files = (given.work / "pairs-train.jsonl", given.work / "pairs-dev.jsonl")
    if all(file.exists() for file in files):
        return files
    wanted, known = given.pairs + given.pairs // 10, answered(given)
    prompts = [prompt for prompt in [*known][given.held :] if rule(known[prompt])]
    model: list[LanguageModel] = []

    def ask(some: Sequence[str]) -> list[list[str]]:
        model[:] = model or [opened(given.model)]
        return answers(model[0], some, tokens=given.tokens, seed=1)

    found: list[dict[str, Any]] = []
    for prompt, (text,) in zip(prompts, kept(given.work / "sampled.jsonl", prompts, ask), strict=False):
        if text.strip() and not rule(text.strip()):
            found.append({"prompt": prompt, "chosen": known[prompt], "rejected": text.strip()})
        if len(found) == wanted:
            break
    print(f"{len(found)} pairs", flush=True)
    return write(files[0], found[: given.pairs]), write(files[1], found[given.pairs :])


def taught(given: argparse.Namespace, name: str, **settings: Any) -> Path:
    """A run, done once."""
    out = given.work / name
    done = (out / "manifest.json").exists() and RunFolder(out).manifest().get("status") == "done"
    if not done:
        own = {"learning_rate": given.learning_rate, "adapter": given.adapter}
        config = FinetuneConfig(model=str(given.model), out=out, length=given.length, **own, **settings)
        again = {"resume": True} if (out / "config.yaml").exists() else {}
        finetune(config, **again, say=lambda text: print(f"  {name}: {text}", flush=True))
    return out


def scored(given: argparse.Namespace, name: str, folder: Path) -> list[int]:
    """The rule's scores of one answer to each held-out prompt."""
    prompts = held_out(given)
    model: list[LanguageModel] = []

    def ask(some: Sequence[str]) -> list[list[str]]:
        model[:] = model or [opened(folder)]
        return answers(model[0], some, tokens=given.tokens, seed=2)

    return [rule(text.strip()) for (text,) in kept(given.work / f"answers-{name}.jsonl", prompts, ask)]


def shown(values: Sequence[float]) -> str:
    """The mean with its bootstrap interval."""
    numbers = np.array(values, dtype=np.float64)
    low, high = bootstrap(lambda drawn: {"mean": float(numbers[drawn].mean())}, len(numbers))["mean"]
    return f"{numbers.mean():.3f} ({low:.3f} to {high:.3f})"


def by_preferences(given: argparse.Namespace, loss: str) -> None:
    """One loss on the pairs, against the model before."""
    train, dev = pairs_of(given)
    run = taught(
        given, loss, task="prefer", loss=loss, train=train, dev=dev, epochs=given.epochs, batch=16, dev_generated=32
    )
    told = RunFolder(run).manifest()
    before, after = scored(given, "before", given.model), scored(given, loss, run)
    wins = [float(np.sign(one - other) / 2 + 0.5) for one, other in zip(after, before, strict=True)]
    dev_scores = told["best"]["scores"]
    print(
        f"| {loss} | {shown(before)} | {shown(after)} | {shown(wins)} | {dev_scores['accuracy']:.3f} | "
        f"{dev_scores['margin']:.3f} | {dev_scores['kl']:.2f} |",
        flush=True,
    )


def by_best_of(given: argparse.Namespace) -> None:
    """A reward model on the pairs, and the best of eight by it."""
    train, dev = pairs_of(given)
    run = taught(given, "reward", task="reward", train=train, dev=dev, test=dev, epochs=given.epochs, batch=16)
    told, prompts, file = RunFolder(run).manifest(), held_out(given), given.work / "best-of-8.jsonl"
    both_of: list[LanguageModel] = []

    def ask(some: Sequence[str]) -> list[list[str]]:
        both_of[:] = both_of or [opened(given.model), bothways.load(run)]
        model, judge = both_of
        found = []
        for prompt, texts in zip(some, answers(model, some, tokens=given.tokens, seed=3, count=8), strict=True):
            rewards = [one.reward for one in judge.predict("reward", [(prompt, text) for text in texts])]
            found.append([texts[0], texts[int(np.argmax(rewards))]])
        return found

    both = [[rule(text.strip()) for text in texts] for texts in kept(file, prompts, ask)]
    one, best = zip(*both, strict=True)
    wins = [float(np.sign(y - x) / 2 + 0.5) for x, y in both]
    print(
        f"| best of 8 | {shown(one)} | {shown(best)} | {shown(wins)} | {told['test']['accuracy']:.3f} | | |", flush=True
    )


def by_reward(given: argparse.Namespace) -> None:
    """GRPO on a reward that is a rule, measured on prompts with words that were never in one."""
    rng = np.random.default_rng(0)
    order = rng.permutation(NOUNS.split()).tolist()
    kinds = {"train": order[20:], "dev": order[10:20], "test": order[:10]}
    made = {
        side: [{"prompt": form.format(word), "word": word} for word in words for form in FORMS]
        for side, words in kinds.items()
    }
    shuffled = [made["train"][i] for i in rng.permutation(len(made["train"])).tolist()]
    train = [*islice((one for _ in range(100) for one in shuffled), given.steps * 8)]
    files = {side: write(given.work / f"words-{side}.jsonl", rows) for side, rows in {**made, "train": train}.items()}
    code = given.work / "rewards.py"
    code.write_text(REWARD, encoding="utf-8")
    settings = {"epochs": 1, "batch": 8, "samples": 8, "target_length": 32, "dev_generated": 50, "code": [code]}
    run = taught(given, "grpo", task="grpo", **files, **settings)
    told, lines = RunFolder(run).manifest(), [one for one in RunFolder(run).lines() if one["kind"] == "train"]
    before, (low, high) = told["before"], told["test_intervals"]["reward"]
    least, most = before["better_by"]["reward"]
    tenth = max(1, len(lines) // 10)
    course = ", ".join(
        f"{np.mean([one['reward'] for one in lines[i : i + tenth]]):.2f}" for i in range(0, len(lines), tenth)
    )
    print(
        f"grpo, {len(lines)} steps of 64 answers: reward on prompts with new words {before['scores']['reward']:.3f} -> "
        f"{told['test']['reward']:.3f} ({low:.3f} to {high:.3f}), more by {least:.3f} to {most:.3f}; KL "
        f"{told['test']['kl']:.2f} nats an answer; {lines[-1]['seconds'] / 60:.0f} minutes; by tenths: {course}",
        flush=True,
    )


HEADER = (
    "| | rule before | rule after | win rate | accuracy on dev pairs | margin | KL (nats an answer) |\n"
    "|---|---|---|---|---|---|---|"
)
PARTS = ("dpo", "orpo", "kto", "reward", "grpo")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--parts", nargs="+", default=[*PARTS], choices=PARTS)
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--held", type=int, default=200, help="prompts to measure on")
    parser.add_argument("--tokens", type=int, default=64, help="of an answer, at most")
    parser.add_argument("--length", type=int, default=256, help="of a prompt and its answer, at most")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--learning-rate", type=float, help="left out, finetune's own")
    parser.add_argument("--adapter", help='as "lora(rank=8)"; left out, the whole model learns')
    parser.add_argument("--steps", type=int, default=100, help="of grpo")
    given = parser.parse_args(arguments)
    if any(part != "grpo" for part in given.parts):
        pairs_of(given)
        print(HEADER, flush=True)
    for part in given.parts:
        if part == "grpo":
            by_reward(given)
        elif part == "reward":
            by_best_of(given)
        else:
            by_preferences(given, part)


if __name__ == "__main__":
    sys.exit(main())
