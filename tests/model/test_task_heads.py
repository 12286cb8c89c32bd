"""Fine-tuned heads: transformers' classes say the same, and a body comes under one from any folder."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from bothways.batch import Vocabulary
from bothways.errors import ModelError
from bothways.model import Abilities, Model, ModelConfig, TaskHead, read_body, read_saved, save_faces
from bothways.model.abilities import VERSION
from bothways.model.heads import text
from bothways.visibility import ordered
from tests.model.huggingface.test_published_kinds import published
from tests.model.small import CLASSIC, MODERN, PROJECTED, UNPROJECTED, changed, logits_at, packed, random_tokens

transformers = pytest.importorskip("transformers")

ROBERTA = changed(CLASSIC, segments=1, norm={"epsilon": 1e-5})
QWEN3 = changed(MODERN, attention={"head_norm": True, "head_size": 16, "key_heads": 1})
MODERNBERT = changed(
    MODERN,
    norm={"kind": "layer", "embeddings": True},
    feed_forward={"activation": "gelu"},
    attention={"window": 4, "global_every": 2},
    positions={"local_base": 100.0},
)
GELU_TANH = {"activation": "gelu_tanh"}
SHAPES: dict[str, tuple[ModelConfig, str]] = {
    "eurobert": (MODERN, "encoder"),
    "llama": (MODERN, "decoder"),
    "qwen3": (QWEN3, "decoder"),
    "bert": (CLASSIC, "encoder"),
    "roberta": (ROBERTA, "encoder"),
    "electra": (PROJECTED, "encoder"),
    "electra, unprojected": (UNPROJECTED, "encoder"),
    "distilbert": (CLASSIC.model_copy(update={"segments": 0}), "encoder"),
    "mistral": (changed(MODERN, attention={"window": 4, "global_every": 0}), "decoder"),
    "qwen2": (changed(MODERN, attention={"bias": "qkv"}), "decoder"),
    "modernbert": (MODERNBERT, "encoder"),
    "modernbert-decoder": (MODERNBERT, "decoder"),
    "gpt2": (
        changed(CLASSIC, segments=0, norm={"place": "before", "embeddings": False}, feed_forward=GELU_TANH),
        "decoder",
    ),
}
VOCABULARY = Vocabulary(size=97, pad=1, unk=3, cls=0, sep=2, mask=4)
CLASSES = {
    "label": "AutoModelForSequenceClassification",
    "tags": "AutoModelForTokenClassification",
    "span": "AutoModelForQuestionAnswering",
}


def answers(head: Any, reads: Any, **changes: Any) -> TaskHead:
    return TaskHead(**{"task": "t", "head": head, "labels": ("a", "b", "c"), "kind": "one", "reads": reads, **changes})


def tuned(config: ModelConfig, asked: TaskHead) -> Model:
    model = Model(config.model_copy(update={"word_head": "tied"}), heads={asked.name: asked.factory}).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() < 2:
                parameter.add_(torch.empty_like(parameter).normal_(0.0, 0.3, generator=generator))
    return model


def save(model: Model, asked: TaskHead, run: Path) -> Path:
    (folder,) = save_faces(
        run,
        weights=model.state_dict(),
        config=model.config,
        vocabulary=VOCABULARY,
        trained=Abilities.of_heads(asked),
        save_tokenizer=lambda folder, template: None,
        card=lambda face: f"# {face}\n",
    )
    return folder


@torch.no_grad()
def logits(model: Model, asked: TaskHead, tokens: torch.Tensor, layout: Any) -> torch.Tensor:
    hidden = model.backbone(tokens, layout, ordered.dense(layout)).flatten(0, 1)
    at = layout.real.flatten().nonzero()[:, 0]
    if asked.head == "label":
        begins = torch.arange(len(tokens)) * tokens.shape[1]
        at = torch.stack([begins, begins + layout.real.sum(1) - 1], dim=1)
    return logits_at(model, asked.name, hidden, at)


WITH_CLASSES = [
    (shape, head) for shape in SHAPES for head in CLASSES if shape != "modernbert-decoder" or head == "label"
]


@pytest.mark.parametrize(("shape", "head"), WITH_CLASSES)
def test_transformers_says_the_same(shape: str, head: str, tmp_path: Path) -> None:
    config, reads = SHAPES[shape]
    asked = answers(head, reads, **({"labels": ("start", "end")} if head == "span" else {}))
    model = tuned(config, asked)
    folder = save(model, asked, tmp_path)
    theirs, report = getattr(transformers, CLASSES[head]).from_pretrained(folder, output_loading_info=True)
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")), report
    assert tuple(theirs.config.id2label.values()) == asked.labels
    assert theirs.config.model_type == shape.partition(",")[0] or (shape, head) == ("eurobert", "span")
    layout = packed([21], [8], causal=reads == "decoder")
    tokens = torch.where(layout.real, random_tokens(layout), 1)
    with torch.no_grad():
        said = theirs.eval()(input_ids=tokens, attention_mask=layout.real.long())
    whole = torch.stack([said.start_logits, said.end_logits], -1) if head == "span" else said.logits
    expected = whole if head == "label" else whole[layout.real]
    found = logits(model, asked, tokens, layout)
    assert (found - expected).abs().max() <= 2e-5 * expected.abs().max()

    again = read_saved(folder)
    assert again.trained.only_head == asked and folder.name == "model"
    torch.testing.assert_close(logits(again.model.eval(), asked, tokens, layout), found)


@pytest.mark.parametrize("shape", SHAPES)
def test_several_texts_of_one_row_are_answered_as_if_alone(shape: str) -> None:
    config, reads = SHAPES[shape]
    asked = answers("label", reads)
    model = tuned(config, asked)
    together = packed([7, 9, 5], [20], causal=reads == "decoder")
    tokens = random_tokens(together)
    hidden = model.backbone(tokens, together, ordered.dense(together)).flatten(0, 1)
    found = logits_at(model, "label", hidden, torch.tensor([[21, 40], [7, 15], [0, 6], [16, 20]]))
    for at, length, row in [(21, 20, 3 - 3), (7, 9, 1), (0, 7, 2), (16, 5, 3)]:
        layout = packed([length], causal=reads == "decoder")
        alone = logits(model, asked, tokens.flatten()[at : at + length][None], layout)
        assert (found[row] - alone[0]).abs().max() <= 2e-5 * alone.abs().max()


def test_a_body_comes_under_a_head_with_what_the_folder_holds_for_it(tmp_path: Path) -> None:
    """BERT's pooler is part of a classifier; the rest is drawn, and nothing is drawn where all of it is there."""
    source, _ = published("bert", tmp_path / "bert")
    asked = answers("label", "encoder")
    model = read_body(tmp_path / "bert", asked)
    assert torch.equal(model.heads["label"].transform.dense.weight, source.bert.pooler.dense.weight)
    assert model.heads["label"].out.weight.std() > 0 and not model.heads["label"].out.bias.any()
    other = read_body(tmp_path / "bert", asked, seed=1)
    assert not torch.equal(other.heads["label"].out.weight, model.heads["label"].out.weight)
    again = read_body(save(model, asked, tmp_path / "tuned"), asked, seed=2)
    assert all(torch.equal(again.state_dict()[name], weight) for name, weight in model.state_dict().items())


def test_what_has_no_class_is_refused(tmp_path: Path) -> None:
    decoder = tuned(MODERNBERT, answers("tags", "decoder"))
    with pytest.raises(ModelError, match="no decoder-tagger of modernbert's shape"):
        save(decoder, answers("tags", "decoder"), tmp_path)
    published("qwen3", tmp_path)
    with pytest.raises(ModelError, match="no classifier of qwen3's shape; it has: body, decoder, decoder-answerer"):
        read_body(tmp_path, answers("label", "encoder"))


@pytest.mark.parametrize("wrong", [{"head": "words"}, {"kind": "two"}, {"labels": 3}, {"more": 1}])
def test_what_is_noted_of_answers_is_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match=r"bothways\.json: heads\.label.*expected (a head as|what) Bothways writes"):
        noted = {**asdict(answers("label", "encoder")), **wrong}
        Abilities.from_json({"version": VERSION, "heads": {"label": noted}})


def test_a_mean_of_many_states_keeps_its_digits_in_bf16() -> None:
    """Added up in bf16, 512 ones are 256."""
    hidden = torch.ones(512, 8, dtype=torch.bfloat16)
    assert text.mean(hidden, torch.tensor([[0, 511]])).unique().tolist() == [1.0]
