"""Code search, after CodeBERT (Feng et al. 2020, section 4.1): which function is described? Among up to 999 others.

    python examples/code_search.py RUN --out runs/code-search [--distractors 999] [--epochs 3]

RUN is a run that read code, as `--objective codebert` over `python-code` leaves it, or any encoder. It is fine-tuned
with `embed` on descriptions and functions of the standard library, a fifth held out by a hash of the description; then
each description of the test part looks for its own function: the mean reciprocal rank, beside that of shared words
(TF-IDF).
"""

from __future__ import annotations

import argparse
import json
from hashlib import sha256
from pathlib import Path

import numpy as np

import bothways
from bothways.corpus.python_code import described
from bothways.statistics import Mean
from bothways.tasks.rouge import rouge_tokens
from bothways.training.finetuning import finetune


def split(pairs: list[tuple[str, str]], count: int) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Those to train on, and some `count` to test by, chosen by a hash of the description: no description is on both
    sides, nor is a function."""
    order = sorted(pairs, key=lambda pair: sha256(pair[0].encode()).digest())
    test = order[:count]
    words, code = {pair[0] for pair in test}, {pair[1] for pair in test}
    return [pair for pair in order[count:] if pair[0] not in words and pair[1] not in code], test


def mean_reciprocal_rank(queries: np.ndarray, candidates: np.ndarray, *, distractors: int) -> Mean:
    """Of unit vectors [N, D] each: query i looks for candidate i among as many others, drawn once; ties count half."""
    rng, ranks = np.random.default_rng(0), []
    for number, query in enumerate(queries):
        others = np.delete(np.arange(len(candidates)), number)
        cosines = candidates[rng.choice(others, min(distractors, len(others)), replace=False)] @ query
        own = candidates[number] @ query
        ranks.append(1 + (cosines > own).sum() + (cosines == own).sum() / 2)
    return Mean.of((1 / np.array(ranks)).tolist())


def unit(vectors: np.ndarray) -> np.ndarray:
    """[N, D] with length one."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12))


def by_words(texts: list[str], code: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Both as unit vectors of their words, names parted at underscores."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    found = TfidfVectorizer(analyzer=rouge_tokens).fit_transform([*texts, *code]).toarray()
    return found[: len(texts)], found[len(texts) :]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/code-search"))
    parser.add_argument("--distractors", type=int, default=999)
    parser.add_argument("--most", type=int, default=None, help="pairs to train on; left out, all")
    parser.add_argument("--epochs", type=int, default=3)
    options = parser.parse_args()
    pairs = list(dict.fromkeys(described()))
    train, test = split(pairs, min(options.distractors + 1, len(pairs) // 5))
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / "train.jsonl"
    lines = [json.dumps({"text": text, "positive": code}) for text, code in train[: options.most]]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{len(lines)} pairs to train on, {len(test)} to test by")
    texts, code = [text for text, _ in test], [function for _, function in test]
    tuned = options.out / "run"
    if not (tuned / "model").is_dir():
        finetune(model=str(options.run), task="embed", train=file, out=tuned, epochs=options.epochs, batch=64)
    rows = {"shared words (TF-IDF)": by_words(texts, code)}
    for name, run in (("the model before", options.run), ("the model fine-tuned", tuned)):
        model = bothways.load(run)
        rows[name] = (unit(model.embed(texts)), unit(model.embed(code)))
    for name, (queries, candidates) in rows.items():
        found = mean_reciprocal_rank(queries, candidates, distractors=options.distractors)
        print(f"{name:24s} MRR {found.mean:.3f} +- {found.half:.3f}")


if __name__ == "__main__":
    main()
