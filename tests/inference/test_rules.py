"""A rule of visibility of one's own: saved by its name, obeyed by whatever asks, refused where it cannot be said."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from bothways.batch import Batch, Sample
from bothways.errors import ModelError, UsageError
from bothways.evaluation.inspection.attention import attention
from bothways.inference import LanguageModel
from bothways.inference.engine import Engine
from bothways.model import Abilities, Model, ModelConfig
from bothways.training.finetuning.save import find_body
from bothways.visibility import Layout, ahead, anchored, named, ordered, text_key, within
from tests.inference.made import ENGLISH, HYBRID, full_text, load, make_run, tokenizer

NEAR = ordered & within(3)
TEXT = ENGLISH[0]


@pytest.fixture(scope="module", params=["decoder", "encoder"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    hidden = "in place" if request.param == "encoder" else None
    trained = Abilities("mine", (request.param,), hidden, rule=NEAR.name)
    return make_run(tmp_path_factory.mktemp("rules") / request.param, trained)


@pytest.fixture
def model(folder: Path) -> LanguageModel:
    return load(folder)


def slowly(model: LanguageModel, row: list[int], *, left: bool) -> torch.Tensor:
    """[T, V] logits under a mask made by hand: at most three places away, and not ahead."""
    network, place = model.engine.model, torch.arange(len(row))
    apart = place[:, None] - place[None, :]
    mask = (apart.abs() <= 3) & ((apart >= 0) | torch.tensor(not left))
    layout = Layout.of(document=np.zeros(len(row)), step=np.zeros(len(row))).map(lambda c: torch.from_numpy(c)[None])
    with torch.no_grad():
        return network.logits(network.backbone(torch.tensor([row]), layout, mask[None, None]))[0]


@pytest.mark.parametrize("rule", [NEAR, ~text_key | ahead, ordered | anchored, ordered])
def test_a_rule_is_read_back_from_its_name(rule: object) -> None:
    again = named(rule.name)
    layout = Layout.of(document=np.zeros(6), step=np.arange(6))
    assert again.name == rule.name and np.array_equal(again.matrix(layout), rule.matrix(layout))


@pytest.mark.parametrize("name", ["mine", "ordered & mine", "within", "ordered and ahead", "__import__('os')", ""])
def test_a_rule_that_nobody_knows_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="expected a rule of visibility made of ordered, forked"):
        named(name)


def test_only_a_body_is_saved_and_its_card_says_the_rule(folder: Path, tmp_path: Path) -> None:
    (body,) = (path for path in folder.iterdir() if path.is_dir())
    assert body.name == "body"
    (name,) = json.loads((body / "config.json").read_text())["architectures"]
    assert name == ("LlamaModel" if folder.name == "decoder" else "EuroBertModel")
    assert NEAR.name in (body / "README.md").read_text()
    wrong = Path(shutil.copytree(body, tmp_path / "wrong")) / "bothways.json"
    wrong.write_text(wrong.read_text().replace("within(3)", "nearby(3)"))
    (wrong.parent / "SHA256SUMS").unlink()
    with pytest.raises(ModelError, match=r"wrong: expected a rule of visibility made of .*, got '\(ordered & nearby"):
        load(wrong.parent)


def test_tokens_that_the_tokenizer_has_not_are_never_said() -> None:
    """Of a table that is larger: behind a soft prompt too, whose tokens have numbers there and no spelling."""
    own, config = tokenizer(), {"layers": 1, "width": 32, "heads": 2, "inner": 32, "length": 16}
    size = own.vocabulary.size
    made = Model(ModelConfig(vocabulary=size + 8, **config))
    for one in (own, own.behind_prompt(3)):
        suppressed = Engine(made, one, HYBRID).suppressed().tolist()
        assert suppressed == [*range(5), *range(size, size + 8)]


def test_whatever_asks_the_model_obeys_it(model: LanguageModel) -> None:
    own, left = model.engine.tokenizer, "decoder" in model.engine.abilities.faces
    row = [own.vocabulary.cls, *own.encode(TEXT)]
    if left:
        logits = slowly(model, row, left=True).log_softmax(-1)
        nats = logits[torch.arange(len(row) - 1), torch.tensor(row[1:])].sum()
        assert model.score([TEXT, ENGLISH[1]])[0] == pytest.approx(float(nats), rel=1e-4)
        for _ in range(5):
            likeliest = slowly(model, row, left=True)[-1].clone()
            likeliest[model.engine.suppressed()] = -torch.inf
            row.append(int(likeliest.argmax()))
        written = own.decode(row[1:]).replace("\ufffd", "")  # half a character is not written
        assert own.vocabulary.sep not in row and full_text(model, TEXT, max_new_tokens=5, temperature=0) == written
    else:
        hidden = TEXT.replace("brown", "[MASK]")
        marked = [own.vocabulary.cls, *own.encode_marked(hidden), own.vocabulary.sep]
        chances = slowly(model, marked, left=False)[marked.index(own.vocabulary.mask)].softmax(-1)
        chances[model.engine.suppressed()] = 0
        assert model.fill(hidden, top_k=1)[0][0].probability == pytest.approx(float(chances.max()), rel=1e-4)
    whole, apart = (model.embed([TEXT, other])[0] for other in (TEXT, ENGLISH[1]))
    assert np.allclose(whole, apart, atol=1e-5)  # whatever stands beside it
    weights = attention(model.engine, TEXT)[0].weights
    far = np.abs(np.subtract.outer(*2 * [np.arange(weights.shape[-1])])) > 3
    assert far.any() and not weights[..., far].any()


def test_every_way_to_the_states_is_the_same(model: LanguageModel) -> None:
    """Of the batch that training reads, of `embed`, and of the layers."""
    engine = model.engine
    left = "decoder" in engine.abilities.faces
    closing = [] if left else [engine.tokenizer.vocabulary.sep]
    row = np.array([engine.tokenizer.vocabulary.cls, *engine.tokenizer.encode(TEXT), *closing])
    layout = Layout.of(document=np.zeros(len(row)), step=np.arange(len(row)) * left)
    with torch.no_grad():
        states = engine.model.states(Batch.stack([Sample(row, layout, ())]))[0]
    assert np.allclose(model.embed(TEXT), states.mean(0).numpy(), atol=1e-5)
    assert np.allclose(model.layers([TEXT])[0, -1], states.mean(0).numpy(), atol=1e-5)
    assert torch.allclose(engine.model.logits(states), slowly(model, row.tolist(), left=left), atol=1e-4)


def test_it_cannot_be_fine_tuned(folder: Path) -> None:
    with pytest.raises(ModelError, match=r"rule of visibility of its own, \(ordered & within\(3\)\), which no class"):
        find_body(str(folder), None)
