"""`bothways judge`: what it prints, its page, its JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import bothways
from tests.cli.conftest import Invoke
from tests.evaluation.test_judging import file
from tests.inference.test_conversation import talking


def test_the_command_and_its_page(invoke: Invoke, tmp_path: Path) -> None:
    chat = talking(tmp_path / "mine", length=512)
    path = file(
        tmp_path / "p.jsonl",
        {"prompt": "the <b>fox</b>", "reference": "dog", "rules": {"max_words": 500}},
        {"prompt": "once", "rules": {"contains": "zebra"}},
    )
    other = talking(tmp_path / "other", length=512)
    words = ("judge", chat, other, "--prompts", path, "--judge", chat, "--max-new-tokens", 4)
    shown = invoke(*words, "--out", tmp_path / "page.html").stdout
    name = "mine"
    assert (
        f"{name} against other, by rules: wins 0.500" in shown and "was asked nothing: no two answers differ" in shown
    )
    page = (tmp_path / "page.html").read_text()
    assert "&lt;b&gt;fox" in page and "<b>fox" not in page and "Answers side by side" in page
    told = json.loads(invoke(*words, "--json").stdout, parse_constant=pytest.fail)  # NaN is no JSON
    assert told["version"] == 1 and {one["model"] for one in told["scores"]} == {name, "other"}
    assert told["answers"][1]["answers"]["other"]["rules"] == {"contains": False}
    frame = bothways.judge([chat], prompts=path).to_pandas()
    assert "obeyed" in set(frame.metric)
