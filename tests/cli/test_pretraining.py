"""`bothways pretrain`: what it makes of its settings, a run from end to end, and how it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bothways.cli.pretraining import _configuration, _show_result
from bothways.errors import BothwaysError, ModelError, UsageError
from bothways.model import read_saved
from bothways.training.pretraining import PretrainConfig
from tests.cli.conftest import SMALL, Invoke


def configuration(*sets: str, budget: str | None = None, file: Path | None = None, **given: Any) -> PretrainConfig:
    said = {"shards": "shards", "out": "runs/x", **given}
    said = {name: value for name, value in said.items() if value is not None}
    return _configuration(said, budget=budget, file=file, settings=list(sets), resume=False)


def test_the_defaults() -> None:
    chosen = configuration()
    assert (chosen.objective, chosen.size) == ("hybrid", "tiny")
    assert chosen.training.budget.seconds == 300


@pytest.mark.parametrize("missing", ["shards", "out"])
def test_what_must_be_said(missing: str) -> None:
    with pytest.raises(UsageError, match=f"expected {missing}"):
        configuration(**{missing: None})


def test_the_last_word_wins(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("objective: mlm\nsize: mini\ntraining: {seed: 5, budget: {steps: 7}}\n")
    assert configuration(file=file).training.seed == 5
    assert configuration(file=file).training.budget.steps == 7
    said = configuration("training.seed=6", "size=base", file=file, objective="causal", budget="1e6tokens")
    assert (said.objective, said.size, said.training.seed) == ("causal", "base", 6)
    assert said.training.budget.tokens == 1e6


def test_a_run_says_where_everything_is(run: Path) -> None:
    assert (run / "report.html").is_file()
    steps = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in steps if line["kind"] == "train"] == [1, 2, 3, 4]


def test_a_larger_budget_goes_on(invoke: Invoke, pretrain: Invoke, shards: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    begun = pretrain(shards, "--out", out, "--budget", "2steps").output.splitlines()
    assert begun[0] == "loading torch" and begun[1].startswith(f"opening {shards}, ") and "n-grams" in begun[2]
    assert [line.split()[1:3] for line in begun if line.startswith("train ")] == [["step", "1/2"], ["step", "2/2"]]
    said = invoke("pretrain", "--resume", "--out", out, "--budget", "3steps", "--json")
    assert json.loads(said.stdout)["run"] == str(out)
    assert json.loads((out / "manifest.json").read_text())["steps"] == 3


OF_ANY_SIZE = [word for key, value in SMALL.items() if key != "model.layers" for word in ("--set", f"{key}={value}")]


@pytest.fixture(scope="module")
def halves(invoke: Invoke, shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder of two layers and a decoder of three, each pretrained by its own objective."""
    folder = tmp_path_factory.mktemp("halves")
    for name, objective, size in (("encoder", "mlm", "2x64"), ("decoder", "causal", "3x64")):
        asked = ("--out", folder / name, "--objective", objective, "--size", size, "--budget", "4steps")
        invoke("pretrain", shards, *asked, *OF_ANY_SIZE)
    return folder


def both(invoke: Invoke, shards: Path, halves: Path, out: Path, *more: object) -> Any:
    """The command that trains the encoder-decoder of `halves`."""
    asked = ["pretrain", shards, "--out", out, "--objective", "seq2seq", "--from", halves / "encoder"]
    return invoke(*asked, "--set", f"start_decoder={halves / 'decoder'}", *OF_ANY_SIZE, *more)


def test_an_encoder_decoder_begins_with_two_models(invoke: Invoke, shards: Path, halves: Path, tmp_path: Path) -> None:
    """By steps of no size what was begun with is saved: each side is the model that it was named after."""
    still = ("--budget", "2steps", "--set", "training.optimiser.learning_rate=1e-9")
    said = both(invoke, shards, halves, tmp_path / "still", "--size", "2-1x64", *still).output
    assert f"this one begins with {halves / 'encoder'}" in said
    found = read_saved(tmp_path / "still" / "model").model
    assert found.config.decoder is not None and (found.config.layers, found.config.decoder.layers) == (2, 1)
    weights = found.state_dict()
    for side, name in (("backbone", "encoder"), ("decoder", "decoder")):
        theirs = read_saved(halves / name / name).model.state_dict()
        own = {name.removeprefix(f"{side}."): weight for name, weight in weights.items() if name.startswith(side)}
        learned = {name for name in own if f"backbone.{name}" in theirs and "embeddings" not in name}
        assert {name.split(".")[1] for name in learned if name.startswith("blocks")} == {
            *"01"[: 1 + (side != "decoder")]
        }
        assert all(torch.allclose(own[name], theirs[f"backbone.{name}"], atol=1e-5) for name in learned)
    table = read_saved(halves / "encoder" / "encoder").model.table / 64**0.5  # T5Gemma multiplies it by that
    assert torch.allclose(found.table, table, atol=1e-5)


def test_an_encoder_decoder_of_two_models_learns_and_is_transformers_own(
    invoke: Invoke, shards: Path, halves: Path, tmp_path: Path
) -> None:
    transformers = pytest.importorskip("transformers")
    out, rate = tmp_path / "run", "training.optimiser.learning_rate=0.01"
    both(invoke, shards, halves, out, "--size", "2-1x64", "--budget", "20steps", "--set", rate)
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    losses = [line["loss"] for line in lines if line["kind"] == "validation"]
    assert losses[-1] < losses[0]
    theirs = transformers.AutoModelForSeq2SeqLM.from_pretrained(out / "model")
    assert type(theirs).__name__ == "T5GemmaForConditionalGeneration"
    assert json.loads(invoke("generate", out, "the boat", "--json").output)[0]["tokens"] is not None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--size", "3-1x64"], "the size is that of .*encoder, 2x64, and not 3-1x64: leave out size"),
        (["--size", "2-1x128"], "the size is that of .*encoder, 2x64, and not 2-1x128"),
        (["--objective", "causal", "--size", "2-1x64"], "the size is that of .*encoder, 2x64, and not 2-1x64"),
        (["--objective", "causal"], "start_decoder is for encoder-decoders, and causal trains one stack"),
    ],
)
def test_what_two_models_do_not_make(
    options: list[str], message: str, invoke: Invoke, shards: Path, halves: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        both(invoke, shards, halves, tmp_path / "run", "--budget", "1steps", *options)
    with pytest.raises(UsageError, match="start_decoder goes with --from MODEL"):
        alone = ("--objective", "seq2seq", "--size", "2-1x64", "--set", f"start_decoder={halves / 'decoder'}")
        invoke("pretrain", shards, "--out", tmp_path / "run", *alone)
    assert not (tmp_path / "run").exists()


def test_a_dry_run_leaves_nothing(pretrain: Invoke, shards: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    told = json.loads(pretrain(shards, "--out", out, "--dry-run", "--budget", "1e6tokens", "--json").stdout)
    assert told["tokens"] >= 1e6
    assert told["parameters"] > told["body_parameters"] > 0
    assert told["seconds"] > 0 and told["memory"] > 0
    assert not out.exists()
    assert "memory" in pretrain(shards, "--out", out, "--dry-run").stdout


def test_a_dry_run_of_two_processes_speaks_once(shards: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bothways", "pretrain", shards, "--out", tmp_path / "run", "--dry-run", "--json"]
    said = subprocess.run(
        [*map(str, command), "--processes", "2", "--budget", "2steps"], capture_output=True, text=True
    )
    assert json.loads(said.stdout)["steps"] == 2, said.stderr


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["--size", "huge"], UsageError, "Known: LAYERS-LAYERSxWIDTH, LAYERSxWIDTH, base, mini"),
        (["--objective", "mlmm"], UsageError, "Did you mean 'mlm'"),
        (["--set", "training.sede=1"], UsageError, "Did you mean 'training.seed'"),
        (["--set", "training.seed=often"], UsageError, "training.seed"),
        (["--set", "training"], UsageError, "key=value"),
        (["--set", "training=3"], UsageError, "training"),
        (["--budget", "soon"], UsageError, "300s"),
        (["--config", "nowhere.yaml"], UsageError, "nowhere.yaml"),
        (["--resume"], ModelError, "without --resume"),
    ],
)
def test_pretrain_refuses(
    arguments: list[str], error: type[BothwaysError], message: str, invoke: Invoke, shards: Path, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        invoke("pretrain", shards, "--out", tmp_path / "run", *arguments)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("line", "code"),
    [("pretrain nowhere --out x --processes 2", 3), ("pretrain --resume --out x", 5)],
)
def test_exit_codes_and_no_traceback(line: str, code: int, tmp_path: Path) -> None:
    said = subprocess.run(
        [sys.executable, "-m", "bothways", *line.split()], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert said.returncode == code, said.stderr
    assert said.stderr.startswith("bothways: ") and "Traceback" not in said.stderr


KEYS = st.sampled_from(
    ["objective", "size", "model", "model.layers", "training", "training.budget", "training.budget.steps"]
    + [f"training.{name}" for name in PretrainConfig.model_fields["training"].annotation.model_fields]  # type: ignore[union-attr]
    + ["training.optimiser.name", "training.optimiser.betas", "training.schedule.decay", "training.sede", "tranning.x"]
) | st.from_regex(r"[a-z._]{0,20}", fullmatch=True)
VALUES = st.text(max_size=12) | st.sampled_from(
    [
        "-1",
        "0",
        "1e400",
        ".nan",
        "null",
        "[]",
        "{}",
        "{a: 1}",
        "true",
        "1e999999",
        "'",
        "!!python/object:os.system",
        "&a [*a]",
    ]
)


@settings(max_examples=1000)
@given(st.lists(st.tuples(KEYS, VALUES), min_size=1, max_size=3))
def test_a_thousand_wrong_configurations(changes: list[tuple[str, str]]) -> None:
    """Each is a configuration or a UsageError that names the key; nothing else comes out."""
    try:
        configuration(*(f"{key}={value}" for key, value in changes))
    except UsageError as error:
        assert str(error)


@pytest.mark.parametrize(("hidden", "way"), [("in place", "fill"), (None, "embed")])
def test_what_is_proposed_is_what_the_encoder_can_do(hidden: str | None, way: str, tmp_path: Path, capsys) -> None:
    (tmp_path / "encoder").mkdir()
    (tmp_path / "encoder" / "bothways.json").write_text(json.dumps({"hidden": hidden}))
    _show_result(tmp_path, json=False)
    assert f"try     bothways {way} " in capsys.readouterr().out
