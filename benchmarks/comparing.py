"""`bothways compare` from the first line to the page: how much of its time is training?

    python benchmarks/comparing.py [--budget 5e11flops] [--objectives "causal; mlm"] [--seeds 2]

The shipped command on python-docs with size tiny, one run at a time on one core, the search for learning rates
included. What is not training is start-up, questions to the models, and the page.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Sequence

import common


def main(arguments: Sequence[str] | None = None) -> None:
    parser = common.parser((__doc__ or "").splitlines()[0], pairs=1)
    parser.add_argument("--objectives", default="causal; mlm")
    parser.add_argument("--budget", default="5e11flops")
    parser.add_argument("--seeds", type=int, default=2)
    given = common.parse(parser, arguments)
    common.begin(("torch",))
    shards = common.prepare("python-docs", given.work / "python-docs-8192", vocabulary=8192)
    for number in range(1, given.pairs + 1):
        out = given.work / "comparison"
        shutil.rmtree(out, ignore_errors=True)
        told = ["--objectives", given.objectives, "--budget", given.budget, "--seeds", str(given.seeds)]
        began = time.perf_counter()
        common.call(
            ["-m", "bothways", "compare", str(shards), "--size", "tiny", "--out", str(out), *told],
            cores={min(os.sched_getaffinity(0))},
        )
        whole = time.perf_counter() - began
        runs = sorted(out.rglob("metrics.jsonl"))
        trained = sum(json.loads(run.read_text(encoding="utf-8").splitlines()[-1])["seconds"] for run in runs)
        print(f"  {number}. {len(runs)} runs, {whole:.0f} s in all, {trained / whole:.0%} of it training", flush=True)


if __name__ == "__main__":
    main()
