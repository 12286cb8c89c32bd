"""A budget in words: no more is read than was asked for, every model is scored once, and errors come first."""

from __future__ import annotations

import json
import os
import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import bothways
from bothways.cli import app
from bothways.config import dump, read
from bothways.corpus import Shards
from bothways.errors import BothwaysError, DataError, Stopped, UsageError
from bothways.evaluation.babylm import BabyLMConfig, babylm, curve, scores
from bothways.evaluation.babylm.config import tokens_of_a_pass
from bothways.evaluation.babylm.page import compared, render
from bothways.evaluation.babylm.published import PUBLISHED, differs
from bothways.evaluation.babylm.scores import judged
from bothways.evaluation.babylm.table import tables
from bothways.evaluation.comparison.eval_data import Pairs
from bothways.evaluation.probes import PairScores
from bothways.terminal import draw
from bothways.training.pretraining import PretrainConfig, setup
from bothways.training.run_folder import RunFolder
from tests.in_this_process import in_this_process

Make = Callable[..., BabyLMConfig]
POINTS = [300 * part for part in range(1, 11)] + [6000]


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch, in_this_process():
        patch.setattr(setup, "gemm_peak", lambda *_, **__: 1e11)
        yield


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Settings that take seconds, with what is given changed."""
    folder, rng = tmp_path_factory.mktemp("budget"), random.Random(0)
    words = ["".join(rng.choices("abcdefghijklmnop", k=rng.randint(2, 8))) for _ in range(200)]
    texts = (" ".join(rng.choices(words, k=rng.randint(5, 40))) for _ in range(200))
    (folder / "text.txt").write_text("\n\n".join(texts), encoding="utf-8")
    found = [
        {"good": f"{words[i]} {words[i + 1]}", "bad": f"{words[i + 1]} {words[i]}", "paradigm": f"order {i % 2}"}
        for i in range(12)
    ]
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, found)) + "\n", encoding="utf-8")

    def config(out: Path, **changes: Any) -> BabyLMConfig:
        values: dict[str, Any] = {
            "sources": str(folder / "text.txt"),
            "pairs": folder / "pairs.jsonl",
            "out": out,
            "words": 3000,
            "passes": 2,
            "size": "1x64",
            "prepare": {"vocabulary": 512, "validation": 0.1},
            "training": {
                "length": 32,
                "step_tokens": 256,
                "micro_tokens": 128,
                "validation_rows": 4,
                "precision": "fp32",
            },
        }
        return read(BabyLMConfig, values | changes)

    return config


@pytest.fixture(scope="module")
def finished(make: Make, tmp_path_factory: pytest.TempPathFactory) -> tuple[BabyLMConfig, dict[str, Any], list[str]]:
    """Settings, what came of them, and what was said."""
    config, said = make(tmp_path_factory.mktemp("babylm") / "out"), list[str]()
    return config, babylm(config, say=said.append), said


Finished = tuple[BabyLMConfig, dict[str, Any], list[str]]


def test_every_model_has_read_no_more_than_its_words(finished: Finished) -> None:
    config, result, said = finished
    folder = RunFolder(config.out / "run")
    whole = tokens_of_a_pass(Shards.open(config.out / "shards"), folder.config(PretrainConfig))
    assert result["words"] == 3000 and [point["words"] for point in result["points"]] == POINTS
    step = 256
    for point, words in zip(result["points"], POINTS, strict=True):
        assert 0 <= words / 3000 * whole - point["tokens"] < step
    assert folder.last("train")["tokens"] <= config.passes * whole
    assert any("models will be kept" in line and "in one process" in line for line in said)


def test_the_last_figures_are_those_of_probe(finished: Finished) -> None:
    config, result, _ = finished
    found = bothways.probe(config.out / "run", pairs=config.pairs, device="cpu")
    plain = {one.probe.removeprefix("pairs, "): one.figure for one in found.scores if one.group is None}
    assert {*result["points"][-1]["scores"]["pairs"]} == {"left to right", "pseudo-log-likelihood"}
    for scoring, one in result["points"][-1]["scores"]["pairs"].items():
        assert [one["sum"], one["mean"]] == pytest.approx([plain[scoring], plain[f"{scoring}, per token"]])
        assert abs(one["official"] - one["sum"]) <= one["ties"] / one["items"]
    second = result["points"][1]
    early = bothways.probe(config.out / "run" / "kept" / f"step-{second['step']}", pairs=config.pairs, device="cpu")
    assert early.scores[0].figure == pytest.approx(second["scores"]["pairs"]["left to right"]["sum"])


def test_the_same_again_does_nothing_and_other_pairs_are_scored_without_training(
    finished: Finished, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, result, _ = finished
    said: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(scores, "load", lambda *_, **__: pytest.fail("a model was scored again"))
        assert babylm(config, say=said.append) == result
    assert said == []
    other = tmp_path / "more.csv"
    other.write_text("good,bad\nab cd,cd ab\nef,ef\n", encoding="utf-8")
    monkeypatch.setattr(curve, "estimate_run", lambda *_, **__: pytest.fail("it was trained again"))
    again = babylm(config.model_copy(update={"pairs": (*config.pairs, other)}))
    assert again["pairs"] == {"pairs": 12, "more": 2}
    assert [point["scores"]["pairs"] for point in again["points"]] == [
        point["scores"]["pairs"] for point in result["points"]
    ]


def test_a_signal_while_scoring_keeps_what_is_scored(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, result, _ = finished
    other = config.model_copy(update={"pairs_each": 5})
    real, seen = scores.judged, list[int]()

    def stopping(*given: Any) -> Any:
        seen.append(1)
        if len(seen) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(*given)

    with monkeypatch.context() as patch:
        patch.setattr(scores, "judged", stopping)
        with pytest.raises(Stopped, match="Go on with the same command") as stopped:
            babylm(other)
    assert stopped.value.exit_code == 143
    place = config.out / "scores" / scores.key_of(scores.read_pairs(config.pairs, each=5))
    assert {file.name for file in place.iterdir()} == {f"step-{one['step']}.json" for one in result["points"][:2]}
    assert babylm(other)["pairs"] == {"pairs": 10}


def test_the_page_and_the_table_say_whose_figures_these_are(
    finished: Finished, capsys: pytest.CaptureFixture[str]
) -> None:
    _, result, _ = finished
    html = render(result)
    assert (finished[0].out / "babylm.html").is_file()
    draw(*tables(result))
    for text in (html, capsys.readouterr().out):
        for part in ("BabyLM budget, own text", "What differs", "71.66", "6,000", "trigram, same text"):
            assert part in text
    rows = [*compared(result)]
    assert [row.name for row in rows].count("This model") == 2 and len(rows) == 2 + 3 + len(PUBLISHED)


def test_the_page_says_which_budget_it_was_and_how_many_pairs_were_scored(finished: Finished) -> None:
    _, result, _ = finished
    assert "Under BabyLM&#39;s cap (10M words, each read 10 times at most)" in render(result)
    assert "they read 10,000,000 words 10 times, this model 3,000 2 times" in differs(result)
    assert "they read 10,000,000" not in differs({**result, "words": 10_000_000, "passes": 10})
    more = render({**result, "words": 10**8, "pairs": {"pairs": 20}})
    assert "Not under BabyLM&#39;s cap" in more and "100,000,000 words, each read 2 times at most" in more
    assert "12 pairs of pairs; 8 with unknown tokens left out" in more


def test_the_command_goes_on_where_it_was_begun(finished: Finished, tmp_path: Path) -> None:
    config, _, _ = finished
    (tmp_path / "same.yaml").write_text(dump(config), encoding="utf-8")
    shown, told = (
        CliRunner()
        .invoke(app, ["babylm", "--config", str(tmp_path / "same.yaml"), *more], catch_exceptions=False)
        .output
        for more in ((), ("--json",))
    )
    assert "BabyLM budget, own text" in shown and f"report  {config.out / 'babylm.html'}" in shown
    assert json.loads(told) == json.loads((config.out / "babylm.json").read_text(encoding="utf-8"))


def test_ties_by_each_rule() -> None:
    """Good ahead, behind, the same to the bit, and apart by less than float32 tells, the bad one first."""
    sums = np.array([[-5.0, -9.0, -7.0, -7.00000001], [-9.0, -5.0, -7.0, -7.0]])
    lengths = np.array([[2, 3, 2, 2], [9, 3, 2, 2]])
    pairs = Pairs(["g"] * 4, ["b"] * 4, ["one", "one", "one", "two"])
    found = judged(PairScores(np.arange(4), lengths, {"left to right": sums}), pairs)["left to right"]
    assert found["paradigms"] == {"one": pytest.approx([2 / 3, 0.5, 1 / 6]), "two": [1.0, 0.5, 0.5]}
    assert found["official"] == pytest.approx((2 / 3 + 1) / 2) and found["ties"] == 2 and found["items"] == 4


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sources": []}, "expected SOURCE"),
        ({"pairs": []}, "expected --pairs"),
        ({"pairs": ["missing.jsonl"]}, "missing.jsonl"),
        ({"words": 1e6}, r"expected 1,000,000 words to train on, found \d"),
        ({"sources": ["nothing"]}, "nothing: expected a file"),
        ({"training": {"budget": "9steps"}}, "training.budget follows from words"),
        ({"training": {"length": 32, "step_tokens": 8192, "micro_tokens": 32}}, "expected one or more in each of 10"),
        ({"objective": "electra"}, "teaches no probabilities of words"),
        ({"objective": "mlmm"}, "Did you mean 'mlm'"),
        ({"passes": 0}, "passes"),
        ({"words": float("inf")}, "words"),
        ({"size": "1x32"}, "heads are 64 wide"),
    ],
)
def test_refused_before_anything_is_trained(changes: dict[str, Any], said: str, make: Make, tmp_path: Path) -> None:
    with pytest.raises(BothwaysError, match=said):
        babylm(make(tmp_path / "out", **changes))
    assert not (tmp_path / "out" / "run").exists()


def test_processes_that_cannot_share_a_step_are_refused_before_words_are_drawn(make: Make, tmp_path: Path) -> None:
    with pytest.raises(BothwaysError, match="step_tokens must be a multiple"):
        babylm(make(tmp_path / "out"), processes=3)
    assert not (tmp_path / "out").exists()


def test_damaged_pairs_and_empty_text_are_named(make: Make, tmp_path: Path) -> None:
    (tmp_path / "pairs").mkdir()
    with pytest.raises(DataError, match="expected files of pairs"):
        babylm(make(tmp_path / "out", pairs=tmp_path / "pairs"))
    (tmp_path / "pairs" / "a.jsonl").write_text('{"good": "a"}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"a\.jsonl, line 1"):
        babylm(make(tmp_path / "out", pairs=tmp_path / "pairs"))
    (tmp_path / "empty.txt").write_text("\n \n", encoding="utf-8")
    with pytest.raises(DataError, match="found 0 in 0"):
        babylm(make(tmp_path / "out", sources=tmp_path / "empty.txt"))
    assert not (tmp_path / "out").exists()


def test_other_settings_in_the_same_folder_are_refused(finished: Finished) -> None:
    config, _, _ = finished
    with pytest.raises(UsageError, match="holds a budget with words 3000"):
        babylm(config.model_copy(update={"words": 2000}))


def test_files_of_a_folder_are_paradigms(make: Make, tmp_path: Path) -> None:
    (tmp_path / "supplement").mkdir()
    for name, count in (("hypernym", 3), ("turns", 1)):
        lines = [json.dumps({"good": f"a{i}", "bad": f"b{i}"}) for i in range(count)]
        (tmp_path / "supplement" / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    found = scores.read_pairs([tmp_path / "supplement"], each=2)["supplement"]
    assert found.paradigm == ["hypernym", "hypernym", "turns"]
