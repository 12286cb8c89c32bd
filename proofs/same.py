"""The same numbers as before: one commit and the present code side by side on one machine, bit for bit.

python proofs/same.py [--before COMMIT] [--only shards objectives families tasks] [--keep FOLDER]

Both sides run the same commands on the same files: prepared shards (English, Chinese, pairs, code), 30 steps of every
objective with its losses and saved weights, what every saved run writes, fills, scores, embeds and detects in each of
its ways, the same of every published family, and 20 steps of every task with its predictions. NAMES says what has
another name since; what is meant to change is named in the commit that changes it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BEFORE = "82825d2"
NAMES: dict[str, str] = {
    "extend": "generate",
    "--beams": "--num-beams",
    "--no-repeat": "--set",
    "003": "no_repeat_ngram_size=3",
    "--steps": "--set",
    "03": "steps=3",
    "--order": "--set",
    "random": "order=random",
    "match": "regress",
    **dict.fromkeys(("--balance", "--kind"), "--set"),
    "wordpiece": "kind=wordpiece",
    "0.7": "balance=0.7",
    "pieces": "tokens",
    "piece": "token",
    ".pieces": ".tokens",
    "backbone.embeddings.pieces.weight": "backbone.embeddings.tokens.weight",
}
"""{a word of a command, a key of JSON, or the end of a file's name: what it is called since}"""
DRIVER = """
import contextlib, io, json, sys
sys.argv[0] = "bothways"
from bothways.cli import main
for line in sys.stdin:
    sys.argv[1:] = json.loads(line)
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
    sys.__stdout__.write(json.dumps([code, out.getvalue(), err.getvalue()]) + chr(10))
    sys.__stdout__.flush()
"""
"""Runs commands, a line of JSON each, in one process: torch is imported once."""
OBJECTIVES = "causal reversed prefix mlm unilm1 unilm2 hybrid gpt-bert electra deberta-v3 tlm xlm codebert diffusion"
OBJECTIVES += " block-diffusion elmo mass any-order bang"
SHARDS = dict.fromkeys(OBJECTIVES.split(), "english") | {"tlm": "pairs", "xlm": "mixed", "codebert": "code"}
PROMPTS = ("Return the length of the", "A", "If the file does not exist, it is made; otherwise")
GAPPED = ("Return the [GAP] of the list.", "The [MASK] is read from the [MASK] first.")
HIDDEN = ("The [MASK] is read from the file.", "Return a new [MASK] object.")
GREEDY = ("--temperature", 0, "--max-new-tokens", 12)
USES: dict[str, tuple[object, ...]] = {
    "greedy": ("extend", *GREEDY, *PROMPTS),
    "drawn": ("extend", "--max-new-tokens", 12, "--top-k", 20, "--top-p", 0.9, "--seed", 3, *PROMPTS),
    "beams": ("extend", "--beams", 3, "--no-repeat", "003", "--max-new-tokens", 8, *PROMPTS),
    "passes": ("extend", "--steps", "03", *GREEDY, *PROMPTS),
    "random order": ("extend", "--order", "random", "--seed", 1, *GREEDY, *PROMPTS),
    "infill": ("infill", "--longest", 3, *GAPPED),
    "infill drawn": ("infill", "--length", 3, "--temperature", 1, "--seed", 2, *GAPPED),
    "fill": ("fill", *HIDDEN),
    "score": ("score", *PROMPTS),
    "score pseudo": ("score", "--how", "pseudo", "--within-word", *PROMPTS),
    "embed": ("embed", *PROMPTS),
    "detect": ("detect", *PROMPTS),
}
"""Every way of using a model; one that a model has not is refused on both sides."""


@dataclass
class Side:
    """A checkout at work: its commands run in one process, in a folder of its own."""

    source: Path
    work: Path
    renamed: bool
    _process: subprocess.Popen[str] | None = None

    def run(self, *arguments: object) -> tuple[int, Any]:
        """Exit code, and what was printed: JSON where it is JSON, else text."""
        if self._process is None:
            environment = os.environ | {"PYTHONPATH": str(self.source / "src"), "OMP_NUM_THREADS": "1"}
            command = [sys.executable, "-c", DRIVER]
            pipe = subprocess.PIPE
            self._process = subprocess.Popen(
                command, stdin=pipe, stdout=pipe, env=environment, cwd=self.work, text=True
            )
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps([self.now(str(argument)) for argument in arguments]) + "\n")
        stdin.flush()
        code, out, err = json.loads(stdout.readline())
        if code == 1 or err.startswith("Traceback"):
            raise SystemExit(f"{self.source}: bothways {' '.join(map(str, arguments))} failed:\n{err}")
        try:
            return code, json.loads(out)
        except ValueError:
            return code, out + err

    def must(self, *arguments: object) -> Any:
        """The JSON that a command prints; a command that fails ends the proof."""
        code, out = self.run(*arguments)
        if code:
            raise SystemExit(f"{self.source}: bothways {' '.join(map(str, arguments))} left with {code}:\n{out}")
        return out

    def now(self, word: str) -> str:
        """A word of a command in the language of this side."""
        return NAMES.get(word, word) if self.renamed else word

    def close(self) -> None:
        """Ends the process."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process.wait()


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def tensors(folder: Path) -> dict[str, str]:
    """{file: tensor: digest} of the weights that a run leaves, its checkpoints apart."""
    found = {}
    for file in sorted(folder.rglob("*.safetensors")):
        place = file.relative_to(folder)
        if "checkpoints" in place.parts:
            continue
        data = file.read_bytes()
        start = 8 + int.from_bytes(data[:8], "little")
        header = json.loads(data[8:start])
        for name, about in header.items():
            if name != "__metadata__":
                begin, end = about["data_offsets"]
                found[f"{place}: {name}"] = digest(data[start + begin : start + end])
    return found


def files(folder: Path) -> dict[str, str]:
    """{file: digest} of a folder of shards: all but JSON that describes it, whose words may change."""
    found = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    told = [file for file in found if file.name == "tokenizer.json" or file.suffix not in ("", ".json")]
    return {str(file.relative_to(folder)): digest(file.read_bytes()) for file in told}


def write_texts(work: Path) -> None:
    """Chinese, pairs and labelled records, made of the README of the earlier commit in both languages."""
    english, chinese = (_shown(f"README{language}.md") for language in ("", ".zh"))
    (work / "chinese.txt").write_text("\n\n".join(chinese * 3), encoding="utf-8")
    paired = zip(english * 3, chinese * 3, strict=False)
    pairs = [json.dumps({"en": a, "zh": b}, ensure_ascii=False) for a, b in paired]
    (work / "pairs.jsonl").write_text("\n".join(pairs), encoding="utf-8")
    for task, records in labelled().items():
        lines = [json.dumps(record, ensure_ascii=False) for record in records]
        (work / f"{task}.jsonl").write_text("\n".join(lines), encoding="utf-8")


def _shown(name: str) -> list[str]:
    text = subprocess.run(["git", "show", f"{BEFORE}:{name}"], cwd=ROOT, check=True, capture_output=True, text=True)
    return [line.strip() for line in text.stdout.splitlines() if len(line.strip()) > 20]


def labelled() -> dict[str, list[dict[str, Any]]]:
    """{task: 80 records}: names, colours and things in sentences, whose labels a model may find."""
    names, things = ("Ada", "Grace Hopper", "Kurt"), ("file", "list of numbers", "query")
    verbs = ("reads", "writes", "never closes")
    told = [(names[i % 3], verbs[i // 3 % 3], things[i // 9 % 3], i) for i in range(80)]
    texts = [f"{name} {verb} the {thing} {i}." for name, verb, thing, i in told]
    rows = list(zip(texts, told, strict=True))

    def tags(name: str, verb: str, thing: str, i: int) -> dict[str, Any]:
        spans = [("PER", name), ("", verb), ("", "the"), ("OBJ", thing), ("", f"{i}.")]
        tokens, found = [], []
        for kind, words in spans:
            for place, word in enumerate(words.split()):
                tokens.append(word)
                found.append(f"{'I' if place else 'B'}-{kind}" if kind else "O")
        return {"tokens": tokens, "tags": found}

    return {
        "classify": [{"text": text, "label": verb} for text, (_, verb, _, _) in rows],
        "match": [
            {"text_a": text, "text_b": texts[(i * 7) % 80], "score": float((i * 6) % 5)} for text, (*_, i) in rows
        ],
        "tag": [tags(*one) for one in told],
        "intent": [tags(*one) | {"intent": one[1]} for one in told],
        "relate": [
            {"text": f"<e1>{name}</e1> {verb} the <e2>{thing}</e2> {i}.", "label": f"{verb.split()[-1]}(e1,e2)"}
            for name, verb, thing, i in told
        ],
        "answer": [
            {"question": "Who?", "context": text, "answers": [{"text": name, "start": 0}]} for text, (name, *_) in rows
        ],
        "choose": [
            {"context": text, "question": "Which?", "choices": list(things), "answer": things.index(thing)}
            for text, (_, _, thing, _) in rows
        ],
        "embed": [{"text": text, "positive": f"the {thing} of {name}"} for text, (name, _, thing, _) in rows],
    }


def check_shards(side: Side, given: Path) -> Iterator[tuple[str, Any]]:
    """All that is prepared: text of two languages, pairs, code, words of a Chinese cutter."""
    small = ("--vocabulary", 2048)
    pairs = ("--pairs", f"en-zh={given / 'pairs.jsonl'}")
    commands = {
        "english": ("python-docs", *small),
        "wordpieces": ("python-docs", *small, "--kind", "wordpiece"),
        "chinese": (given / "chinese.txt", *small, "--documents", "lines"),
        "pairs": (*pairs, *small),
        "mixed": (f"zh={given / 'chinese.txt'}", *pairs, *small, "--balance", 0.7),
        "code": ("python-code", *small),
    }
    for name, arguments in commands.items():
        side.must("prepare", *arguments, "--out", name, "--json")
        yield name, files(side.work / name)


def check_objectives(side: Side, given: Path) -> Iterator[tuple[str, Any]]:
    """30 steps, losses, weights, and every way of using what was saved."""
    sizes = ("--size", "2x64", "--budget", "30steps", "--json")
    settings = ("length=64", "step_tokens=1024", "micro_tokens=1024", "validation_rows=16", "precision=fp32")
    for name, shards in SHARDS.items():
        options = [word for setting in settings for word in ("--set", f"training.{setting}")]
        side.must("pretrain", shards, "--objective", name, "--out", f"of-{name}", *sizes, *options)
        yield from trained(name, side.work / f"of-{name}")
        yield from used(side, name, f"of-{name}")


def trained(name: str, run: Path) -> Iterator[tuple[str, Any]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    yield f"{name}: losses", [{key: line[key] for key in line if "loss" in key or key == "scores"} for line in lines]
    yield f"{name}: weights", tensors(run)


def used(side: Side, name: str, run: object) -> Iterator[tuple[str, Any]]:
    for use, (command, *arguments) in USES.items():
        code, out = side.run(command, run, *arguments, "--json")
        if command == "extend" and not code:  # before, the text held the prompt
            out = [{"prompt": one["prompt"], "text": one.get("full_text", one["text"])} for one in out]
        yield f"{name}: {use}", code if code else [code, out]


def check_families(side: Side, given: Path) -> Iterator[tuple[str, Any]]:
    """Folders that transformers saved, in every way they can be used: scores, states, guesses, texts."""
    for folder in sorted((given / "families").iterdir()):
        yield from used(side, folder.name, folder)


def write_families(folder: Path) -> None:
    """A small model of random weights of every family that the tests walk, with its tokenizer."""
    sys.path.insert(0, str(ROOT))
    import torch
    import transformers

    fields, folders = import_module("tests.model.huggingface.configurations"), import_module("tests.text.folders")
    of = {"Bert": "bert", "Roberta": "roberta", "XLMRoberta": "xlm_roberta", "Electra": "electra"}
    of |= {"EuroBert": "eurobert", "Llama": "llama", "Qwen3": "qwen3"}
    for family, tokenizer in of.items():
        place = folder / tokenizer
        folders.FOLDERS[tokenizer](place)
        (place / "config.json").rename(place / "told.json")
        size = len(transformers.AutoTokenizer.from_pretrained(place, config=transformers.BertConfig()))
        torch.manual_seed(0)
        values = {**fields.FAMILIES[family], "vocab_size": size, "num_hidden_layers": 2}
        config = getattr(transformers, f"{family}Config")(**values)
        getattr(transformers, f"{family}{fields.WORDS[family]}")(config).save_pretrained(place)
        (place / "told.json").unlink()


def check_tasks(side: Side, given: Path) -> Iterator[tuple[str, Any]]:
    """20 steps of every task from one pretrained run, and what the model then predicts."""
    sizes = ("--set", "epochs=2", "--set", "batch=8", "--set", "precision=fp32", "--json")
    for task in labelled():
        file = given / f"{task}.jsonl"
        told = side.must("finetune", "of-mlm", "--task", task, "--train", file, "--dev", file, "--out", task, *sizes)
        yield f"{task}: told", told
        yield from trained(task, side.work / side.now(task))
        side.must("predict", task, file, "--out", f"{task}.out")
        lines = (side.work / f"{task}.out").read_text(encoding="utf-8").splitlines()
        yield f"{task}: predictions", [json.loads(line) for line in lines]
        yield f"{task}: measured", side.must("evaluate", task, file, "--json")


CHECKS: dict[str, Callable[[Side, Path], Iterator[tuple[str, Any]]]] = {
    "shards": check_shards,
    "objectives": check_objectives,
    "families": check_families,
    "tasks": check_tasks,
}


NEEDS = {"shards": ("objectives", "tasks"), "objectives": ("tasks",)}


def needed(name: str, only: list[str]) -> bool:
    """Whether a check makes what one of the others reads."""
    return any(other in only for other in NEEDS.get(name, ()))


def checkout(commit: str, folder: Path) -> Path:
    """Its files."""
    archive = subprocess.run(["git", "archive", commit], cwd=ROOT, check=True, capture_output=True)
    folder.mkdir()
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)
    return folder


def work_through(side: Side, only: list[str], given: Path) -> dict[str, dict[str, Any]]:
    """{check: {what was looked at: what it gave}}."""
    side.work.mkdir()
    results: dict[str, dict[str, Any]] = {}
    for name in only:
        results[name] = {}
        for label, value in CHECKS[name](side, given):
            results[name][label] = json.loads(json.dumps(value))
            print(".", end="", flush=True, file=sys.stderr)
    side.close()
    return results


def renew(value: Any) -> Any:
    """Results of the earlier commit under the present names."""
    if isinstance(value, dict):
        return {_renewed(key): renew(one) for key, one in value.items()}
    return [renew(one) for one in value] if isinstance(value, list) else value


def _renewed(key: str) -> str:
    stem, dot, suffix = key.rpartition(".")
    return NAMES.get(key) or stem + NAMES.get(dot + suffix, dot + suffix)


def difference(before: Any, after: Any, place: str = "") -> str | None:
    """Where two results differ first; keys that are new are no difference."""
    if isinstance(before, dict) and isinstance(after, dict):
        if missing := before.keys() - after.keys():
            return f"{place}: {', '.join(map(str, sorted(missing)))} gone"
        return next(filter(None, (difference(before[key], after[key], f"{place}/{key}") for key in before)), None)
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        both = enumerate(zip(before, after, strict=True))
        return next(filter(None, (difference(*pair, f"{place}/{i}") for i, pair in both)), None)
    return None if before == after else f"{place}: {str(before)[:150]} before, {str(after)[:150]} now"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--before", default=BEFORE)
    parser.add_argument("--only", nargs="*", choices=list(CHECKS), default=list(CHECKS))
    parser.add_argument("--keep", type=Path, help="A folder for what the earlier commit gave, to be used again.")
    given = parser.parse_args()
    only = [name for name in CHECKS if name in given.only or needed(name, given.only)]
    with tempfile.TemporaryDirectory() as made, ThreadPoolExecutor(2) as pool:
        work = Path(made)
        (work / "given").mkdir()
        write_texts(work / "given")
        if "families" in only:
            write_families(work / "given" / "families")
        kept = {name: given.keep / f"{given.before}-{name}.json" for name in only} if given.keep else {}
        after = Side(ROOT, work / "after", renamed=True)
        running = pool.submit(work_through, after, only, work / "given")
        if kept and all(file.is_file() for file in kept.values()):
            found = {name: json.loads(file.read_text(encoding="utf-8")) for name, file in kept.items()}
        else:
            source = checkout(given.before, work / "source")
            found = work_through(Side(source, work / "before", renamed=False), only, work / "given")
        for name, file in kept.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(found[name]), encoding="utf-8")
        now = running.result()
    pairs = [(name, label, value) for name, some in found.items() for label, value in some.items()]
    told = {f"{name}: {label}": difference(renew(value), now[name].get(label)) for name, label, value in pairs}
    for label, wrong in told.items():
        print(f"{'same     ' if wrong is None else 'DIFFERENT'} {label}{'' if wrong is None else f': {wrong}'}")
    same = sum(wrong is None for wrong in told.values())
    print(f"all {same} are the same" if same == len(told) and told else f"{len(told) - same} of {len(told)} DIFFER")
    sys.exit(same != len(told) or not told)


if __name__ == "__main__":
    main()
