"""The commands that use a model: fill, infill, generate, score, embed; and what each says when it cannot."""

from __future__ import annotations

import json
import shutil
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from bothways import load
from bothways.cli.model import generate
from bothways.errors import BothwaysError, ModelError, UsageError
from bothways.inference.decoding.options import GenerationOptions, Options
from tests.cli.conftest import Invoke


@pytest.fixture(scope="module")
def one_way(pretrain: Invoke, shards: Path) -> Path:
    """A run that only reads from left to right."""
    out = shards.parent / "one-way"
    assert pretrain(shards, "--out", out, "--objective", "causal", "--budget", "1steps").exit_code == 0
    return out


def test_fill(invoke: Invoke, run: Path) -> None:
    told = json.loads(invoke("fill", run, "the [MASK] boat went [MASK]", "[MASK]", "--top-k", 3, "--json").stdout)
    assert [len(record["masks"]) for record in told] == [2, 1]
    assert [guess["probability"] for guess in told[1]["masks"][0]] == sorted(
        (guess["probability"] for guess in told[1]["masks"][0]), reverse=True
    )
    shown = invoke("fill", run, "the [MASK] boat", "--top-k", 3).stdout
    assert shown.count("%") == 3


def test_extend(invoke: Invoke, run: Path) -> None:
    said = invoke("generate", run, "the river", "--max-new-tokens", 5, "--seed", 1)
    assert said.stdout.startswith("the river")
    told = json.loads(invoke("generate", run, "the river", "--max-new-tokens", 5, "--seed", 1, "--json").stdout)
    assert told[0].keys() == {"prompt", "text", "tokens", "logprob", "finish_reason", "full_text", "others"}
    assert told[0]["full_text"] == "the river" + told[0]["text"] == said.stdout.removesuffix("\n")


def test_extend_with_beams(invoke: Invoke, run: Path) -> None:
    options = [
        "--num-beams",
        3,
        "--set",
        "length_penalty=1.0",
        "--set",
        "no_repeat_ngram_size=2",
        "--max-new-tokens",
        6,
    ]
    said = invoke("generate", run, "the river", *options).stdout.removesuffix("\n")
    options = GenerationOptions(num_beams=3, length_penalty=1.0, no_repeat_ngram_size=2, max_new_tokens=6)
    assert said == load(run).generate("the river", options).full_text


def test_infill(invoke: Invoke, run: Path) -> None:
    texts = ["the [GAP] went down", "the [MASK] boat"]
    told = json.loads(invoke("infill", run, *texts, "--longest", 3, "--steps", 2, "--json").stdout)
    assert [record["text"] for record in told] == texts
    assert [record["written"] for record in told] == load(run).infill(texts, longest=3, steps=2)
    said = invoke("infill", run, texts[0], "--length", 2, "--temperature", 1, "--seed", 3, "--order", "random").stdout
    assert said == load(run).infill(texts[0], length=2, temperature=1.0, seed=3, order="random") + "\n"


def test_a_model_that_writes_by_unmasking(invoke: Invoke, pretrain: Invoke, shards: Path) -> None:
    out = shards.parent / "masked"
    assert pretrain(shards, "--out", out, "--objective", "mlm", "--budget", "1steps").exit_code == 0
    said = invoke("generate", out, "the river", "--set", "steps=2", "--max-new-tokens", 6, "--seed", 1).stdout
    assert said == load(out).generate("the river", steps=2, max_new_tokens=6, seed=1).full_text + "\n"


def test_score(invoke: Invoke, run: Path) -> None:
    texts = ["the boat went down", "grain"]
    for how in (["--how", "causal"], ["--how", "pseudo"], ["--how", "pseudo", "--within-word"]):
        told = json.loads(invoke("score", run, *texts, *how, "--json").stdout)
        assert [record["text"] for record in told] == texts
        assert told[0]["nats"] < told[1]["nats"] < 0
    assert "grain" in invoke("score", run, *texts).stdout


def test_embed(invoke: Invoke, run: Path) -> None:
    told = json.loads(invoke("embed", run, "the boat", "grain", "--json").stdout)
    assert np.array([record["vector"] for record in told]) == pytest.approx(load(run).embed(["the boat", "grain"]))
    assert " 1.000" in invoke("embed", run, "the boat", "grain").stdout


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["fill", "nothing hidden"], UsageError, "Write"),
        (["fill", "boat " * 1000 + "[MASK]"], UsageError, "tokens"),
        (["generate", "a", "--top-p", "0"], UsageError, "top_p"),
        (["generate", "a", "--num-beams", "2", "--temperature", "0.5"], UsageError, "sample nothing"),
        (["generate", "a", "--set", "steps=2"], ModelError, "in a number of steps"),
        (["infill", "nothing missing"], UsageError, "GAP"),
        (["score", "a", "--within-word"], UsageError, "within_word"),
    ],
)
def test_wrong_questions(
    arguments: list[str], error: type[BothwaysError], message: str, invoke: Invoke, run: Path
) -> None:
    command, *rest = arguments
    with pytest.raises(error, match=message):
        invoke(command, run, *rest)


@pytest.mark.parametrize("question", [["fill", "a [MASK]"], ["infill", "a [GAP]"], ["score", "a", "--how", "pseudo"]])
def test_a_way_of_reading_that_was_not_trained(question: list[str], invoke: Invoke, one_way: Path) -> None:
    command, *rest = question
    with pytest.raises(ModelError, match=r"causal|left to right|decoder"):
        invoke(command, one_way, *rest)


@pytest.mark.parametrize("command", ["fill", "infill", "generate", "score", "embed"])
def test_no_model(command: str, invoke: Invoke, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds no model"):
        invoke(command, tmp_path, "a [MASK]")


def test_extend_has_the_options_of_python() -> None:
    record, flags, _ = generate.record  # type: ignore[attr-defined]
    assert record == f"{GenerationOptions.__module__}:{GenerationOptions.__name__}"
    assert {*Options.__annotations__} == {one.name for one in fields(GenerationOptions)} > {*flags}


def test_a_setting_of_generate_that_there_is_not(invoke: Invoke, run: Path) -> None:
    with pytest.raises(UsageError, match="Did you mean 'num_beams'"):
        invoke("generate", run, "the", "--set", "num_beam=2")
    with pytest.raises(UsageError, match="eos_token_id: expected a whole number"):
        invoke("generate", run, "the", "--set", "eos_token_id=x")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", "bothways.json", "SHA256SUMS"])
@pytest.mark.parametrize("asked", [("fill", "the [MASK]"), ("embed", "the boat")], ids=lambda asked: asked[0])
def test_a_flipped_bit_in_a_saved_model(
    asked: tuple[str, str], name: str, invoke: Invoke, run: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(run, tmp_path / "run")
    content = bytearray((folder / "encoder" / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "encoder" / name).write_bytes(content)
    with pytest.raises(ModelError, match=name.replace(".", r"\.")) as found:
        invoke(asked[0], folder, asked[1])
    assert found.value.exit_code == 5


def test_all_texts_that_are_asked_for_are_shown(invoke: Invoke, run: Path) -> None:
    said = invoke("generate", run, "the", "--seed", "1", "--set", "num_return_sequences=3", "--max-new-tokens", "4")
    assert said.stdout.count("the") >= 3 and len(said.stdout.strip().split("\n\n")) == 3
