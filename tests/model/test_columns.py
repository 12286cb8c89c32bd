"""Columns of a layout that a model embeds or that a caller goes by, and layouts as compilers and exporters see them.

Letters: B rows, T tokens, D width.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils import _pytree

from bothways.model import Model
from bothways.model.passing import Pass
from bothways.visibility import Layout, ordered
from tests.model.small import CLASSIC, MODERN, model_of, packed, random_tokens

LANGUAGES = CLASSIC.model_copy(update={"languages": 3})


def embedded(model: Model, **columns: list[int]) -> Tensor:
    """[1, 4, D] of four equal tokens in equal positions."""
    layout = Layout.stack([Layout.of(document=[0] * 4, step=[0] * 4, position=[0] * 4, **columns)])
    found: Tensor = model.backbone.embeddings.look_up(torch.full((1, 4), 7), layout)
    return found


def test_segments_and_languages_are_embedded_together() -> None:
    """Each in a table of its own: what a language adds is the same in every segment."""
    model = model_of(LANGUAGES)
    plain = embedded(model)[0]
    found = embedded(model, segment=[0, 1, 0, 1], language=[0, 0, 2, 2])[0] - plain
    tables = model.backbone.embeddings.segments.weight, model.backbone.embeddings.languages.weight
    segment, language = tables[0][1] - tables[0][0], tables[1][2] - tables[1][0]
    for place, expected in enumerate([torch.zeros(64), segment, language, segment + language]):
        torch.testing.assert_close(found[place], expected, atol=1e-5, rtol=1e-5)


def test_segments_tell_languages_apart_where_nothing_else_does() -> None:
    """In a model with segments alone, and in a layout without them."""
    model, language = model_of(CLASSIC), [0, 0, 1, 1]
    assert torch.equal(embedded(model, language=language), embedded(model, segment=language))
    assert torch.equal(embedded(model, language=language, segment=[0] * 4), embedded(model))
    with_both = model_of(LANGUAGES)
    assert not torch.equal(embedded(with_both, language=language), embedded(with_both, segment=language))


def test_vectors_stand_in_place_of_tokens() -> None:
    """A toy of a modality: where the column says so, the embedding is a vector that was given (an image's region)."""
    model, layout = model_of(MODERN), packed([6, 5])
    modality = np.array([0, 1, 1, 0, 0, 0, 0, 0, 1, 0, 0], dtype=np.int32)
    layout = Layout(**layout.columns, modality=torch.from_numpy(modality)[None])
    tokens = random_tokens(layout)
    vectors = torch.randn(3, 64, generator=torch.Generator().manual_seed(0)).requires_grad_()

    def states(vectors: Tensor) -> Tensor:
        x = model.backbone.embeddings.look_up(tokens, layout)
        given = layout.modality[..., None] == 1
        x = model.backbone.embeddings.normed(x.masked_scatter(given, vectors))
        return model.backbone.encode(model.backbone.embeddings.widened(x), Pass(layout, ordered.dense(layout)))

    read = states(vectors)
    read.square().sum().backward()
    assert (vectors.grad.abs().sum(-1) > 0).all()
    tokens[modality[None] == 1] = 96  # nobody reads what stands there
    assert torch.equal(states(vectors), read)
    assert not torch.isclose(states(vectors + 1), read).all(-1).any()


def last_states(model: Model) -> torch.nn.Module:
    class Reads(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, tokens: Tensor, layout: Layout) -> Tensor:
            states: Tensor = self.model.backbone(tokens, layout, ordered.dense(layout))
            return states

    return Reads()


def test_a_layout_is_a_tree_of_its_columns() -> None:
    layout = packed([4, 3], segments=True)
    leaves, form = _pytree.tree_flatten(layout)
    assert len(leaves) == len(layout.columns) == 5
    again = _pytree.tree_unflatten(leaves, form)
    assert isinstance(again, Layout) and again.columns.keys() == layout.columns.keys()
    doubled = _pytree.tree_map(lambda column: 2 * column, layout)
    assert torch.equal(doubled.position, 2 * layout.position) and doubled.hidden is None


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # which PyTorch's compiler does
@pytest.mark.parametrize("config", [MODERN, CLASSIC], ids=["modern", "classic"])
def test_layouts_go_through_compilers_and_exporters(config: object) -> None:
    """Rows of another content, compiled or exported once."""
    reads = last_states(model_of(config.model_copy(update={"layers": 1})))
    one, other = (packed(rows, segments=True) for rows in ([4, 3], [2, 5]))
    with torch.no_grad():
        exported = torch.export.export(reads, (random_tokens(one), one)).module()
        compiled = torch.compile(reads, backend="eager", fullgraph=True)
        for layout in (one, other):
            tokens = random_tokens(layout)
            expected = reads(tokens, layout)
            for made in (exported, compiled):
                torch.testing.assert_close(made(tokens, layout), expected, atol=1e-5, rtol=1e-5)
