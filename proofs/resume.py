"""Stopped and gone on with, every kind of training there is comes out as if it had never stopped, to the bit.

Each kind is trained once without a stop, and once more in a chain: stopped at five steps, one of them the last of an
epoch and another the first of the next. After every stop the folder is copied, and the run goes on to the end, at least
20 steps further; then the copy is put back for the next stop. All weights, moments, counters, lines of metrics, random
states of every step, and saved models are compared with those of the run that never stopped. A finished run is resumed
too, and must stay as it is. Texts are invented, models have one or two layers.

    python proofs/resume.py [WORD-OF-A-KIND ...] [--seed 0]

About 15 minutes on two cores.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

import bothways
from bothways.config import read, with_settings
from bothways.corpus import PrepareOptions
from bothways.errors import Stopped
from bothways.objectives import OBJECTIVES
from bothways.training import fit
from bothways.training.finetuning import FinetuneConfig, MultiTaskConfig, finetune, finetune_multitask
from bothways.training.pretraining import PretrainConfig, pretrain, setup
from bothways.training.prompting import PetConfig, member, pet
from bothways.training.run_folder import RunFolder
from bothways.training.state import checkpoints, read_record

TIMES = ("seconds", "_second", "useful_share", "metrics")  # how the names of what differs end
CLASSIC = {"shape": "classic", "segments": 2, "word_head": "transformed"}
EPOCH, EPOCHS, ROWS, LENGTH = 12, 4, 8, 32  # the stops are all among the first 28 steps, so that 20 more follow each
NAMES = ["red", "blue", "green", "black", "white", "brown", "yellow", "grey"]
REWARD = "def reward(prompt, answer, record):\n    return answer.count('e') - 0.1 * len(answer)\n"
Train = Callable[[Any, bool], Any]


@dataclass(frozen=True)
class Kind:
    """`config` makes its settings for a folder; `train` takes them, and whether to resume."""

    name: str
    config: Callable[[Path], Any]
    train: Train


# ---- what is trained on


def lines(path: Path, *records: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in records), encoding="utf-8")
    return path


def texts(folder: Path, rng: random.Random) -> dict[str, Path]:
    """Shards of texts, of pairs, and of both with their languages."""
    words = {side: ["".join(rng.choices(letters, k=5)) for _ in range(80)] for side, letters in SIDES.items()}

    def some(side: str, count: int) -> str:
        return " ".join(rng.choices([*words[side], *NAMES], k=count))

    for side in SIDES:
        (folder / f"{side}.txt").write_text("\n\n".join(some(side, rng.randint(10, 40)) for _ in range(150)))
    pairs = "".join(f"{some('en', 6)}\t{some('de', 6)}\n" for _ in range(300))
    (folder / "pairs.tsv").write_text(f"en\tde\n{pairs}", encoding="utf-8")
    options = PrepareOptions(vocabulary=512, validation=0.1)
    named = [f"{side}={folder / side}.txt" for side in SIDES]
    bothways.prepare(named, pairs=[f"en-de={folder / 'pairs.tsv'}"], out=folder / "both", options=options)
    same = options.model_copy(update={"tokenizer": folder / "both" / "tokenizer"})
    bothways.prepare([folder / "en.txt"], out=folder / "en", options=same)
    bothways.prepare([folder / "de.txt"], out=folder / "de", options=same)
    bothways.prepare([], pairs=[f"en-de={folder / 'pairs.tsv'}"], out=folder / "pairs", options=same)
    return {name: folder / name for name in ("en", "de", "both", "pairs")}


KINDS = ("classify", "kinds", "regress", "tag", "answer", "embed", "text2text", "instruct", "prefer", "single", "grpo")
SIDES = {"en": "abcdefghij", "de": "klmnopqrst"}


def records(folder: Path, rng: random.Random) -> dict[str, Path]:
    """A file of each task: as many records as EPOCH steps of eight read."""
    count = ROWS * EPOCH

    def words(least: int = 4, most: int = 12) -> str:
        return " ".join(rng.choices(NAMES, k=rng.randint(least, most)))

    def made(kind: str) -> dict[str, Any]:
        text, name, other = words(), rng.choice(NAMES), rng.choice(NAMES)
        chat = [{"role": "user", "content": text}, {"role": "assistant", "content": name}]
        return {
            "classify": {"text": text, "label": rng.choice("ab")},
            "kinds": {"text": text, "label": rng.sample(["a", "b", "c"], rng.randint(1, 2))},
            "regress": {"text": text, "score": rng.random()},
            "tag": {"tokens": text.split(), "tags": [rng.choice(["O", "B-X"]) for _ in text.split()]},
            "answer": {"question": "which", "context": f"{words(20, 60)} {name} {text}", "answers": [{"text": name}]},
            "embed": {"text": f"{text} {name}", "positive": f"{name} {text}"},
            "text2text": {"source": text, "target": f"{name} {other}"},
            "instruct": {"messages": chat},
            "prefer": {"prompt": text, "chosen": name, "rejected": f"{name} {other}"},
            "single": {"prompt": text, "completion": name, "label": rng.random() < 0.6},
            "grpo": {"prompt": text},
        }[kind]

    return {kind: lines(folder / f"{kind}.jsonl", *(made(kind) for _ in range(count))) for kind in KINDS}


# ---- the kinds


def pretraining(shards: dict[str, Path]) -> Iterator[Kind]:
    """Every objective, and every part of a run that has a state."""
    plain = [
        "training.length=32",
        f"training.step_tokens={ROWS * LENGTH}",
        f"training.micro_tokens={ROWS * LENGTH // 2}",
    ]
    plain += ["training.precision=fp32", "training.validate_every=0.25", "training.validation_rows=6"]
    plain += ["training.schedule.warmup_steps=5", "training.save_every=9", f"training.budget.steps={EPOCH * EPOCHS}"]
    shape = {"layers": 1, "width": 32, "heads": 2, "inner": 48, "dropout": 0.1}

    def kind(name: str, *more: str, objective: str, of: str = "en") -> Kind:
        def config(out: Path) -> PretrainConfig:
            if (out / "config.yaml").exists():  # with the shape of the model that it began as
                return RunFolder(out).config(PretrainConfig)
            values = {"shards": str(shards[of]), "out": str(out), "objective": objective, "model": shape}
            return read(PretrainConfig, with_settings(values, [*plain, *more]))

        return Kind(name, config, lambda told, resume: pretrain(told, resume=resume, device="cpu"))

    needed = {"tlm": "pairs", "xlm": "both", "codebert": "both"}
    more = {
        "seq2seq": ["model.decoder.layers=1", "model.shape=classic", "model.norm.epsilon=1e-5"],
        "unilm1": ["model.shape=classic", "model.segments=6", "model.word_head=transformed"],
    }
    for name in OBJECTIVES:
        yield kind(f"pretrain {name}", *more.get(name, ()), objective=name, of=needed.get(name, "en"))
    yield kind("pretrain a mixture", objective="1/2 causal + 1/2 mlm(rate=0.3)")
    yield kind("pretrain in phases", objective="1/2 mlm -> 1/2 causal")
    for name in ("adamw", "bert-adam", "lamb", "muon"):
        yield kind(f"pretrain by {name}", f"training.optimiser.name={name}", objective="hybrid")
    yield kind("pretrain in bf16", "training.precision=bf16", objective="hybrid")
    yield kind("pretrain with replay", f"replay={shards['de']}", objective="causal")
    yield kind("pretrain in epochs", objective="hybrid", of="few")
    yield kind("pretrain from a run", f"start={shards['body']}", "model={}", objective="hybrid")


def finetuning(files: dict[str, Path], body: Path, folder: Path) -> Iterator[Kind]:
    """Every task, way of writing, adapter and loss of preferences."""
    (folder / "rewards.py").write_text(REWARD, encoding="utf-8")
    learning = {"model": str(body), "epochs": EPOCHS, "batch": ROWS, "learning_rate": 3e-3, "precision": "fp32"}
    learning |= {"dropout": 0.1, "dev_generated": 4}

    def kind(name: str, task: str, file: str | None = None, **more: Any) -> Kind:
        path = files[file or task]

        def config(out: Path) -> FinetuneConfig:
            return FinetuneConfig(
                **{"task": task, "train": path, "dev": path, "test": path, "out": out} | learning | more
            )

        return Kind(name, config, lambda told, resume: finetune(told, resume=resume, device="cpu"))

    for task in ("classify", "regress", "tag", "answer", "embed", "text2text", "instruct"):
        yield kind(f"finetune {task}", task)
    yield kind("finetune several labels", "classify", "kinds")
    for way in ("causal", "prefix", "unilm1", "unilm2", "mass", "bang", "diffusion", "seq2seq"):
        yield kind(f"write by {way}", "text2text", objective=way)
    for adapter in ("lora(rank=2)", "soft_prompt(tokens=4)", "norms"):
        yield kind(f"adapt {adapter}", "classify", adapter=adapter)
    yield kind("adapt prefix(tokens=3)", "classify", adapter="prefix(tokens=3)", reads="decoder")
    yield kind("adapt bias", "classify", adapter="bias", model=str(body.with_name("classic")))
    yield kind("adapt to instruct", "instruct", adapter="lora(rank=2)")
    yield kind("prefer dpo", "prefer", target_length=6)
    yield kind("prefer dpo beside lora", "prefer", adapter="lora(rank=2)", target_length=6)
    yield kind("prefer orpo", "prefer", loss="orpo", target_length=6)
    yield kind("prefer kto", "prefer", "single", loss="kto", class_weights="balanced", target_length=6)
    yield kind("reward", "reward", "prefer")
    for updates, batch in ((1, ROWS), (2, 2 * ROWS)):
        own = {"code": [folder / "rewards.py"], "samples": 2, "target_length": 4}
        yield kind(f"grpo {updates} updates", "grpo", updates=updates, batch=batch, **own)
    yield kind("finetune with a layer decay", "classify", layer_decay=0.8, patience=3)

    def together(out: Path) -> MultiTaskConfig:
        of = {"mood": "classify", "names": "tag", "where": "answer", "says": "text2text"}
        tasks = [{"name": name, "task": one, "train": files[one], "dev": files[one]} for name, one in of.items()]
        return MultiTaskConfig(**{"tasks": tasks, "out": out} | learning | {"batch": 4 * ROWS})

    yield Kind("finetune several", together, lambda told, resume: finetune_multitask(told, resume=resume, device="cpu"))
    for generations in (1, 2):

        def members(out: Path, generations: int = generations) -> PetConfig:
            own = {"train": files["classify"], "unlabelled": files["classify"], "dev": files["classify"], "out": out}
            own |= {"pattern": ("{text} It was [MASK].", "All [MASK]: {text}"), "verbaliser": "a=red,b=blue"}
            own |= {"repetitions": 1, "steps": 6, "alpha": 0.9, "generations": generations, "growth": 1.1}
            return PetConfig(**own | learning)

        yield Kind("pet" if generations == 1 else "ipet", members, lambda told, resume: pet(told, resume=resume))


# ---- stopping, and comparing


class Recorder:
    """Stands in for the loop: writes down the random states of every step, and asks for a stop."""

    def __init__(self, real: Any) -> None:
        self.real, self.states, self.left = real, dict[str, str](), math.inf

    def __call__(self, work: Any, *, state: Any, **given: Any) -> Any:
        """As `loop.train`."""
        asked = given.pop("stop", lambda: 0)
        for report in self.real(work, state=state, stop=lambda: asked() or self.left <= 1, **given):
            drawn = (torch.get_rng_state().numpy().tobytes(), repr(random.getstate()))
            self.states[f"{given['config'].seed}/{report.step}"] = hashlib.sha256(repr(drawn).encode()).hexdigest()
            self.left -= 1
            yield report


@contextmanager
def recorded(stop_after: float = math.inf) -> Iterator[Recorder]:
    """The loop of every kind recorded, and stopped after so many steps."""
    recorder = Recorder(fit.train)
    recorder.left = stop_after
    fit.train = member.train = recorder  # type: ignore[assignment]
    try:
        yield recorder
    finally:
        fit.train = member.train = recorder.real


def without_times(found: Any) -> Any:
    if isinstance(found, dict):
        return {key: without_times(value) for key, value in found.items() if not key.endswith(TIMES)}
    return found


def differences(one: Path, other: Path) -> list[str]:
    """What is not the same to the bit in two finished runs."""
    odd: list[str] = []
    ours, theirs = (without_times({"all": RunFolder(run).lines()})["all"] for run in (one, other))
    ours, theirs = ([without_times(line) for line in some] for some in (ours, theirs))
    odd += [f"metrics.jsonl at step {a['step']}" for a, b in zip(ours, theirs, strict=False) if a != b][:1]
    odd += ["the number of lines"] if len(ours) != len(theirs) else []
    last, its = (checkpoints(run / "checkpoints")[-1] for run in (one, other))
    odd += ["the last checkpoint"] if last.name != its.name else []
    for name in ("weights.safetensors", "optimiser.safetensors"):
        left, right = load_file(last / name), load_file(its / name)
        same = left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)
        odd += [] if same else [name]
    records = [without_times(read_record(path)) for path in (last, its)]
    odd += [
        f"{key} of the checkpoint" for key in records[0] if records[0][key] != records[1].get(key) and "sha" not in key
    ]
    manifests = [without_times(RunFolder(run).manifest()) for run in (one, other)]
    odd += [
        f"{key} of the manifest" for key in ("best", "test", "status") if manifests[0].get(key) != manifests[1].get(key)
    ]
    files = [{str(path.relative_to(run)) for path in run.rglob("*.safetensors")} for run in (one, other)]
    odd += ["files: " + ", ".join(sorted(files[0] ^ files[1]))] if files[0] ^ files[1] else []
    saved = [name for name in sorted(files[0] & files[1]) if not name.startswith("checkpoints")]
    return odd + [name for name in saved if (one / name).read_bytes() != (other / name).read_bytes()]


def step_of_run(out: Path) -> int:
    found = checkpoints(out / "checkpoints")
    return int(found[-1].name[5:]) if found else 0


def prove(kind: Kind, folder: Path, rng: random.Random) -> tuple[list[int], list[str]]:
    """The steps at which it was stopped, and what differed afterwards."""
    whole, parts, kept = (folder / name for name in ("whole", "parts", "kept"))
    with recorded() as uncut:
        kind.train(kind.config(whole), False)
    first, second, late = rng.randint(1, EPOCH - 1), EPOCH, EPOCH + 1
    stops = [first, second, late, *sorted(rng.sample(range(EPOCH + 2, 2 * EPOCH + 4), 2))]
    odd, reached = list[str](), list[int]()
    for stop in stops:
        with recorded(stop - (reached[-1] if reached else 0)):
            try:
                kind.train(kind.config(parts), bool(reached))
                odd.append(f"it did not stop at {stop}")
            except Stopped:
                reached.append(step_of_run(parts) if not (parts / "pet").exists() else stop)
        shutil.copytree(parts, kept)
        with recorded() as cut:
            kind.train(kind.config(parts), True)
        found = differences(parts, whole)
        found += ["random states"] if any(uncut.states.get(step) != own for step, own in cut.states.items()) else []
        odd += [f"after {stop}: {one}" for one in found]
        if stop != stops[-1]:  # the chain goes on from where it was stopped
            shutil.rmtree(parts)
            kept.rename(parts)
    with recorded() as idle:
        kind.train(kind.config(parts), True)
    odd += [f"resumed when finished: {one}" for one in differences(parts, whole)]
    odd += ["resumed when finished: it trained"] if idle.states else []
    return reached, odd


# ---- comparisons, whose runs are processes of their own


def prove_compare(shards: Path, folder: Path, rng: random.Random) -> tuple[list[int], list[str]]:
    """Stopped by SIGTERM at random moments and begun again, every run of a comparison is the same."""
    settings = ["budget.flops=4e9", "seeds=2", "search.factors=[1]", "model.layers=1", "model.width=32"]
    settings += ["model.heads=2", "model.inner=48", "training.length=32", "training.step_tokens=256"]
    settings += ["training.micro_tokens=128"]
    settings += ["training.precision=fp32", "validation_rows=8", "training.validation_rows=8", "training.save_every=7"]
    words = ["compare", str(shards), "--objectives", "causal; mlm"]
    words += [word for one in settings for word in ("--set", one)]

    def run(out: Path, *, after: float | None) -> int:
        process = subprocess.Popen(
            [sys.executable, "-m", "bothways", *words, "--out", str(out)], stdout=subprocess.DEVNULL, text=True
        )
        if after is not None:
            time.sleep(after)
            process.send_signal(signal.SIGTERM)
        return process.wait()

    whole, parts = folder / "whole", folder / "parts"
    odd = [] if run(whole, after=None) == 0 else ["it failed"]
    codes = [run(parts, after=rng.uniform(4, 12)) for _ in range(5)]
    odd += [] if run(parts, after=None) == 0 else ["gone on with, it failed"]
    for one in sorted(whole.glob("runs/*/*")):
        odd += [f"{one.relative_to(whole)}: {found}" for found in differences(parts / one.relative_to(whole), one)]
    results = [json.loads((out / "comparison.json").read_text())["metrics"] for out in (whole, parts)]
    odd += ["comparison.json"] if results[0] != results[1] else []
    return [code for code in codes if code], odd


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", help="only those with one of these words in their names")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    setup.gemm_peak = lambda *_, **__: 1e11  # the machine is not measured
    failed, begun = 0, time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        folder, rng = Path(place), random.Random(asked.seed)
        shards, files = texts(folder, rng), records(folder, rng)
        small = PrepareOptions(vocabulary=512, validation=0.1, tokenizer=shards["both"] / "tokenizer")
        (folder / "few.txt").write_text("\n\n".join((folder / "en.txt").read_text().split("\n\n")[:40]))
        bothways.prepare([folder / "few.txt"], out=folder / "few", options=small)
        for name, objective in {"body": "hybrid", "classic": "mlm"}.items():  # what has biases, and what has none
            shape = {"layers": 2, "width": 32, "heads": 2, "inner": 48, "length": 128}
            own = {"model": shape | (CLASSIC if name == "classic" else {}), "training": {"budget": {"steps": 5}}}
            bothways.pretrain(shards["en"], out=folder / name, objective=objective, **own)
        shards |= {"few": folder / "few", "body": folder / "body"}
        kinds = [*pretraining(shards), *finetuning(files, folder / "body", folder)]
        wanted = [kind for kind in kinds if not asked.kinds or any(word in kind.name for word in asked.kinds)]
        print(f"{len(wanted)} kinds, {EPOCH * EPOCHS} steps each\n\nkind{'':28}stopped after{'':12}differs", flush=True)

        def told(name: str, prove: Callable[[Path, random.Random], tuple[list[int], list[str]]]) -> int:
            own = folder / "kind"
            shutil.rmtree(own, ignore_errors=True)
            own.mkdir()
            started = time.perf_counter()
            try:
                stops, odd = prove(own, random.Random(zlib.crc32(f"{asked.seed} {name}".encode())))
            except Exception as error:  # noqa: BLE001 - the other kinds are to be proved too
                stops, odd = [], [f"{type(error).__name__}: {error}"]
            took = time.perf_counter() - started
            print(f"{name:32}{', '.join(map(str, stops)):25}{'; '.join(odd) or 'nothing'}  ({took:.0f} s)", flush=True)
            return bool(odd)

        for kind in wanted:
            failed += told(kind.name, lambda own, random, kind=kind: prove(kind, own, random))  # type: ignore[misc]
        if not asked.kinds or "compare" in asked.kinds:
            failed += told("compare", lambda own, random: prove_compare(shards["en"], own, random))
    print(f"\n{(time.perf_counter() - begun) / 60:.1f} minutes")
    if failed:
        sys.exit(f"FAILED: {failed} kinds")
    print("PASSED: every weight, moment, counter, random state and saved model is the same to the bit")


if __name__ == "__main__":
    main()
