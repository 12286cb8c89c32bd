"""probe, contextuality, probe-layers, attention: from files to figures and pages, and what each refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bothways.errors import DataError, ModelError
from tests.cli.conftest import Invoke
from tests.inference.made import CAUSAL, HYBRID, make_run

TEXTS = [f"the quick fox number {n} jumps over the lazy dog" for n in range(8)]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("inside")
    return make_run(folder / "both", HYBRID), make_run(folder / "one-way", CAUSAL, seed=1)


def lines(place: Path, *records: object) -> Path:
    place.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return place


def test_probe(invoke: Invoke, runs: tuple[Path, Path], tmp_path: Path) -> None:
    pairs = lines(tmp_path / "pairs.jsonl", *({"good": text, "bad": text[::-1]} for text in TEXTS))
    page = tmp_path / "made" / "probe.html"
    said = invoke("probe", *runs, "--pairs", pairs, "--out", page).stdout
    assert "pairs, pseudo-log-likelihood" in said and "differences are more than chance" in said
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    told = json.loads(invoke("probe", *runs, "--pairs", pairs, "--json").stdout)
    assert {one["model"] for one in told["scores"]} == {"both", "one-way"}
    assert {one["file"] for one in told["differences"]} == {str(pairs)}
    with pytest.raises(DataError, match="expected the field 'good'"):
        invoke("probe", runs[0], "--pairs", lines(tmp_path / "bad.jsonl", {"text": "x"}))


def test_contextuality(invoke: Invoke, runs: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    page = tmp_path / "page.html"
    said = invoke("contextuality", *runs, "--texts", tmp_path / "texts.txt", "--out", page).stdout
    assert "both, left to right, read from left to right" in said and "most contextual" in said and page.exists()
    told = json.loads(invoke("contextuality", runs[1], "--texts", tmp_path / "texts.txt", "--json").stdout)
    assert told[0]["layers"][0]["self_similarity"] == pytest.approx(1, abs=1e-5) and told[0]["unknown"] == 0
    reviews = lines(tmp_path / "reviews.jsonl", *({"评论": text} for text in TEXTS))  # as --file of other commands
    assert json.loads(invoke("contextuality", runs[1], "--texts", reviews, "--json").stdout) == told
    with pytest.raises(DataError, match=r"x.md: expected a file to read"):
        invoke("contextuality", runs[0], "--texts", tmp_path / "x.md")


def test_attention(invoke: Invoke, runs: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    page = tmp_path / "new" / "page.html"
    invoke("attention", runs[0], TEXTS[0], "--texts", tmp_path / "texts.txt", "--out", page)
    assert page.read_text(encoding="utf-8").count("<svg") >= 4  # two layers of two heads


def test_probe_layers(invoke: Invoke, runs: tuple[Path, Path], tmp_path: Path) -> None:
    rows = [{"text": text, "label": str(n % 2)} for n, text in enumerate(TEXTS)]
    data, page = lines(tmp_path / "a.jsonl", *rows), tmp_path / "page.html"
    said = invoke("probe-layers", runs[0], "--task", "classify", "--train", data, "--test", data, "--out", page).stdout
    assert "selectivity" in said and page.exists()


def test_what_cannot_be_asked_loses_nothing_else(invoke: Invoke, runs: tuple[Path, Path], tmp_path: Path) -> None:
    pairs = lines(tmp_path / "pairs.jsonl", *({"good": text, "bad": text[::-1]} for text in TEXTS))
    bad = lines(tmp_path / "bad.jsonl", {"text": "x"})
    models = [runs[0], tmp_path / "no-model", runs[1]]
    asked = ["probe", *models, "--pairs", bad, "--pairs", pairs, "--out", tmp_path / "page.html"]
    said = invoke(*asked)
    assert said.exit_code == 5  # that of the first: the model
    assert all(f"{name:20} pairs, left to right " in said.stdout for name in ("both", "one-way"))
    told = said.stderr.splitlines()
    assert told[0].startswith("bothways: no-model: ") and "holds no model" in told[0]
    assert [line.partition(": ")[2] for line in told[1:]] == [
        f"both: {bad}, line 1: expected the field 'good', got only text",
        f"one-way: {bad}, line 1: expected the field 'good', got only text",
    ]
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count("Not measured: ") == 3
    found = json.loads(invoke("probe", runs[0], "--pairs", bad, "--pairs", pairs, "--json").stdout)
    assert [(one["model"], one["file"]) for one in found["failed"]] == [("both", str(bad))]
    assert found["unsupported"] == [] and {one["file"] for one in found["scores"]} == {str(pairs)}


def test_one_model_of_several_that_fails_is_named_and_the_others_are_reported(
    invoke: Invoke, runs: tuple[Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    data = lines(tmp_path / "a.jsonl", *({"text": text, "label": str(n % 2)} for n, text in enumerate(TEXTS)))
    options = {
        "contextuality": ["--texts", tmp_path / "texts.txt"],
        "probe-layers": ["--task", "classify", "--train", data, "--test", data],
    }
    for command, more in options.items():
        said = invoke(command, tmp_path / "no-model", runs[0], *more)
        assert said.exit_code == 5 and "both" in said.stdout and said.stderr.startswith("bothways: no-model: ")
        told = invoke(command, tmp_path / "no-model", runs[0], *more, "--json")
        assert told.exit_code == 5 and len(json.loads(told.stdout)) >= 1
        with pytest.raises(ModelError, match="holds no model"):
            invoke(command, tmp_path / "no-model", *more)
