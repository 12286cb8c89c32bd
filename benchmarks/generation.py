"""Generation beside transformers: new tokens a second, greedy, the same weights and prompts, on one core.

    python benchmarks/generation.py [--model FOLDER] [--new 32] [--batches 1 4 16] [--pairs 5]
    python benchmarks/generation.py --unequal [--requests 96] [--new 192] [--pairs 5] [--before 82825d2]

The model is a Hugging Face folder of a decoder; left out, a Llama of mini's shape with random weights under a tokenizer
of python-docs. The prompts are beginnings of Python's documentation, of 8 to 64 tokens: in a batch they are unequally
long. `bothways.load(...).generate` and `AutoModelForCausalLM.generate` (left padding, its cache) take turns in one
process. Texts are compared: where rounding lets two tokens change places, they go on differently, and it is said.

--unequal: requests whose prompts and answers are of very unequal lengths, beside an earlier commit in a process of its
own that takes turns. Its tokens are sampled, and one in `--every` ends a text by chance, so that answers end anywhere
from the first token to the last; both sides sample the same tokens.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import common
import torch

import bothways
from bothways.corpus import Shards
from bothways.machine import dtype_of
from bothways.model import preset

LENGTHS = (8, 16, 32, 64)
ROOT = Path(__file__).resolve().parent.parent
WORKER = """
import json, sys, time
import torch
torch.set_num_threads(1)
import bothways
model = bothways.load(sys.argv[1], device="cpu")
write = model.generate if hasattr(model, "generate") else model.extend
for line in sys.stdin:
    given = json.loads(line)
    began = time.perf_counter()
    found = write(given["prompts"], max_new_tokens=given["new"], seed=1)
    took = time.perf_counter() - began
    print(json.dumps([took, [getattr(one, "full_text", one) for one in found]]), flush=True)
"""
"""Generates, on either side, what a line of JSON asks for."""


def random_model(work: Path, shards: Shards) -> Path:
    """A Llama of mini's shape."""
    from transformers import LlamaConfig, LlamaForCausalLM

    shape, vocabulary = preset("mini", vocabulary=shards.vocabulary.size), shards.vocabulary
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.width,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=shape.inner,
        max_position_embeddings=shape.length,
        tie_word_embeddings=True,
        pad_token_id=vocabulary.pad,
        bos_token_id=vocabulary.cls,
        eos_token_id=vocabulary.sep,
    )
    LlamaForCausalLM(config).save_pretrained(work / "llama")
    shards.tokenizer.save(work / "llama", template="decoder", length=512)
    return work / "llama"


def prompts_of(shards: Shards, number: int) -> list[str]:
    """Beginnings of held-out text, of each length in turn."""
    tokens, _ = shards.validation.read(0, number * max(LENGTHS))
    roles = [shards.vocabulary.cls, shards.vocabulary.sep]
    rows = (tokens[i * max(LENGTHS) :][: LENGTHS[i % len(LENGTHS)]] for i in range(number))
    return [shards.tokenizer.decode([token for token in row.tolist() if token not in roles]) for row in rows]


def transformers_of(folder: Path, precision: str, new: int) -> Callable[[list[str]], list[str]]:
    """`generate` as its users call it."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype_of(precision)).eval()

    def generate(prompts: list[str]) -> list[str]:
        given = tokenizer(prompts, return_tensors="pt", padding=True, return_token_type_ids=False)
        with torch.inference_mode():
            rows = model.generate(**given, max_new_tokens=new, do_sample=False)
        return list(tokenizer.batch_decode(rows[:, given["input_ids"].shape[1] :], skip_special_tokens=True))

    return generate


def timed(generate: Callable[[list[str]], list[str]], prompts: list[str]) -> tuple[list[str], float]:
    began = time.perf_counter()
    texts = generate(prompts)
    return texts, time.perf_counter() - began


def measure(folder: Path, precision: str, prompts: list[str], given: argparse.Namespace) -> None:
    """All pairs of one size of batch."""
    model = bothways.load(folder, device="cpu", dtype=dtype_of(precision))
    theirs = transformers_of(folder, precision, given.new)

    def ours(some: list[str]) -> list[str]:
        return [one.text for one in model.generate(some, max_new_tokens=given.new, temperature=0)]

    ours(prompts[:1]), theirs(prompts[:1])
    ratios, speeds = [], []
    for _ in range(given.pairs):
        (mine, took), (other, needed) = timed(ours, prompts), timed(theirs, prompts)
        ratios.append(needed / took)
        speeds.append(len(prompts) * given.new / took)
    same = sum(a == b for a, b in zip(mine, other, strict=True))
    print(
        f"  {precision}, batch of {len(prompts)}: ours {statistics.median(speeds):,.1f} new tokens a second, "
        f"{statistics.median(ratios):.2f} times transformers (median of {given.pairs}, {min(ratios):.2f} to "
        f"{max(ratios):.2f}); {same} of {len(prompts)} texts are the same",
        flush=True,
    )


def unequal(folder: Path, prompts: list[str], given: argparse.Namespace) -> None:
    """Alternating pairs of the present code and an earlier commit, on prompts and answers of unequal length."""
    vocabulary = json.loads((folder / "config.json").read_text())["vocab_size"]
    told = json.loads((folder / "generation_config.json").read_text())
    told["eos_token_id"] = list(range(5, vocabulary, given.every))
    (folder / "generation_config.json").write_text(json.dumps(told))
    with tempfile.TemporaryDirectory() as made:
        archive = subprocess.run(["git", "archive", given.before, "src"], cwd=ROOT, check=True, capture_output=True)
        subprocess.run(["tar", "-x", "-C", made], input=archive.stdout, check=True)
        sides = [_worker(source, folder) for source in (ROOT / "src", Path(made) / "src")]
        ratios = []
        for turn in range(given.pairs + 1):
            order = sides if turn % 2 else sides[::-1]
            found = {id(side): _asked(side, prompts if turn else prompts[:4], given.new) for side in order}
            (mine, texts), (other, before) = (found[id(side)] for side in sides)
            if turn:  # the first is the warm-up
                ratios.append(other / mine)
        lengths = sorted(len(text) - len(prompt) for text, prompt in zip(texts, prompts, strict=True))
        same = sum(a == b for a, b in zip(texts, before, strict=True))
        print(
            f"  {len(prompts)} requests, answers of {lengths[0]} to {lengths[-1]} characters: "
            f"{statistics.median(ratios):.2f} times {given.before} (median of {given.pairs}, {min(ratios):.2f} to "
            f"{max(ratios):.2f}); {same} texts are the same"
        )
        for side in sides:
            side.communicate()


def _worker(source: Path, folder: Path) -> subprocess.Popen[str]:
    command, pipe = [sys.executable, "-c", WORKER, str(folder)], subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, env=os.environ | {"PYTHONPATH": str(source)}, text=True)


def _asked(side: subprocess.Popen[str], prompts: list[str], new: int) -> tuple[float, list[str]]:
    """Seconds and texts."""
    assert side.stdin is not None
    assert side.stdout is not None
    side.stdin.write(json.dumps({"prompts": prompts, "new": new}) + "\n")
    side.stdin.flush()
    took, texts = json.loads(side.stdout.readline())
    return took, texts


def main(arguments: Sequence[str] | None = None) -> None:
    parser = common.parser((__doc__ or "").splitlines()[0], pairs=5)
    parser.add_argument("--model", type=Path, help="a Hugging Face folder of a decoder")
    parser.add_argument("--new", type=int, help="tokens that are generated (default 32; 192 with --unequal)")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--unequal", action="store_true", help="beside an earlier commit, on unequal lengths")
    parser.add_argument("--requests", type=int, default=96, help="of --unequal (default 96)")
    parser.add_argument("--every", type=int, default=40, help="of --unequal: one token in so many ends a text")
    parser.add_argument("--before", default="82825d2", help="of --unequal: the earlier commit")
    given = common.parse(parser, arguments)
    given.new = given.new or (192 if given.unequal else 32)
    common.begin(("torch", "transformers"))
    shards = Shards.open(common.prepare("python-docs", given.work / "python-docs-8192", vocabulary=8192))
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    folder = given.model or random_model(given.work, shards)
    if given.unequal:
        return unequal(folder, prompts_of(shards, given.requests), given)
    prompts = prompts_of(shards, max(given.batches))
    for precision in common.precisions():
        for size in given.batches:
            measure(folder, precision, prompts[:size], given)
    return None


if __name__ == "__main__":
    main()
