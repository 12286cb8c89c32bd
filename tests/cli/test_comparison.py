"""The command that compares: what it passes on, what it prints, what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bothways.cli.comparison import CompareDisplay
from bothways.errors import UsageError
from tests.cli.conftest import SMALL, Invoke

SETS = [word for key, value in SMALL.items() for word in ("--set", f"{key}={value}")]


def test_a_comparison_of_two_and_the_same_command_again(invoke: Invoke, shards: Path, tmp_path: Path) -> None:
    asked = [
        "compare",
        shards,
        "--objectives",
        "causal; mlm",
        "--budget",
        "4e8flops",
        "--seeds",
        1,
        "--set",
        "search.factors=[1]",
    ]
    asked += ["--set", "at_once=2", "--out", tmp_path / "cmp", *SETS]
    first = invoke(*asked)
    assert first.exit_code == 0 and "bits/byte" in first.output and "comparison.html" in first.output
    told: dict[str, Any] = json.loads(invoke(*asked, "--json").output)
    assert [entry["objective"] for entry in told["objectives"]] == ["causal", "mlm"]
    assert told == json.loads((tmp_path / "cmp" / "comparison.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--objectives", " ; "], "--objectives expects expressions"),
        (["--objectives", "mlm", "--set", "search.factors=[1, 1]"], "expected different factors"),
        (["--objectives", "mlm", "--set", "search.factors=[-1]"], "expected different factors"),
        (["--objectives", "mlm", "--probe", "train.jsonl"], "--probe expects TRAIN"),
        (["--objectives", "mlm", "--task", "train.jsonl,test.jsonl"], "--task expects TASK:TRAIN"),
        (["--objectives", "mlm", "--task", "tag:a/x,a/y", "--task", "tag:a/z,a/y"], "two tasks are called 'a'"),
        (["--objectives", "mlm", "--probe", "a/x,a/y", "--probe", "a/z,a/y"], "two probes are called 'a'"),
        (["--objectives", "mlm", "--budget", "9steps"], "at equal compute"),
        (["--objectives", "mlm", "--set", "serach.share=1"], "Did you mean 'search'"),
    ],
)
def test_what_cannot_be_read(options: list[str], said: str, invoke: Invoke, shards: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said):
        invoke("compare", shards, *options, "--out", tmp_path / "cmp")
    assert not (tmp_path / "cmp").exists()


def test_what_goes_on_is_said_now_and_then(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of four runs and a trial: one was done before, one has ended, one is resumed, one begins."""
    now = [0.0]
    monkeypatch.setattr("bothways.cli.comparison.time.monotonic", lambda: now[0])
    display = CompareDisplay(quiet=False)
    for run in ("before", "mlm, seed 0", "causal, seed 0", "mlm, seed 1"):
        display.plan(run, 1.0)
    display.plan("mlm, rate x 1", 0.5)
    now[0] = 50.0
    display.show("before", 1.0)
    display.show("causal, seed 0", 0.5)  # resumed: half of it took no time now
    now[0] = 100.0
    display.show("causal, seed 0", 0.5)
    display.show("mlm, seed 0", 0.0)
    now[0] = 190.0
    display.show("causal, seed 0", 1.0)  # half a run in 140 seconds; one and a half in front, and the trial
    display.say("causal, seed 0: done")
    now[0] = 330.0
    display.show("mlm, seed 0", 0.25)
    assert capsys.readouterr().out.splitlines() == [
        "0:01:40  running: causal, seed 0 50%; time to go not known yet",
        "0:03:10  running: mlm, seed 0 0%; about 0:11:40 of training to go",
        "0:03:10  causal, seed 0: done",
        "0:05:30  running: mlm, seed 0 25%; about 0:14:00 of training to go",
    ]
    search = CompareDisplay(quiet=False)  # plans nothing: what it will train is not known
    now[0] = 430.0
    search.show("rate x 2", 0.5)
    assert capsys.readouterr().out == "0:01:40  running: rate x 2 50%\n"
    CompareDisplay(quiet=True).say("nothing")
    assert capsys.readouterr().out == ""
