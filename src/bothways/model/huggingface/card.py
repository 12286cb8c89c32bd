"""The model card: README.md of a saved model, with the front matter that the Hugging Face hub reads.

What to load it with, what it was taught and on what, how it does beside trivial baselines, and what it cannot do.
card.md is the template of all cards: of pretrained models, of fine-tuned ones, and of those only written back.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from bothways.model.abilities import Abilities, TaskHead
from bothways.model.config import ModelConfig
from bothways.model.huggingface.architectures import architecture

TEMPLATE = Path(__file__).with_name("card.md")
_TASKS = {
    "encoder": "fill-mask",
    "decoder": "text-generation",
    "seq2seq": "text2text-generation",
    "detector": "token-classification",
    "body": "feature-extraction",
    "decoder-body": "feature-extraction",
}
_READS = {
    "encoder": "from all sides",
    "decoder": "from left to right",
    "detector": "from all sides",
    "decoder-body": "from left to right",
}
_HEADS = {
    "label": "text-classification",
    "san": "text-classification",
    "tags": "token-classification",
    "span": "question-answering",
    "markers": "text-classification",
    "entities": "text-classification",
    "vector": "sentence-similarity",
    "extract": "summarization",
    "extract-mean": "summarization",
}


@dataclass(frozen=True, slots=True)
class Card:
    """What a pretraining run knows about its model.

    name        of the run
    trained     what the objective taught
    config      the model's shape
    parameters  how many
    about       the objective in a line, and where it comes from
    facts       {what: how much}, in order: documents, tokens, bytes, hash of the data; steps, tokens, time
    figures     {measure: {"this model": value, a baseline: value}}; a value that is not there is left open
    command     what made it
    """

    name: str
    trained: Abilities
    config: ModelConfig
    parameters: int
    about: str
    facts: Mapping[str, str] = field(default_factory=dict)
    figures: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    command: str = ""

    def __call__(self, face: str) -> str:
        """The README.md of one face."""
        kind, name = architecture(self.config, face)
        tags = [f"objective: {self.trained.objective}"] if self.trained.objective else []
        tags += ["sentence-transformers", "feature-extraction"] if face in ("encoder", "detector") else []
        names = list(dict.fromkeys(name for values in self.figures.values() for name in values))
        rows = [[measure, *map(_figure, map(values.get, names))] for measure, values in self.figures.items()]
        other = next((other for other in self.trained.folders.values() if other != face), "")
        return _render(
            self.name,
            _TASKS[face],
            tags,
            pretrained=self,
            config=self.config,
            trained=self.trained,
            face=face,
            direction=_READS.get(face),
            other=other,
            other_direction=_READS.get(other),
            use="detect" if face == "detector" else _TASKS[face],
            kind=name,
            modern=kind == "eurobert",
            columns=["on held-out text", *names] if rows else [],
            rows=rows,
        )


def finetuned_card(name: str, config: ModelConfig, head: TaskHead, *, model: str, dev: Mapping[str, float]) -> str:
    """README.md of a fine-tuned model; `model` is what it was made from, `dev` the scores it was chosen by."""
    if head.head == "san":
        return multitask_card(name, config, (head,), model=model, dev=dev)
    pipeline = _HEADS[head.head]
    use = "relate" if head.head in ("markers", "entities") else "entities" if head.characters else pipeline
    if head.kind == "relevance":
        pipeline = "text-ranking"
    use = head.task if head.task in ("extract", "rerank") else use
    return _render(
        name,
        pipeline,
        [head.task],
        finetuned={"model": model, "task": head.task},
        head=head,
        use=use,
        kind=architecture(config, head.face)[1],
        columns=["on the dev examples", ""],
        rows=[[metric, f"{value:.4f}"] for metric, value in dev.items()],
    )


def multitask_card(
    name: str, config: ModelConfig, heads: Sequence[TaskHead], *, model: str, dev: Mapping[str, float]
) -> str:
    """README.md of a model that was fine-tuned to several tasks at once, each with its own name."""
    face = Abilities.of_heads(*heads).folders["model"]
    return _render(
        name,
        _TASKS[face],
        [*dict.fromkeys(head.task for head in heads)],
        finetuned={"model": model, "task": "several tasks at once" if len(heads) > 1 else heads[0].task},
        heads=heads,
        use="several",
        kind=architecture(config, face)[1],
        columns=["on the dev examples", ""],
        rows=[[metric, f"{value:.4f}"] for metric, value in dev.items()],
    )


def writer_card(
    name: str, config: ModelConfig, trained: Abilities, face: str, *, model: str, dev: Mapping[str, float]
) -> str:
    """README.md of a model that was fine-tuned to write; arguments as of `finetuned_card`."""
    head = trained.writer
    assert head is not None and head.writes is not None
    whole = face not in ("body", "decoder-body")
    return _render(
        name,
        _TASKS[face],
        [head.task],
        finetuned={"model": model, "task": head.task},
        head=head,
        writes=head.writes,
        config=config,
        trained=trained,
        use="write" if whole else "write-here",
        kind=architecture(config, face)[1],
        columns=["on the dev examples", ""],
        rows=[[metric, f"{value:.4f}"] for metric, value in dev.items()],
    )


def adapter_card(name: str, noted: Mapping[str, Any], tasks: Sequence[str]) -> str:
    """README.md of an adapter; `noted` is what the run's manifest.json says of it."""
    from huggingface_hub import ModelCardData

    what = f"`{noted['expression']}`, {noted['parameters']:,} weights beside {noted['of']:,} that are frozen"
    front = ModelCardData(library_name="peft", base_model=noted["base"], tags=["bothways", *tasks]).to_yaml()
    return (
        f"---\n{front.rstrip()}\n---\n\n# {name}\n\nAn adapter for {', '.join(tasks)} on `{noted['base']}`: {what}. It "
        'opens with `bothways.load("' + name + '")`, beside others on one base with '
        "`bothways.load(BASE, adapters={...})`, and where adapter_config.json is there, with peft.\n"
    )


def saved_card(name: str, config: ModelConfig, face: str, *, trained: Abilities, parameters: int) -> str:
    """README.md of a model that was loaded and written back."""
    from bothways import __version__

    plain = trained.rule == "ordered" and trained.hidden != "before" and not face.endswith("body")
    alone = plain and not trained.writers
    told = {"kind": architecture(config, face)[1], "parameters": parameters, "version": __version__, "alone": alone}
    return _render(name, None, [], **told)


def _render(name: str, pipeline: str | None, tags: list[str], **parts: Any) -> str:
    from huggingface_hub import ModelCardData

    front = ModelCardData(library_name="transformers", pipeline_tag=pipeline, tags=["bothways", *tags]).to_yaml()
    absent = dict.fromkeys(("pretrained", "finetuned", "use", "columns", "heads", "writes", "config"))
    template = _MARKDOWN.from_string(TEMPLATE.read_text(encoding="utf-8"))
    text = template.render({**absent, **parts}, name=name, front=front.rstrip())
    return re.sub(r"\n{3,}", "\n\n", text).rstrip() + "\n"


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


_MARKDOWN = Environment(undefined=StrictUndefined, keep_trailing_newline=True)
