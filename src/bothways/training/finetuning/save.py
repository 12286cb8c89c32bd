"""Where a body is found, and how a fine-tuned model is written: a folder that transformers' class loads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml
from torch import Tensor

from bothways.errors import ModelError
from bothways.inference.language_model import folder_of
from bothways.model import Abilities, ModelConfig, TaskHead, architecture, local, read_abilities, save_faces
from bothways.text import Tokenizer
from bothways.training.finetuning.config import FinetuneConfig
from bothways.visibility import ordered


def find_body(model: str, reads: str | None) -> tuple[Path, str]:
    """The folder to go on from, and how it reads.

    Raises:
        ModelError: there is none, or it was not taught to read that way.
    """
    found = local(model)
    folder = found / reads if reads and (found / reads / "config.json").is_file() else folder_of(found)
    trained = read_abilities(folder)
    taught = [face for face in ("encoder", "decoder") if face in trained.faces]
    if trained.reads == "left to right":  # a body that says no words
        taught = taught or ["decoder"]
    if not taught:
        raise ModelError(f"{folder} reads in a way of its own ({trained.objective}): it has no face to fine-tune")
    if trained.rule != ordered.name:
        raise ModelError(
            f"{folder} was trained under a rule of visibility of its own, {trained.rule}, which no class of "
            "transformers' can be told: what it would be fine-tuned to could not be saved"
        )
    if reads and reads not in taught:
        raise ModelError(f"{folder} was not taught to read as a {reads}; it is: {', '.join(taught)}")
    return folder, reads or taught[0]


def save_model(
    config: FinetuneConfig,
    weights: Mapping[str, Tensor],
    shape: ModelConfig,
    tokenizer: Tokenizer,
    head: TaskHead,
    *,
    length: int,
    dev: Mapping[str, float],
) -> Path:
    """Writes `model/` into the run's folder; `dev` holds the scores that it was chosen by, `length` what it reads."""
    (folder,) = save_faces(
        config.out,
        weights=weights,
        config=shape,
        vocabulary=tokenizer.vocabulary,
        trained=Abilities.of_heads(head),
        save_tokenizer=lambda folder, face: tokenizer.save(
            folder, template="own", length=length, segments=shape.segments > 1
        ),
        card=lambda face: _card(config, shape, head, dev),
    )
    return folder


_TAGS = {
    "label": "text-classification",
    "tags": "token-classification",
    "span": "question-answering",
    "markers": "text-classification",
    "entities": "text-classification",
    "vector": "sentence-similarity",
}
_PIPELINE = """\
from transformers import pipeline

answer = pipeline("{task}", model="path/to/this/folder")
answer("Some text.")"""
_SPAN = """\
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("path/to/this/folder")
model = AutoModelForQuestionAnswering.from_pretrained("path/to/this/folder")
asked = tokenizer("Who?", "Some text that may say who.", return_tensors="pt")
said = model(**asked)
first, last = said.start_logits.argmax(), said.end_logits.argmax()"""
_RELATED = """\
import bothways

model = bothways.load("path/to/this/folder")
model.relate("The <e1>company</e1> makes <e2>chairs</e2>.")"""
_NAMED = """\
import bothways

model = bothways.load("path/to/this/folder")
model.{task}("Some text.").entities"""
_VECTOR = """\
from sentence_transformers import SentenceTransformer

SentenceTransformer("path/to/this/folder").encode(["Some text.", "Another."])"""
_USE = {"span": _SPAN, "markers": _RELATED, "entities": _RELATED, "vector": _VECTOR}
_README = """\
---
{front}---

# {name}

{model}, fine-tuned with Bothways to {task}. It says: {labels}.

## How to use it

```python
{use}
```

{what}; `bothways predict` answers whole files.

## How well it does

| on the dev examples | |
|---|---|
{scores}

These are the examples by which the best epoch was chosen: on new ones it does a little worse.

## What it cannot do

It knows the answers above and no others, and gives one of them to any text at all.
"""


def _card(config: FinetuneConfig, shape: ModelConfig, head: TaskHead, dev: Mapping[str, float]) -> str:
    """README.md of a fine-tuned model, with the front matter that the Hugging Face hub reads."""
    pipeline = _TAGS[head.head]
    front = {"library_name": "transformers", "pipeline_tag": pipeline, "tags": ["bothways", config.task]}
    return _README.format(
        front=yaml.safe_dump(front, sort_keys=False),
        name=config.out.resolve().name,
        model=config.model,
        task=config.task,
        labels=", ".join(head.labels),
        use=_NAMED.format(task=config.task)
        if head.characters
        else _USE.get(head.head) or _PIPELINE.format(task=pipeline),
        what=_what(head, architecture(shape, head.face)[1]),
        scores="\n".join(f"| {name} | {value:.4f} |" for name, value in dev.items()),
    )


def _what(head: TaskHead, kind: str) -> str:
    if head.head in ("markers", "entities"):
        return (
            f"The body is a {kind}, which transformers' AutoModel loads. It has no class for the head, which is in "
            "head.safetensors and needs Bothways"
        )
    if head.characters:
        return (
            f"It is a {kind}, which transformers loads. Every character is a word to it, with tokens of its own; "
            "transformers' pipeline lays tokens across characters, and would get other tags"
        )
    return f"It is a {kind} and needs no code of ours"
