"""bothways prompt and bothways pet: what they print, and what they say of bad input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bothways.cli import app, main
from tests.inference.made import CAUSAL, make_run
from tests.tasks.conftest import reviews, write

PATTERN, WORDS = "{text} It was [MASK].", "good=quick,bad=lazy"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prompting")
    make_run(folder / "body", kind="wordpiece")
    make_run(folder / "causal", CAUSAL, kind="wordpiece")
    write(folder / "train.jsonl", *reviews(2))
    write(folder / "texts.jsonl", *({"text": one["text"]} for one in reviews(4)))
    return folder


def said(*words: object) -> str:
    result = CliRunner().invoke(app, [*map(str, words)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: object) -> tuple[int, str]:
    """The exit code, and the one plain line."""
    monkeypatch.setattr("sys.argv", ["bothways", *map(str, words)])
    with pytest.raises(SystemExit) as left:
        main()
    told = capsys.readouterr()
    assert "Traceback" not in told.err
    return int(left.value.code or 0), told.err


def test_a_prompt_prints_scores_with_intervals_beside_the_majority(place: Path) -> None:
    told = said("prompt", place / "body", place / "train.jsonl", "--pattern", PATTERN, "--verbaliser", WORDS)
    assert "accuracy " in told
    assert " to " in told.split("accuracy", 1)[1].splitlines()[0]
    assert "majority" in told
    found = json.loads(
        said("prompt", place / "body", place / "train.jsonl", "--pattern", PATTERN, "--verbaliser", WORDS, "--json")
    )
    assert {"accuracy", "intervals", "majority", "examples", "records", "notes", "skipped"} <= found.keys()


def test_a_prompt_writes_predictions_and_shows_examples(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    shown = (
        "--examples",
        place / "train.jsonl",
        "--shots",
        1,
        "--how",
        "continue",
        "--set",
        "calibrate=false",
        "--out",
        out,
    )
    told = said("prompt", place / "body", place / "texts.jsonl", "--pattern", PATTERN, "--verbaliser", WORDS, *shown)
    assert "2 examples before every text" in told
    assert f"24 answers in {out}" in told
    assert len(out.read_text().splitlines()) == 24


def test_words_that_are_found_are_a_verbaliser(place: Path) -> None:
    told = said("prompt", place / "body", place / "train.jsonl", "--pattern", PATTERN, "--search-words")
    verbaliser = told.rpartition("--verbaliser ")[2].strip()
    again = said("prompt", place / "body", place / "train.jsonl", "--pattern", PATTERN, "--verbaliser", verbaliser)
    assert "accuracy" in again
    found = json.loads(
        said("prompt", place / "body", place / "train.jsonl", "--pattern", PATTERN, "--search-words", "--json")
    )
    assert verbaliser == ",".join(f"{label}={word}" for label, word in found["verbaliser"].items())
    assert found["words"]["good"][0]["odds"] > 0


def test_pet_prints_members_and_goes_on(place: Path, tmp_path: Path) -> None:
    files = ("--train", place / "train.jsonl", "--unlabelled", place / "texts.jsonl", "--test", place / "train.jsonl")
    asked = ("--pattern", PATTERN, "--pattern", "[MASK] : {text}", "--verbaliser", WORDS, "--out", tmp_path / "pet")
    quick = ("--set", "repetitions=1", "--set", "steps=2", "--set", "epochs=1")
    told = said("pet", place / "body", *files, *asked, *quick)
    for word in ("generation1-pattern2-1", "ensemble", "given", "majority", "kept"):
        assert word in told
    again = said("pet", "--resume", "--out", tmp_path / "pet", "--json")
    assert (
        json.loads(again)["ensemble"]["test"]
        == json.loads((tmp_path / "pet/pet/manifest.json").read_text())["ensemble"]["test"]
    )
    assert "accuracy" in said("evaluate", tmp_path / "pet", place / "train.jsonl")


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("--pattern", "{text} It was.", "--verbaliser", WORDS), 2, "expected one [MASK], or several side by side"),
        (("--pattern", "It was [MASK].", "--verbaliser", WORDS), 2, "expected {text}, or {text_a} and {text_b}"),
        (("--pattern", "{text.x} [MASK]", "--verbaliser", WORDS), 2, "got {text.x}"),
        (("--pattern", PATTERN, "--verbaliser", "good=quick,bad=unquick"), 2, "expected a word of one token for 'bad'"),
        (("--pattern", PATTERN, "--verbaliser", "good"), 2, "expected LABEL=WORD"),
        (("--pattern", PATTERN), 2, "expected a word for two labels or more"),
        (("--verbaliser", WORDS), 2, "expected pattern, got none"),
        (("--pattern", PATTERN, "--verbaliser", "fine=quick,bad=lazy"), 3, "train.jsonl, line 1: expected a label"),
        (("--pattern", "{there} [MASK]", "--verbaliser", WORDS), 2, "expected a column 'there' for text"),
        (("--pattern", PATTERN, "--verbaliser", WORDS, "--shots", 2), 2, "expected --examples FILE"),
    ],
)
def test_bad_input_is_one_plain_line(
    place: Path,
    words: tuple[object, ...],
    code: int,
    says: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = refused(capsys, monkeypatch, "prompt", place / "body", place / "train.jsonl", *words)
    assert given[0] == code
    assert says in given[1]


def test_pet_says_what_model_to_take(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = ("--train", place / "train.jsonl", "--unlabelled", place / "texts.jsonl", "--out", tmp_path / "pet")
    asked = ("--pattern", PATTERN, "--verbaliser", WORDS)
    code, told = refused(capsys, monkeypatch, "pet", place / "causal", *files, *asked)
    assert (code, "Pretrain one with the objective mlm or hybrid" in told) == (5, True)
    assert not (tmp_path / "pet").exists()


def test_words_are_not_given_where_they_are_searched(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("prompt", place / "body", place / "train.jsonl", "--pattern", PATTERN, "--search-words")
    code, told = refused(capsys, monkeypatch, *asked, "--verbaliser", WORDS)
    assert code == 2 and "--search-words finds the words of a verbaliser: leave --verbaliser out" in told
