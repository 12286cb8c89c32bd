"""A whole comparison: equal compute, paired seeds, the same evaluation data; it goes on where it stopped."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bothways.config import dump
from bothways.errors import BothwaysError, DataError, UsageError
from bothways.evaluation.comparison import CompareConfig, compare
from bothways.evaluation.comparison.config import folder_name
from bothways.machine import cores
from bothways.training.pretraining.config import PretrainConfig
from bothways.training.run_folder import RunFolder
from tests.evaluation.comparison.conftest import BUDGET
from tests.training.pretraining.small import make_shards

pytestmark = pytest.mark.usefixtures("in_this_process")
Configured = Callable[..., CompareConfig]


def result_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "comparison.json").read_text(encoding="utf-8"))
    return found


def lines_of(folder: Path) -> list[list[dict[str, Any]]]:
    runs = sorted(path.parent for path in folder.glob("runs/*/*/metrics.jsonl"))
    timed = ("seconds", "tokens_per_second", "useful_share")
    return [[{k: v for k, v in line.items() if k not in timed} for line in RunFolder(run).lines()] for run in runs]


def test_every_run_has_the_same_compute(compared: Path) -> None:
    for entry in result_of(compared)["objectives"]:
        assert entry["step"] > 5
        assert BUDGET <= entry["flops"] < BUDGET * (1 + 1 / (entry["step"] - 1))  # whole steps


def test_runs_of_one_seed_read_the_same_text_in_the_same_order(compared: Path) -> None:
    seeds = {
        (run.parent.parent.name, run.parent.name): RunFolder(run.parent).config(PretrainConfig).training.seed
        for run in compared.glob("runs/*/*/config.yaml")
    }
    assert {seed for (_, name), seed in seeds.items() if name == "seed-1"} == {1}
    assert len(seeds) == 4


def test_the_same_metrics_for_all_that_have_them(compared: Path) -> None:
    found = {each["name"]: each for each in result_of(compared)["metrics"]}
    able = {name: {each["objective"] for each in metric["objectives"]} for name, metric in found.items()}
    assert able == {
        "bits per byte": {"causal"},
        "next-word accuracy": {"causal"},
        "minimal pairs, left to right": {"causal"},
        "fill accuracy": {"causal -> mlm"},
        "minimal pairs, pseudo-log-likelihood": {"causal -> mlm"},
        "probe colour": {"causal", "causal -> mlm"},
        "fine-tuned names": {"causal", "causal -> mlm"},
    }
    assert found["probe colour"]["items"] == found["fine-tuned names"]["items"] == 10
    assert found["fine-tuned names"]["baselines"].keys() == {"untrained body"}
    assert found["probe colour"]["baselines"].keys() == {"commonest class", "untrained body", "TF-IDF, no body"}
    assert found["bits per byte"]["baselines"].keys() == {"unigram", "bigram", "trigram"}
    assert found["fill accuracy"]["baselines"].keys() == {"unigram"}


def test_bits_per_byte_are_those_of_the_run(compared: Path, configured: Configured, shards: Path) -> None:
    """The same figure from the saved model, row by row, as from the model in training, over the same rows."""
    out = compared.parent / "fewer"
    (out / "runs").parent.mkdir(exist_ok=True)
    (out / "runs").symlink_to(compared / "runs")
    result = compare(configured(out, validation_rows=4))
    run = RunFolder(compared / "runs" / "causal" / "seed-0")
    trained = [line for line in run.lines() if line["kind"] == "validation"][-1]
    measured = {each["name"]: each["objectives"][0]["seeds"][0] for each in result["metrics"]}
    assert measured["bits per byte"] == pytest.approx(trained["bits_per_byte"]["causal"], rel=1e-5)
    assert measured["next-word accuracy"] == pytest.approx(trained["next_accuracy"])


def test_nothing_is_done_twice_and_more_is_added(compared: Path, configured: Configured) -> None:
    before = {path: path.stat().st_mtime_ns for path in compared.glob("runs/*/*/metrics.jsonl")}
    again: list[str] = []
    result = compare(configured(compared, seeds=1, objectives=("causal", "mlm")), say=again.append)
    assert [entry["objective"] for entry in result["objectives"]] == ["causal", "mlm"]
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert sum("measured" in said for said in again) == 1
    planned, shown = dict[str, float](), dict[str, float]()
    compare(configured(compared), plan=planned.__setitem__, show=shown.__setitem__)
    assert planned == dict.fromkeys(shown, 1.0) and shown == dict.fromkeys(planned, 1.0) and len(shown) == 4


def test_another_comparison_does_not_go_into_the_same_folder(compared: Path, configured: Configured) -> None:
    with pytest.raises(UsageError, match="holds a comparison with budget"):
        compare(configured(compared, budget={"flops": 2 * BUDGET}))


def test_shards_may_move_but_not_change(compared: Path, configured: Configured, shards: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(shards, tmp_path / "moved"))
    asked: list[str] = []
    compare(configured(compared, shards=moved, validation_rows=2), say=asked.append)
    assert sum("measured" in said for said in asked) == 4  # and not one trained anew
    other = make_shards(tmp_path, documents=30, seed=7)
    with pytest.raises(DataError, match="on another text"):
        compare(configured(compared, shards=other))


def test_the_page_is_whole_and_asks_for_nothing(compared: Path) -> None:
    page = (compared / "comparison.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>") and page.count("<section") == page.count("</section")
    assert "http://" not in page.replace("http://www.w3.org", "") and "https://" not in page
    for said in ("causal -&gt; mlm", "bits/byte", "TF-IDF, no body", "Learning against compute"):
        assert said in page


def test_stopped_it_goes_on_and_comes_to_the_same(compared: Path, configured: Configured, tmp_path: Path) -> None:
    config = configured(tmp_path / "cmp", seeds=1, at_once=cores())  # one thread for each run
    file = tmp_path / "told.yaml"
    file.write_text(dump(config), encoding="utf-8")
    script = (
        "import sys\nfrom pathlib import Path\nfrom bothways.evaluation.comparison import CompareConfig, compare\n"
        "from bothways.config import load_config, read\nfrom bothways.errors import Stopped\n"
        "try:\n    compare(read(CompareConfig, load_config(Path(sys.argv[1]))))\n"
        "except Stopped as stopped:\n    print(stopped)\n    sys.exit(stopped.exit_code)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(file)], stdout=subprocess.PIPE, text=True)
    while not list(config.out.glob("runs/*/*/metrics.jsonl")):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate()
    assert process.returncode == 130 and "Go on with the same command" in said
    compare(config.model_copy(update={"at_once": 1}))
    whole = [lines for lines in lines_of(compared) if lines[0]["tokens"] == 0]
    assert all(lines in whole for lines in lines_of(config.out))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"budget": {"steps": 5}}, "at equal compute"),
        ({"budget": {"tokens": 1e5}}, "at equal compute"),
        ({"budget": {"seconds": 5}, "at_once": 2}, "take each other's seconds"),
        ({"objectives": ("mlm", "mlm")}, "named twice"),
        ({"objectives": ("causal", "mlmm")}, "unknown objective 'mlmm'"),
        ({"objectives": ("1/2 causal + 1/2 electra",)}, "share"),
        ({"objectives": ("tlm",)}, "needs shards with"),
        ({"size": "gigantic"}, "gigantic"),
        ({"training": {"budget": "2h"}}, "training.budget is given by the comparison: set --budget instead"),
        ({"training": {"seed": 7}}, "training.seed is given by the comparison: set --seeds instead"),
    ],
)
def test_what_cannot_be_compared_is_said_before_anything_is_trained(
    changes: dict[str, Any], said: str, configured: Configured, tmp_path: Path
) -> None:
    with pytest.raises(BothwaysError, match=said):
        compare(configured(tmp_path / "cmp", **changes))
    assert not (tmp_path / "cmp").exists()


def test_bad_evaluation_data_is_found_before_anything_is_trained(configured: Configured, tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text("{}\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"bad\.jsonl, line 1"):
        compare(configured(tmp_path / "cmp", pairs=(tmp_path / "bad.jsonl",)))
    (tmp_path / "one.jsonl").write_text('{"good": "a b", "bad": "b a"}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"one\.jsonl: expected 2 items or more, got one"):
        compare(configured(tmp_path / "cmp", pairs=(tmp_path / "one.jsonl",)))
    assert not (tmp_path / "cmp").exists()


def test_folders_have_names_of_their_own() -> None:
    expressions = ["mlm", "mlm(rate=0.3)", "mlm(rate=0.30)", "causal -> mlm", "causal + mlm", "gpt-bert"]
    names = [folder_name(expression) for expression in expressions]
    assert len(set(names)) == len(names) and names[0] == "mlm" and names[-1] == "gpt-bert"
    assert folder_name("causal  ->  mlm") == folder_name("causal -> mlm")
    assert all(np.char.isalnum(name.replace("-", "").replace(".", "")) for name in names)


def test_a_bound_and_a_body_that_reads_no_plain_text(configured: Configured, tmp_path: Path) -> None:
    """Block diffusion is asked for its bound and nothing else; one model alone is compared with nobody."""
    result = compare(configured(tmp_path / "cmp", objectives=("block-diffusion(size=4)",), seeds=1))
    (bits,) = result["metrics"]
    assert bits["name"] == "bits per byte" and bits["objectives"][0]["bound"] and bits["differences"] == []
    assert bits["objectives"][0]["mean"] > bits["baselines"]["bigram"]
