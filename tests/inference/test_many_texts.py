"""Many texts: whatever holds them, so many at once, with word of how far it is; one text stays one answer."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import torch

import bothways
from bothways.errors import MachineError, UsageError
from bothways.inference import GenerationOptions, LanguageModel
from tests.inference.made import ELMO, ENGLISH, MASS, TEXTS, load, make_run

SEVEN = [*TEXTS, "the fox", "a dog reads"]


def containers() -> list[Any]:
    pandas, datasets = pytest.importorskip("pandas"), pytest.importorskip("datasets")
    return [
        tuple(SEVEN),
        iter(SEVEN),
        (text for text in SEVEN),
        np.array(SEVEN),
        np.array(SEVEN, dtype=object),
        pandas.Series(SEVEN),
        datasets.Dataset.from_dict({"text": SEVEN})["text"],
    ]


def test_whatever_holds_texts_is_taken(loaded: LanguageModel) -> None:
    expected = loaded.score(SEVEN)
    for some in containers():
        assert np.allclose(loaded.score(some), expected, rtol=1e-4), type(some)


def test_a_table_is_no_column(loaded: LanguageModel) -> None:
    pandas = pytest.importorskip("pandas")
    with pytest.raises(UsageError, match=r"got a table \(DataFrame\): give one of its columns"):
        loaded.embed(pandas.DataFrame({"text": SEVEN}))
    with pytest.raises(UsageError, match="text 2: expected a text, got "):
        loaded.embed(pandas.Series(["a", None]))


MASKED, GAPS = [f"{text[:20]} [MASK]" for text in SEVEN], [f"{text[:20]} [GAP]" for text in SEVEN]
GREEDY: dict[str, Any] = {"max_new_tokens": 3, "temperature": 0}
ASK: dict[str, Callable[..., Any]] = {
    "score": lambda model, **how: model.score(SEVEN, **how),
    "pseudo": lambda model, **how: model.score(SEVEN, how="pseudo", **how),
    "perplexity": lambda model, **how: model.perplexity(SEVEN, **how),
    "embed": lambda model, **how: model.embed(SEVEN, **how),
    "layers": lambda model, **how: model.layers(SEVEN, **how),
    "fill": lambda model, **how: [one[0][0].token for one in model.fill(MASKED, **how)],
    "infill": lambda model, **how: model.infill(GAPS, longest=2, **how),
    "generate": lambda model, **how: [one.text for one in model.generate(SEVEN, **GREEDY, **how)],
}


@pytest.mark.parametrize("name", ASK)
@pytest.mark.parametrize("size", [None, 1, 3])
def test_so_many_at_once_and_word_of_how_far_it_is(name: str, size: int | None, loaded: LanguageModel) -> None:
    told: list[tuple[int, int]] = []
    plain = ASK[name](loaded)
    found = ASK[name](loaded, batch_size=size, progress=lambda done, count: told.append((done, count)))
    if isinstance(plain, np.ndarray):
        assert np.allclose(found, plain, rtol=1e-3, atol=1e-4)
    else:
        assert found == plain
    assert told == sorted(told) and told[-1] == (7, 7) and {count for _, count in told} == {7}
    if size == 1 and name in ("embed", "layers", "fill"):
        assert len({done for done, _ in told}) > 5


def test_the_engine_reads_so_many_rows_at_once(loaded: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, collate = [], type(loaded.engine).collate

    def counted(self: Any, some: Any, *, face: str) -> Any:
        rows.append(len(some))
        return collate(self, some, face=face)

    monkeypatch.setattr(type(loaded.engine), "collate", counted)
    loaded.embed(SEVEN, batch_size=3)
    assert rows == [3, 3, 1]


def test_two_directions_are_one_work(tmp_path: Any) -> None:
    told: list[int] = []
    load(make_run(tmp_path, ELMO)).embed(["a", "b"], batch_size=1, progress=lambda done, count: told.append(done))
    assert told == [0, 1, 1, 2]


def test_a_run_of_masks_tells_too(tmp_path: Any) -> None:
    told: list[int] = []
    model = load(make_run(tmp_path, MASS))
    model.infill(["a [GAP]", "b [GAP]"], progress=lambda done, count: told.append(done))
    assert told == [2]


def test_a_bar_is_shown_and_closed(loaded: LanguageModel, capsys: pytest.CaptureFixture[str]) -> None:
    loaded.embed(SEVEN, progress=True)
    shown = capsys.readouterr()
    assert "7/7" in shown.err and shown.out == ""
    loaded.embed([], progress=True)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"batch_size": 0}, "batch_size is how many texts are computed at once, 1 or more, got 0"),
        ({"batch_size": "many"}, "batch_size: expected a whole number or None, got 'many'"),
        ({"progress": "bar"}, "progress: expected True, False or a function, got 'bar'"),
        ({"bach_size": 3}, "argument of embed 'bach_size'. Did you mean 'batch_size'"),
    ],
)
def test_what_is_wrong_is_said(how: dict[str, Any], message: str, loaded: LanguageModel) -> None:
    with pytest.raises(UsageError, match=message):
        loaded.embed(SEVEN, **how)


def test_perplexity_is_exp_of_the_mean_negative_log_likelihood(loaded: LanguageModel) -> None:
    counts = np.array([len(loaded.tokenizer.encode(text)) for text in ENGLISH])
    for how in ("causal", "pseudo"):
        expected = np.exp(-loaded.score(list(ENGLISH), how=how) / counts)
        assert np.allclose(loaded.perplexity(list(ENGLISH), how=how), expected, rtol=1e-5)
    assert loaded.perplexity(ENGLISH[0]) == pytest.approx(float(loaded.perplexity(list(ENGLISH))[0]), rel=1e-4)
    assert isinstance(loaded.perplexity("the fox"), float)


def test_perplexity_of_a_text_read_in_parts_counts_every_token(loaded: LanguageModel) -> None:
    text = " ".join(ENGLISH * 3)
    tokens = len(loaded.tokenizer.encode(text))
    assert tokens > loaded.engine.length
    assert loaded.perplexity(text) == pytest.approx(np.exp(-loaded.score(text) / tokens), rel=1e-5)


def test_perplexity_of_nothing_is_refused(loaded: LanguageModel) -> None:
    with pytest.raises(UsageError, match="text 2: expected a text with a token to predict, got ''"):
        loaded.perplexity(["a", ""])
    assert loaded.perplexity([]).shape == (0,)


def test_where_it_is_and_in_what_numbers(run: Any) -> None:
    model = bothways.load(run, device="cpu")
    assert model.tokenizer is model.engine.tokenizer and model.device == torch.device("cpu")
    before = model.score("the fox")
    assert model.to("cpu", torch.float64) is model
    assert model.engine.model.table.dtype == torch.float64 and model.score("the fox") == pytest.approx(before, rel=1e-4)
    assert model.to().engine.model.table.dtype == torch.float64
    assert model.to(dtype=torch.float32).engine.model.table.dtype == torch.float32
    with pytest.raises(UsageError, match="device: expected 'cpu', 'cuda' or 'cuda:1', got 'nowhere'"):
        model.to("nowhere")
    with pytest.raises(MachineError, match="has no device 'cuda:9'"):
        model.to("cuda:9")
    with pytest.raises(UsageError, match="dtype: expected torch.float32"):
        model.to(dtype=torch.int8)


def test_every_option_of_a_method_is_named_with_its_default() -> None:
    """For completion and `help`: no method hides keywords behind **; what is shown is what is taken when left out."""
    methods = inspect.getmembers(LanguageModel, inspect.isfunction)
    signatures = {name: inspect.signature(method) for name, method in methods if not name.startswith("_")}
    hiding = {name for name, one in signatures.items() if any(p.kind is p.VAR_KEYWORD for p in one.parameters.values())}
    assert not hiding
    for name in ("fill", "infill", "generate", "score", "perplexity", "embed", "layers", "predict", "classify", "tag"):
        parameters = signatures[name].parameters
        assert (parameters["batch_size"].default, parameters["progress"].default) == (None, False)
    shown = {name: one.default for name, one in signatures["stream"].parameters.items()}
    assert shown == {
        **dict.fromkeys(("self", "prompt"), inspect.Parameter.empty),
        "options": None,
        "head": None,
        "adapter": None,
        **{one.name: one.default for one in fields(GenerationOptions)},
    }


def test_matrices_are_laid_out_for_the_numbers_that_they_have(run: Any) -> None:
    """By columns in float32 on a CPU, where a step of generating is faster so; elsewhere by rows."""
    model = bothways.load(run, device="cpu")

    def laid() -> list[Any]:
        network: Any = model.engine.model
        return [network.table, network.backbone.blocks[0].attention.qkv.weight]

    before = model.score("the fox")
    assert [weight.stride() for weight in laid()] == [(1, len(weight)) for weight in laid()]
    model.to(dtype=torch.bfloat16)
    assert all(weight.is_contiguous() for weight in model.engine.model.parameters())
    model.to(dtype=torch.float32)
    assert [weight.stride() for weight in laid()] == [(1, len(weight)) for weight in laid()]
    assert model.score("the fox") == pytest.approx(before, rel=0.05)  # it was in bfloat16
