"""The benchmarks: they import, read their options, and count what they say they count."""

from __future__ import annotations

import argparse
import importlib
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bothways.model import preset
from tests.inference.made import BLOCKS, CAUSAL, DIFFUSION, ENGLISH, make_run, tokenizer
from tests.inference.made import load as load_run
from tests.training.pretraining.small import make_shards

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """benchmarks/pretraining.py, as running it would find its neighbours."""
    return load(monkeypatch, "pretraining")


def load(monkeypatch: pytest.MonkeyPatch, name: str) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    for other in ("common", name):
        monkeypatch.delitem(sys.modules, other, raising=False)
    return importlib.import_module(name)


def test_the_table_is_the_default(benchmark: ModuleType, tmp_path: Path) -> None:
    given = benchmark.parse(["--work", str(tmp_path / "work")])
    assert given.rows == ["8k-128", "8k-512", "30k-128", "documents", "documents-grouped"]
    assert (given.pairs, given.clock, given.peer_huge_pages, given.peer_dropout) == (3, "wall", False, None)
    assert given.work.is_dir()


@pytest.mark.parametrize("wrong", [["--rows", "9k"], ["--pairs", "0"], ["--warmup", "0"], ["--clock", "moon"]])
def test_wrong_options_are_refused(
    benchmark: ModuleType, wrong: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        benchmark.parse([*wrong, "--work", str(tmp_path)])
    assert wrong[0] in capsys.readouterr().err


@pytest.mark.parametrize("rows", ["8k-128", "documents-grouped"])
def test_a_plain_processor_is_not_timed_in_bf16(
    benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch, rows: str
) -> None:
    """Its peer runs in fp32 alone, and has a target of its own."""
    case = benchmark.CASES[rows]
    monkeypatch.setenv("BOTHWAYS_BF16", "off")
    assert case.asked() == {"fp32": case.plain}
    assert sys.modules["common"].precisions() == ["fp32"]


def test_scaling_needs_two_cores(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scaling = load(monkeypatch, "scaling")
    assert scaling.parse(["--work", str(tmp_path), "--cores", "0", "1"]).pairs == 5
    with pytest.raises(SystemExit, match="2"):
        scaling.parse(["--work", str(tmp_path), "--cores", "1", "1"])
    assert "two different cores" in capsys.readouterr().err


def test_the_speed_of_a_trainer_leaves_out_its_first_steps_and_its_last(
    benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("transformers")
    common, told = sys.modules["common"], iter([1.0, 100.0, 102.0, 104.0, 106.0, 900.0])
    monkeypatch.setattr(common, "time", SimpleNamespace(perf_counter=lambda: next(told)))

    class SixSteps:
        def add_callback(self, clock: Any) -> None:
            self.clock = clock

        def train(self) -> None:
            for _ in range(6):
                self.clock.on_step_end(None, None, None)

    assert common.trainer_speed(SixSteps(), batch=32, warm=2) == 32 * 3 / (106.0 - 100.0)


def test_speed_is_a_median_of_equal_laps_and_a_mean_of_unequal_ones(benchmark: ModuleType) -> None:
    lap = benchmark.Lap
    assert benchmark.speed([lap(10, 1, 2), lap(10, 2, 2), lap(10, 100, 5)], "wall") == 5
    assert benchmark.speed([lap(10, 1, 2), lap(10, 2, 2), lap(10, 100, 5)], "cpu") == 5
    assert benchmark.speed([lap(10, 1, 1), lap(30, 9, 1)], "wall") == 4


def test_docstrings_are_documents(benchmark: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text('"""One."""\ndef two():\n    """Two."""\ndef none(): ...\n')
    assert [text for text in benchmark._docstrings(file) if text] == ["One.", "Two."]


def test_the_peer_is_given_the_same_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = load(monkeypatch, "peers.rows")
    vocabulary = rows.Vocabulary(size=10, pad=0, unk=1, cls=2, sep=3, mask=4)
    tokens = np.array([2, 5, 6, 7, 3, 2, 8, 3, 2, 9, 9, 9, 9, 9, 3])
    full = rows.full_rows(tokens, vocabulary, 4)
    assert [row["input_ids"] for row in full] == [[2, 5, 6, 7], [3, 2, 8, 3], [2, 9, 9, 9]]
    assert [row["special_tokens_mask"] for row in full] == [[1, 0, 0, 0], [1, 1, 0, 1], [1, 0, 0, 0]]
    cut = rows.documents(tokens, vocabulary, 5)
    assert [row.tolist() for row in cut] == [[2, 8, 3], [2, 5, 6, 7, 3], [2, 9, 9, 9, 3]]
    chosen = rows.spread(cut, 6, np.random.default_rng(0))
    assert sorted(len(row) for row in chosen) == [3, 3, 5, 5, 5, 5]


def test_the_dial_of_unmasking_is_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line for every number of steps, one for the judge and one for the real text; blocks fill in nothing."""
    unmasking = load(monkeypatch, "unmasking")
    assert unmasking.parse(["--work", str(tmp_path)]).steps == [1, 2, 4, 8, 16, 32]
    judge = load_run(make_run(tmp_path / "judge", CAUSAL))
    texts = [np.array(tokenizer().encode(text)[:12]) for text in ENGLISH]
    given = argparse.Namespace(steps=[1, 6], length=6, rounds=2)
    for trained, columns in ((DIFFUSION, 5), (BLOCKS, 4)):
        model = load_run(make_run(tmp_path / trained.objective, trained))
        unmasking.measure(model, judge, texts, given)
        lines = capsys.readouterr().out.splitlines()[1:]
        assert [line[2:16].strip() for line in lines] == ["1 steps", "6 steps", "left to right", "the real text"]
        assert len(lines[0][16:].split()) == columns


def test_what_was_written_is_judged_by_its_bytes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    unmasking = load(monkeypatch, "unmasking")
    judge = load_run(make_run(tmp_path / "judge", CAUSAL))
    one = unmasking.Continued(["Once upon"], ["Once upon a time, 今天"])
    nats = judge.score("Once upon") - judge.score("Once upon a time, 今天")
    assert one.bits_per_byte(judge) == pytest.approx(nats / np.log(2) / len(" a time, 今天".encode()))
    assert unmasking.Continued(["a"], ["a the the the"]).different(judge) < 0.7


def test_pairs_are_scored_alike_on_all_sides(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("transformers")
    looking_inside = load(monkeypatch, "looking_inside")
    folder = make_run(tmp_path / "run", CAUSAL) / "decoder"
    pairs = [(text, f"{text[:30]} {text[20:]}") for text in ENGLISH]
    assert looking_inside.pairs_side_by_side(argparse.Namespace(rounds=2), folder, pairs)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["ours", "one", "batch"] and "1.00 times" in lines[0]


def test_word_vectors_are_compared_with_people(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cbow = load(monkeypatch, "cbow")
    from bothways.word_vectors import WordVectors

    pytest.importorskip("scipy")
    (tmp_path / "pairs.tsv").write_text("A\tb\t9\na\tc\t5\na\td\t1\na\tunknown\t3\n", encoding="utf-8")
    vectors = WordVectors(["a", "b", "c", "d"], np.array([[1, 0], [1, 0.1], [1, 1], [0, 1]], dtype=np.float32))
    assert cbow.correlation(vectors, tmp_path / "pairs.tsv") == (pytest.approx(1), 3)
    with pytest.raises(SystemExit, match="2"):
        cbow.parse(["--rounds", "0"])
    assert "expected 1 or more" in capsys.readouterr().err


def test_what_is_for_a_gpu_runs_on_a_cpu(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """With two layers and few steps: every part, and losses that are the CPU's."""
    shards = make_shards(tmp_path, documents=300)
    load(monkeypatch, "gpu").main(["--tiny", "--work", str(tmp_path / "work"), "--shards", str(shards)])
    shown = capfd.readouterr().out
    apart = re.search(r"losses    10 steps of 2x64: at most (\S+) of the loss apart", shown)
    assert apart and float(apart[1]) <= 1e-3
    assert [
        word for word in ("pretrain  2x64", "pretrain  2x128", "finetune", "generate  16") if word not in shown
    ] == []


def test_a_deep_encoder_has_as_many_weights_as_an_even_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    writing = load(monkeypatch, "writing")
    even, deep = (preset(size, vocabulary=64, shape="classic") for size in ("6-6x256", "12-1x256"))
    assert deep.body_parameters < 0.96 * even.body_parameters
    made = writing.as_many(deep, even)
    assert made.body_parameters == pytest.approx(even.body_parameters, rel=0.005)
