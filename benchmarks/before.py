"""The present code beside an earlier commit: training, predicting and generating, in alternating pairs on one core.

    python benchmarks/before.py [--before 82825d2] [--pairs 20] [--what train predict generate] [--core 0]

- train: `bothways pretrain` of size tiny, mlm, rows of 128, steps of 4,096 tokens in float32, by its own metrics.jsonl
- predict: `classify` of 256 texts of 4 to 64 words by a BERT of MiniLM's shape with random weights
- generate: 32 tokens after each of 8 prompts by a Llama of mini's shape with random weights

Each side has a process of its own; who begins takes turns. What counts is the mean of the ratios (their logarithms),
with a 95 % interval by Student's t: a change is slower only where the interval says so.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import common
import numpy as np
from scipy.stats import t

ROOT = Path(__file__).resolve().parent.parent
STEPS, WARM = 10, 2
WORKER = """
import json, sys, time
import torch
torch.set_num_threads(1)
import bothways
model = bothways.load(sys.argv[1], device="cpu")
ask = getattr(model, sys.argv[2], None) or model.extend
for line in sys.stdin:
    given = json.loads(line)
    began = time.perf_counter()
    ask(given["texts"], **given["options"])
    print(time.perf_counter() - began, flush=True)
"""


def random_models(work: Path) -> tuple[Path, Path]:
    """A classifier and a decoder that both commits load."""
    import torch
    import transformers

    from bothways.text import Tokenizer

    own = Tokenizer.load(common.prepare("python-docs", work / "python-docs-8192", vocabulary=8192))
    torch.manual_seed(0)
    shared = {"vocab_size": own.vocabulary.size, "pad_token_id": own.vocabulary.pad}
    bert = transformers.BertConfig(
        **shared, hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536, num_labels=3
    )
    llama = transformers.LlamaConfig(
        **shared,
        hidden_size=256,
        num_hidden_layers=12,
        num_attention_heads=4,
        intermediate_size=688,
        bos_token_id=own.vocabulary.cls,
        eos_token_id=own.vocabulary.sep,
    )
    made = {
        "encoder": transformers.BertForSequenceClassification(bert),
        "decoder": transformers.LlamaForCausalLM(llama),
    }
    folders = []
    for template, model in made.items():
        folders.append(work / f"before-{template}")
        model.save_pretrained(folders[-1])
        own.save(folders[-1], template=template, length=512, segments=template == "encoder")
    return folders[0], folders[1]


def texts(count: int, *, longest: int) -> list[str]:
    """Words of Python's documentation, of 4 to so many."""
    words = " ".join(doc for name in ("os", "pathlib", "typing") if (doc := __import__(name).__doc__)).split()
    random = np.random.default_rng(0)
    return [" ".join(random.choice(words, random.integers(4, longest))) for _ in range(count)]


class Asked:
    """Both sides of `predict` or `generate`: a process that answers lines."""

    def __init__(self, source: Path, folder: Path, method: str, **request: object) -> None:
        pipe = subprocess.PIPE
        command = [sys.executable, "-c", WORKER, str(folder), method]
        self.process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, env=os.environ | {"PYTHONPATH": str(source)}, text=True
        )
        self.line = json.dumps(request)
        self.seconds()  # once to warm up

    def seconds(self) -> float:
        """Those of one more run."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(self.line, file=self.process.stdin, flush=True)
        return float(self.process.stdout.readline())


def train(source: Path, work: Path) -> float:
    """Seconds of the steps after the warm-up; each commit has shards of its own format."""
    environment = os.environ | {"PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "bothways"]
    shards, run = work / "shards", work / "run"
    if not shards.exists():
        prepare = [*command, "prepare", "python-docs", "--out", str(shards), "--vocabulary", "8192"]
        subprocess.run(prepare, env=environment, check=True, capture_output=True)
    common.shutil.rmtree(run, ignore_errors=True)
    settings = ("training.step_tokens=4096", "training.precision=fp32", *common.LOOK_LESS)
    options = ["--objective", "mlm", "--size", "tiny", "--budget", f"{WARM + STEPS}steps"]
    options += [word for setting in settings for word in ("--set", setting)]
    subprocess.run(
        [*command, "pretrain", str(shards), "--out", str(run), *options],
        env=environment,
        check=True,
        capture_output=True,
    )
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    steps = [line for line in lines if line["kind"] == "train"][WARM:]
    tokens = [one["tokens"] - before["tokens"] for before, one in itertools.pairwise(steps)]
    return sum(count / line["tokens_per_second"] for count, line in zip(tokens, steps[1:], strict=True))


def compare(name: str, sides: tuple[Callable[[], float], Callable[[], float]], pairs: int, before: str) -> None:
    """Prints how many times faster the first side is."""
    ratios = []
    for turn in range(pairs):
        found = {side: sides[side]() for side in ((0, 1) if turn % 2 else (1, 0))}
        ratios.append(math.log(found[1] / found[0]))
        print(f"  {name} {turn + 1}: {math.exp(ratios[-1]):.3f}", flush=True)
    mean, error = statistics.fmean(ratios), statistics.stdev(ratios) / math.sqrt(pairs)
    reach = float(t.ppf(0.975, pairs - 1)) * error
    low, middle, high = (math.exp(value) for value in (mean - reach, mean, mean + reach))
    print(f"{name}: {middle:.3f} times {before} ({low:.3f} to {high:.3f}, {pairs} pairs)", flush=True)


def main(arguments: list[str] | None = None) -> None:
    parser = common.parser(__doc__ or "", pairs=20)
    parser.add_argument("--before", default="82825d2", help="the earlier commit (default %(default)s)")
    parser.add_argument("--what", nargs="+", default=["train", "predict", "generate"])
    parser.add_argument("--core", type=int, default=0, help="the core that both sides get")
    given = common.parse(parser, arguments)
    common.begin(("torch", "transformers"))
    classifier, decoder = random_models(given.work)
    os.sched_setaffinity(0, {given.core})
    with tempfile.TemporaryDirectory() as made:
        archive = subprocess.run(["git", "archive", given.before, "src"], cwd=ROOT, check=True, capture_output=True)
        subprocess.run(["tar", "-x", "-C", made], input=archive.stdout, check=True)
        sources = (ROOT / "src", Path(made) / "src")
        for what in given.what:
            if what == "train":
                places = [Path(made) / side for side in ("now", "before")]
                for place in places:
                    place.mkdir()
                now, then = (
                    lambda source=source, place=place: train(source, place)
                    for source, place in zip(sources, places, strict=True)
                )
            else:
                folder, method = (classifier, "classify") if what == "predict" else (decoder, "generate")
                count, longest = (256, 64) if what == "predict" else (8, 32)
                options = {} if what == "predict" else {"max_new_tokens": 32, "temperature": 0}
                now, then = (
                    Asked(source, folder, method, texts=texts(count, longest=longest), options=options).seconds
                    for source in sources
                )
            compare(what, (now, then), given.pairs, given.before)


if __name__ == "__main__":
    main()
