"""The model card: README.md of a saved model, with the front matter that the Hugging Face hub reads.

What to load it with, what it was taught and on what, how it does beside trivial baselines, and what it cannot do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from bothways.model.abilities import Abilities
from bothways.model.config import ModelConfig
from bothways.model.huggingface.architectures import architecture

_TASKS = {
    "encoder": "fill-mask",
    "decoder": "text-generation",
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


@dataclass(frozen=True, slots=True)
class Card:
    """What a run knows about its model.

    name        of the run
    trained     what the objective taught
    config      the model's shape
    parameters  how many weights
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
        parts = [
            f"---\n{yaml.safe_dump(self._front_matter(face), sort_keys=False, allow_unicode=True)}---",
            f"# {self.name}",
            self._introduction(face),
            f"## How to use it\n\n{self._use(face)}",
            f"## What it learned from\n\n{self._learned()}",
            *([f"## How well it does\n\n{self._table()}"] if self.figures else []),
            "## What it cannot do\n\n" + "\n".join(f"- {limit}" for limit in self._limits(face)),
        ]
        return "\n\n".join(parts) + "\n"

    def _front_matter(self, face: str) -> dict[str, Any]:
        tags = ["bothways", *([f"objective: {self.trained.objective}"] if self.trained.objective else [])]
        if face in ("encoder", "detector"):
            tags += ["sentence-transformers", "feature-extraction"]
        return {"library_name": "transformers", "pipeline_tag": _TASKS[face], "tags": tags}

    def _introduction(self, face: str) -> str:
        config, others = self.config, [name for name in self.trained.folders.values() if name != face]
        reads = f", read {_READS[face]}" if face in _READS else ""
        text = (
            f"A language model of {self.parameters / 1e6:.1f} million weights ({config.layers} layers of width "
            f"{config.width}, {config.vocabulary} tokens, texts of up to {config.length} tokens), pretrained from "
            f"scratch with Bothways. This folder is its {face}{reads}."
        )
        if others:
            text += f" The same weights, read {_READS[others[0]]}, are its {others[0]}, in the folder beside this one."
        return text

    def _use(self, face: str) -> str:
        code = {"encoder": _ENCODER, "decoder": _DECODER, "detector": _DETECTOR}.get(face, _BODY)
        kind, name = architecture(self.config, face)
        code = code.replace("DETECTOR", name)
        needs = "transformers 5.18 or newer" if kind == "eurobert" else "transformers"
        return f"{code}\nIt needs {needs} and no code of ours: `trust_remote_code` stays unset."

    def _learned(self) -> str:
        lines = [f"- objective: {self.trained.objective}: {self.about}"]
        lines += [f"- {what}: {how_much}" for what, how_much in self.facts.items()]
        return "\n".join(lines) + (f"\n\nMade by `{self.command}`." if self.command else "")

    def _table(self) -> str:
        columns = list(dict.fromkeys(name for values in self.figures.values() for name in values))
        lines = [["on held-out text", *columns], ["---"] * (1 + len(columns))]
        for measure, values in self.figures.items():
            known = [values.get(name) for name in columns]
            lines.append([measure, *("" if value is None else f"{value:.4g}" for value in known)])
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)

    def _limits(self, face: str) -> list[str]:
        limits = [
            "It knows only what stood in the text above, and repeats what was wrong or hurtful there.",
            "It is small and not tuned to follow instructions, to chat or to be safe; what it says need not be true.",
            f"It reads at most {self.config.length} tokens at a time.",
        ]
        if face in ("encoder", "detector"):
            limits.append("Its sentence vectors are plain means of its states, not tuned for similarity.")
        if face == "decoder" and self.trained.hidden == "before":
            limits.append(
                "A hidden word is said one place before its mask (GPT-BERT), which no masked face of transformers "
                "reads: fill words with `bothways fill`."
            )
        if face in ("body", "decoder-body"):
            limits.append(
                f"The objective {self.trained.objective} gives no face that transformers has: AutoModel loads the "
                f"states, and they are those of the training only under the mask that it used ({self.trained.rule})."
            )
        else:
            lacking = {"decoder": "continue a text: causal or hybrid is"} if "decoder" not in self.trained.faces else {}
            if self.trained.hidden is None:
                lacking["encoder"] = "fill in hidden words: mlm or hybrid is"
            limits += [f"Its objective is not one that teaches to {what}." for what in lacking.values()]
        return limits


_ENCODER = """\
```python
from transformers import pipeline

fill = pipeline("fill-mask", model="path/to/this/folder")
fill("The capital of France is [MASK].")
```

Sentence vectors:

```python
from sentence_transformers import SentenceTransformer

vectors = SentenceTransformer("path/to/this/folder").encode(["One sentence.", "Another."])
```
"""

_DETECTOR = """\
The chance that each token does not belong where it stands:

```python
from transformers import AutoTokenizer, DETECTOR

tokenizer = AutoTokenizer.from_pretrained("path/to/this/folder")
model = DETECTOR.from_pretrained("path/to/this/folder")
logits = model(**tokenizer("The chef ate the meal.", return_tensors="pt")).logits
replaced = logits.softmax(-1)[..., 1] if logits.ndim == 3 else logits.sigmoid()
```
"""

_DECODER = """\
```python
from transformers import pipeline

write = pipeline("text-generation", model="path/to/this/folder")
write("Once upon a time", max_new_tokens=40)
```
"""

_BODY = """\
```python
from transformers import AutoModel, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("path/to/this/folder")
model = AutoModel.from_pretrained("path/to/this/folder")
states = model(**tokenizer("Some text.", return_tensors="pt")).last_hidden_state
```

A mask of one's own is given as `attention_mask`, boolean, of shape [rows, 1, length, length], True = may see.
"""
