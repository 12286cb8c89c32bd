"""The model card: front matter that the hub reads, names as they are, and what the model is loaded with."""

from __future__ import annotations

from typing import Any

import pytest
from huggingface_hub import ModelCard

from bothways.model import Answers, Card, ModelConfig, Trained, preset
from bothways.model.huggingface.card import finetuned_card, saved_card

NAME = "a'b [red] [/b] <b> {{ name }}"


@pytest.fixture
def config() -> ModelConfig:
    return preset("2x64", vocabulary=512, length=128)


def front(text: str) -> dict[str, Any]:
    assert f"\n# {NAME}\n" in text and "\n\n\n" not in text and text.endswith("\n")
    found: dict[str, Any] = ModelCard(text).data.to_dict()
    assert found["library_name"] == "transformers" and found["tags"][0] == "bothways"
    return found


def test_a_pretrained_model(config: ModelConfig) -> None:
    figures = {"bits per byte": {"this model": 1.23456, "unigram": None}}
    trained = Trained("1/2 causal + 1/2 mlm", ("encoder", "decoder"), "in place")
    card = Card(NAME, trained, config, 1_500_000, "about it", {"documents": "5"}, figures, f"bothways pretrain {NAME}")
    encoder, decoder = card("encoder"), card("decoder")
    assert front(encoder)["pipeline_tag"] == "fill-mask" and front(decoder)["pipeline_tag"] == "text-generation"
    assert "1.5 million parameters" in encoder and "are its decoder, in the folder beside this one." in encoder
    assert "| on held-out text | this model | unigram |\n|---|---|---|\n| bits per byte | 1.235 |  |" in encoder
    assert f"- documents: 5\n\nMade by `bothways pretrain {NAME}`." in encoder


@pytest.mark.parametrize(
    ("task", "head", "pipeline", "use"),
    [
        ("classify", "label", "text-classification", 'pipeline("text-classification"'),
        ("answer", "span", "question-answering", "AutoModelForQuestionAnswering"),
        ("relate", "markers", "text-classification", "model.relate("),
        ("embed", "vector", "sentence-similarity", "SentenceTransformer"),
    ],
)
def test_a_fine_tuned_model(config: ModelConfig, task: str, head: str, pipeline: str, use: str) -> None:
    answers = Answers(task, head, ("<b>", "good"), "one", "encoder")
    text = finetuned_card(NAME, config, answers, model=f"runs/{NAME}", dev={"accuracy": 0.5})
    assert front(text)["pipeline_tag"] == pipeline and front(text)["tags"] == ["bothways", task]
    assert f"runs/{NAME}, fine-tuned with Bothways to {task}. It predicts: <b>, good." in text
    assert "| on the dev examples |  |\n|---|---|\n| accuracy | 0.5000 |" in text and use in text


def test_a_model_that_was_written_back(config: ModelConfig) -> None:
    text = saved_card(NAME, config, "encoder", parameters=1_500_000)
    assert "pipeline_tag" not in front(text) and "1.5 million parameters, written by Bothways (" in text
