"""Runs over pairs and languages; and what is said, before a run, of shards that lack what an objective needs."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch

import bothways
from bothways.corpus import PrepareOptions, Shards, prepare
from bothways.errors import BothwaysError, DataError, UsageError
from bothways.training.pretraining import pretrain, setup
from tests.training.pretraining.small import assert_same_run, configuration, lines, run_until

CLASSIC = ["model.shape=classic", "model.segments=2", "model.word_head=transformed"]


@pytest.fixture(scope="module")
def paired(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sentences of invented words in one language, their translation word by word, and texts in both languages."""
    folder = tmp_path_factory.mktemp("paired")
    rng = random.Random(0)
    ours, theirs = (["".join(rng.choices(letters, k=5)) for _ in range(60)] for letters in ("abcdefg", "nopqrstu"))
    lines = []
    for _ in range(120):
        words = rng.choices(range(60), k=rng.randint(3, 12))
        lines.append("\t".join(" ".join(names[i] for i in words) for names in (ours, theirs)))
    (folder / "pairs.tsv").write_text("\n".join(lines), encoding="utf-8")
    for name, words in (("ours", ours), ("theirs", theirs)):
        texts = (" ".join(rng.choices(words, k=rng.randint(5, 30))) for _ in range(40))
        (folder / f"{name}.txt").write_text("\n\n".join(texts), encoding="utf-8")
    prepare(
        [f"{name}={folder / name}.txt" for name in ("ours", "theirs")],
        pairs=[f"ours-theirs={folder / 'pairs.tsv'}"],
        out=folder / "shards",
        options=PrepareOptions(vocabulary=512, validation=0.15),
    )
    return folder / "shards"


@pytest.fixture(scope="module")
def spoken(paired: Path) -> Path:
    """The texts in two languages without the pairs."""
    out = paired.parent / "spoken"
    sources = [f"{name}={paired.parent / name}.txt" for name in ("ours", "theirs")]
    prepare(sources, out=out, options=PrepareOptions(vocabulary=512, validation=0.15))
    return out


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("objective", "names"),
    [
        ("xlm(causal=0.5, reweight=0.5)", {"tlm", "mlm", "causal"}),
        ("codebert", {"mlm", "rtd"}),
        ("mlm(sentences=nsp)", {"mlm", "sentences"}),
    ],
)
def test_stopped_and_resumed_is_never_stopped(objective: str, names: set[str], paired: Path, tmp_path: Path) -> None:
    whole, parts = (configuration(paired, tmp_path / name, objective=objective) for name in ("whole", "parts"))
    pretrain(whole)
    run_until(parts, 5)
    pretrain(parts, resume=True)
    assert_same_run(parts.out, whole.out)
    said = [line for line in lines(whole.out) if line["kind"] == "validation"]
    assert set(said[-1]["losses"]) == names
    assert all(np.isfinite(list(line["losses"].values())).all() for line in said)
    taught = [line for line in lines(whole.out) if line["kind"] == "train"]
    assert {name for line in taught for name in line["losses"]} == names


def test_a_run_over_languages_is_saved_with_them_as_segments(
    paired: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The classic shape embeds the language: the saved model reads it as token_type_ids."""
    transformers = pytest.importorskip("transformers")
    monkeypatch.setattr(setup, "gemm_peak", lambda *_, **__: 1e11)
    pretrain(configuration(paired, tmp_path / "run", *CLASSIC, objective="xlm"))
    saved = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path / "run" / "encoder").eval()
    assert type(saved).__name__ == "BertForMaskedLM" and saved.config.type_vocab_size == 2
    tokens = torch.arange(6, 12)[None]
    with torch.no_grad():
        first, second = (saved(tokens, token_type_ids=torch.full_like(tokens, i)).logits for i in (0, 1))
    assert (first - second).abs().max() > 1e-3
    assert bothways.load(tmp_path / "run").fill("[MASK]")
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["status"] == "done"


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("which", "objective", "settings", "error", "said"),
    [
        ("shards", "tlm", [], DataError, "tlm needs shards with languages and pairs, .*has none.*--pairs en-fr=FILE"),
        ("spoken", "tlm", [], DataError, "tlm needs shards with pairs, .*bothways prepare --pairs en-fr=FILE"),
        ("shards", "xlm", [], DataError, "xlm needs shards with languages and pairs, .*prepare en=english.txt"),
        ("spoken", "codebert", [], DataError, "codebert needs shards with pairs, .*prepare python-code"),
        ("spoken", "1/2 mlm + 1/2 tlm", [], DataError, "needs shards with pairs"),
        ("paired", "xlm", [*CLASSIC, "model.segments=1"], UsageError, "--set model.segments=2"),
        ("spoken", "mlm(sentences=sop)", CLASSIC, UsageError, "cannot also tell the languages of .*ours, theirs"),
        (
            "spoken",
            "mlm + unilm1",
            [*CLASSIC, "model.segments=6"],
            UsageError,
            "unilm1 marks the parts of a row .*ours, theirs",
        ),
        ("shards", "unilm1", CLASSIC, UsageError, "unilm1 tells 6 kinds .* has 2: --set model.segments=6"),
    ],
)
def test_what_shards_lack_is_said_before_the_run(
    which: str, objective: str, settings: list[str], error: type[BothwaysError], said: str,
    request: pytest.FixtureRequest, tmp_path: Path,
) -> None:  # fmt: skip
    config = configuration(request.getfixturevalue(which), tmp_path / "run", *settings, objective=objective)
    with pytest.raises(error, match=said):
        pretrain(config)
    assert not (tmp_path / "run").exists()


def test_shards_say_what_they_hold(shards: Path, spoken: Path, paired: Path) -> None:
    found = [Shards.open(path).manifest.holds for path in (shards, spoken, paired)]
    assert found == [{"word starts"}, {"word starts", "languages"}, {"word starts", "languages", "pairs"}]
