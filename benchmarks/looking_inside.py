"""Minimal pairs scored beside transformers, and the memory of contextuality: same weights, same texts, same scores.

    python benchmarks/looking_inside.py [--pairs pairs.jsonl] [--model FOLDER] [--most 2000] [--rounds 5]

Records hold good and bad (BLiMP); left out, they are sentences of Python's documentation with two words exchanged. The
model is a run or a Hugging Face folder of a decoder; left out, one of size mini with random weights, which is as fast.
Everything begins from texts, float32, one thread on one core; the sides take turns, a ratio is taken between neighbours
in time, and the median counts:

- ours: `model.score` of all texts, as `bothways probe` asks it;
- one: LlamaForCausalLM, the two sentences of a pair per forward;
- batch: the same, 64 sentences per forward in arrival order, padded.

It fails if a score differs by more than 1e-4. Before that, 100,000 tokens are measured layer by layer by
`contextuality`: what the process grew by beside what all layers at once would hold.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import common
import numpy as np

CLOSE = 1e-4
TOKENS = 100_000


def default_pairs(work: Path, most: int) -> list[tuple[str, str]]:
    """Sentences of documentation, and each with two neighbouring words exchanged."""
    pairs, rng = [], np.random.default_rng(0)
    for text in documents(work):
        for sentence in text.replace("\n", " ").split(". "):
            words = sentence.split()
            if 5 <= len(words) <= 15 and len(pairs) < most:
                at = int(rng.integers(len(words) - 1))
                pairs.append((" ".join(words), " ".join([*words[:at], words[at + 1], words[at], *words[at + 2 :]])))
    return pairs


def documents(work: Path) -> list[str]:
    from bothways.corpus import Shards

    shards = Shards.open(common.prepare("python-docs", work / "python-docs", vocabulary=8192))
    tokens, _ = shards.train.read(0, min(shards.train.token_count, 2**19))
    found = np.split(tokens, np.flatnonzero(tokens == shards.vocabulary.cls)[1:])
    return [shards.tokenizer.decode(document.tolist()).strip() for document in found]


def default_model(work: Path) -> Path:
    """A decoder with random weights and the tokenizer of python-docs."""
    out = work / "random-decoder"
    if not (out / "manifest.json").exists():
        shards = common.prepare("python-docs", work / "python-docs", vocabulary=8192)
        command = ["-m", "bothways", "pretrain", str(shards), "--out", str(out), "--size", common.SIZE]
        command += ["--objective", "causal", "--budget", "1steps"]
        common.call([*command, *(word for one in common.LOOK_LESS for word in ("--set", one))], cores={core()})
    return out


def core() -> int:
    return min(os.sched_getaffinity(0))


def peer(folder: Path) -> Callable[[Sequence[str], int], np.ndarray]:
    """(texts, so many a forward) -> sums of log-probabilities, by transformers."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()

    @torch.inference_mode()
    def score(texts: Sequence[str], at_once: int) -> np.ndarray:
        found = []
        for start in range(0, len(texts), at_once):
            batch = tokenizer(list(texts[start : start + at_once]), padding=True, return_tensors="pt")
            batch.pop("token_type_ids", None)
            logits = model(**batch).logits[:, :-1]
            labels = batch["input_ids"][:, 1:].masked_fill(batch["attention_mask"][:, 1:] == 0, -100)
            nats = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
            found.append(-nats.view(labels.shape).sum(1))
        return torch.cat(found).double().numpy()

    return score


def pairs_side_by_side(given: argparse.Namespace, folder: Path, pairs: Sequence[tuple[str, str]]) -> bool:
    """Prints the ratios; whether the scores agree."""
    from bothways import load

    theirs, model = peer(folder), load(folder, device="cpu")
    texts = [text for pair in pairs for text in pair]
    sides: dict[str, Callable[[], np.ndarray]] = {
        "ours": lambda: model.score(texts),
        "one": lambda: theirs(texts, 2),
        "batch": lambda: theirs(texts, 64),
    }
    model.score(texts[:64]), theirs(texts[:64], 2), theirs(texts[:64], 64)  # warm
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    apart = 0.0
    for _ in range(given.rounds):
        scores = {}
        for name, score in sides.items():
            started = time.perf_counter()
            scores[name] = score()
            seconds[name].append(time.perf_counter() - started)
        apart = max(apart, *(float(np.abs(scores["ours"] - scores[name]).max()) for name in sides))
    for name, taken in seconds.items():
        ratio = statistics.median(other / own for own, other in zip(seconds["ours"], taken, strict=True))
        print(f"{name:6} {len(pairs) / statistics.median(taken):8.0f} pairs/s   ours is {ratio:.2f} times as fast")
    print(f"scores differ by at most {apart:.1e}")
    return apart <= CLOSE


def contextuality_in_memory(folder: Path, texts: Sequence[str]) -> None:
    """Prints seconds and growth of the process."""
    from bothways import load
    from bothways.evaluation.inspection.contextuality import contextuality

    engine = load(folder, device="cpu").engine
    contextuality(engine, texts[:200], most_tokens=5_000)  # warm
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    found = contextuality(engine, texts, most_tokens=TOKENS)[0]
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    layers, width = engine.model.config.layers + 1, engine.model.config.width
    one = found.tokens * width * 4 / 2**20
    print(
        f"contextuality of {found.tokens:,} tokens, {layers} layers of width {width}: "
        f"{time.perf_counter() - started:.0f} s, the process grew by {grown:.0f} MiB; one layer is {one:.0f} MiB, "
        f"all are {layers * one:.0f} MiB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--most", type=int, default=2000, help="pairs (default 2000)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "bothways-benchmarks")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    common.begin(("torch", "transformers"))
    run = given.model or default_model(given.work)
    folder = run / "decoder" if (run / "decoder").is_dir() else run
    if given.pairs:
        from bothways.evaluation.probes import Records

        records = Records.read(given.pairs)
        pairs = list(zip(records.texts("good"), records.texts("bad"), strict=True))
        # spread evenly: a file is sorted by phenomenon, and so by length
        most = min(given.most, len(pairs))
        pairs = [pairs[i * len(pairs) // most] for i in range(most)]
    else:
        pairs = default_pairs(given.work, given.most)
    os.sched_setaffinity(0, {core()})
    import torch

    torch.set_num_threads(1)
    contextuality_in_memory(folder, documents(given.work))  # first: the peak of the process only ever rises
    agree = pairs_side_by_side(given, folder, pairs)
    sys.exit(0 if agree else f"scores should agree within {CLOSE:g}")


if __name__ == "__main__":
    main()
