"""The small masked language model that makes ELECTRA's text (Clark et al. 2020, section 3.2).

It reads through the main model's embeddings or through its own, projected to its width.

Letters: B rows, T tokens, N targets, E embedding width, D width of the main model, G of the generator.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from bothways.model.backbone import Embeddings, Stack, blocks_and_norm
from bothways.model.config import ModelConfig, swiglu_inner
from bothways.model.heads.words import LMHead
from bothways.model.passing import Pass


def generator_shape(config: ModelConfig, *, width: float, layers: float) -> ModelConfig:
    """The main model's shape with a share of its width and of its layers."""
    narrow = max(16, round(config.width * width / 16) * 16)
    heads = max(1, narrow // config.head_width)
    while narrow % heads or narrow // heads % 2:
        heads -= 1
    inner = swiglu_inner(narrow) if config.feed_forward.gated else round(config.inner * narrow / config.width)
    return config.model_copy(
        update={
            "width": narrow,
            "heads": heads,
            "inner": inner,
            "layers": max(1, round(config.layers * layers)),
            "embedding_width": config.embedding_width or config.width,
            "word_head": "transformed" if config.classic else "tied",
            "attention": config.attention.model_copy(update={"key_heads": None, "head_size": None}),
        }
    )


class Generator(Stack):
    """Blocks of their own between shared (or own) embeddings and the tied table.

    The modern shape has a plain projection on either side, so that it can be saved as one model with two tables; the
    classic one has ELECTRA's: a projection, and a dense layer, GELU and a norm.
    """

    def __init__(self, config: ModelConfig, *, width: float, layers: float, own_embeddings: bool) -> None:
        super().__init__()
        self.config = generator_shape(config, width=width, layers=layers)
        embedding_width = config.embedding_width or config.width
        narrow = self.config.width != embedding_width
        biased = config.classic
        flat = config.model_copy(update={"width": embedding_width, "embedding_width": None})
        self.embeddings = Embeddings(flat) if own_embeddings else None
        self.project = nn.Linear(embedding_width, self.config.width, bias=biased) if narrow else None
        self.blocks, self.norm = blocks_and_norm(self.config)
        self.out = nn.Linear(self.config.width, embedding_width, bias=False) if narrow and not biased else None
        self.words = LMHead(self.config)

    def forward(self, embedded: Tensor, given: Pass) -> Tensor:
        """embedded [B, T, E], normed -> the states [B, T, G], or those at the places wanted: [N, G]."""
        return self.encode(embedded if self.project is None else self.project(embedded), given)

    def said(self, states: Tensor) -> Tensor:
        """States [N, G] as the words head takes them."""
        result: Tensor = states if self.out is None else self.out(states)
        return result


def standing_alone(weights: Mapping[str, Tensor], shape: ModelConfig) -> tuple[dict[str, Tensor], ModelConfig]:
    """A generator as a `Model`: its weights, with those of the embeddings that it reads through, and its config.

    The modern shape has its projections multiplied into its input and output embeddings.
    """
    narrow = "project.weight" in weights
    body = {name: weight for name, weight in weights.items() if name.startswith(("blocks.", "norm.", "embeddings."))}
    alone = {f"backbone.{name}": weight for name, weight in body.items() if not name.startswith("embeddings.project")}
    alone |= {name: weight for name, weight in weights.items() if name.startswith("words.")}
    if shape.classic:
        alone |= {f"backbone.embeddings.{name}": weights[name] for name in weights if name.startswith("project.")}
        return alone, shape if narrow else shape.model_copy(update={"embedding_width": None})
    plain = shape.model_copy(update={"embedding_width": None})
    if not narrow:
        return alone, plain
    table = weights["embeddings.tokens.weight"]  # [V, E]
    alone["backbone.embeddings.tokens.weight"] = table @ weights["project.weight"].T  # [V, G]
    alone["words.untied.weight"] = table @ weights["out.weight"]  # [V, G]
    return alone, plain.model_copy(update={"word_head": "untied"})
