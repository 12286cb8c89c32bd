"""The model card: front matter that the hub reads, code that runs, figures and limits."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard

from bothways.model import Abilities, Card, TaskHead
from bothways.model.huggingface.card import finetuned_card, saved_card
from tests.model.small import MODERN

CARD = Card(
    name="first",
    trained=Abilities("hybrid", ("encoder", "decoder"), "in place"),
    config=MODERN,
    parameters=1_234_567,
    about="the next word in causal rows, the hidden word at its place in masked rows (after GPT-BERT)",
    facts={"documents": "12,345", "steps": "1,000"},
    figures={
        "bits per byte": {"this model": 1.23456, "bigram": 2.5},
        "fill accuracy": {"this model": 0.31, "unigram": 0.05},
    },
    command="bothways pretrain shards --objective hybrid",
)


def but(trained: Abilities) -> Card:
    return Card("run", trained, MODERN, 1_000_000, "about it")


@pytest.mark.parametrize(
    ("face", "task"), [("encoder", "fill-mask"), ("decoder", "text-generation"), ("body", "feature-extraction")]
)
def test_front_matter_is_what_the_hub_expects(face: str, task: str) -> None:
    data = ModelCard(CARD(face)).data
    assert data.library_name == "transformers" and data.pipeline_tag == task
    assert "bothways" in data.tags and "objective: hybrid" in data.tags
    assert data.language is None and data.license is None  # unknown, so left out
    assert ("sentence-transformers" in data.tags) == (face == "encoder")


def test_an_objective_with_signs_that_yaml_reads_is_quoted() -> None:
    card = but(Abilities("1/2 causal + 1/2 mlm(rate=0.3->0.15): #x", ("encoder", "decoder"), "in place"))("encoder")
    front = yaml.safe_load(card.split("---")[1])
    assert front["tags"][1] == "objective: 1/2 causal + 1/2 mlm(rate=0.3->0.15): #x"


def test_figures_stand_in_a_table_with_holes() -> None:
    table = [line for line in CARD("encoder").splitlines() if line.startswith("|")]
    assert table == [
        "| on held-out text | this model | bigram | unigram |",
        "| --- | --- | --- | --- |",
        "| bits per byte | 1.235 | 2.5 |  |",
        "| fill accuracy | 0.31 |  | 0.05 |",
    ]


def test_what_it_learned_from_is_told() -> None:
    text = CARD("decoder")
    for line in ("- objective: hybrid: the next word", "- documents: 12,345", "Made by `bothways pretrain shards"):
        assert line in text
    assert "1.2 million parameters (3 layers of width 64, 97 tokens, texts of up to 64 tokens)" in text


@pytest.mark.parametrize("face", ["encoder", "decoder", "body"])
def test_the_code_is_python_and_asks_for_no_remote_code(face: str) -> None:
    text = CARD(face)
    blocks = text.split("```python\n")[1:]
    assert blocks
    for block in blocks:
        compile(block.split("```")[0], "card", "exec")
    assert "trust_remote_code=" not in text


def test_limits_name_what_was_not_taught() -> None:
    causal = but(Abilities("causal", ("decoder",), None))("decoder")
    assert (
        "not one that teaches to fill in hidden words: mlm or hybrid is" in causal and "continue a text" not in causal
    )
    mlm = but(Abilities("mlm", ("encoder",), "in place"))("encoder")
    assert "not one that teaches to continue a text: causal or hybrid is" in mlm and "hidden words" not in mlm
    assert "teaches" not in CARD("encoder")


def test_a_card_says_when_the_mask_is_answered_one_place_before() -> None:
    assert "one position before its mask" in but(Abilities("gpt-bert", ("decoder",), "before"))("decoder")


def test_a_body_says_that_its_mask_must_be_brought() -> None:
    text = but(Abilities("reversed", (), None))("body")
    assert "objective reversed gives no face" in text and "A mask of one's own" in text


NAME = "a'b [red] [/b] <b> {{ name }}"


def front(text: str) -> dict[str, Any]:
    assert f"\n# {NAME}\n" in text and "\n\n\n" not in text and text.endswith("\n")
    found: dict[str, Any] = ModelCard(text).data.to_dict()
    assert found["library_name"] == "transformers" and found["tags"][0] == "bothways"
    return found


@pytest.mark.parametrize(
    ("task", "head", "pipeline", "use"),
    [
        ("classify", "label", "text-classification", 'pipeline("text-classification"'),
        ("answer", "span", "question-answering", "AutoModelForQuestionAnswering"),
        ("relate", "markers", "text-classification", "model.relate("),
        ("embed", "vector", "sentence-similarity", "SentenceTransformer"),
    ],
)
def test_a_fine_tuned_model(task: str, head: str, pipeline: str, use: str) -> None:
    answers = TaskHead(task, head, ("<b>", "good"), "one", "encoder")
    text = finetuned_card(NAME, MODERN, answers, model=f"runs/{NAME}", dev={"accuracy": 0.5})
    assert front(text)["pipeline_tag"] == pipeline and front(text)["tags"] == ["bothways", task]
    assert f"runs/{NAME}, fine-tuned with Bothways to {task}. It predicts: <b>, good." in text
    assert "| on the dev examples |  |\n| --- | --- |\n| accuracy | 0.5000 |" in text and use in text


def test_a_model_that_was_written_back() -> None:
    text = saved_card(NAME, MODERN, "encoder", trained=Abilities("mlm", ("encoder",), "in place"), parameters=1_500_000)
    assert "pipeline_tag" not in front(text) and "1.5 million parameters, written by Bothways (" in text
