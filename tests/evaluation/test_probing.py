"""Probes: right answers win, ties are halves, what cannot be asked is counted, and chance is called chance."""

from __future__ import annotations

import json
from copy import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

import bothways
from bothways.corpus import PrepareOptions
from bothways.corpus.ngrams import NGrams
from bothways.errors import BothwaysError, DataError, ModelError, UsageError
from bothways.evaluation.held_out import HeldOut, bits_per_byte
from bothways.evaluation.probes import Probe, Records, cloze, minimal_pairs, similarity
from bothways.evaluation.probing import _differences, probe
from bothways.evaluation.probing_page import render
from bothways.inference.language_model import LanguageModel
from bothways.inference.score import score
from bothways.statistics import Estimate, estimate, holm, sign_test, spearman
from tests.inference.made import CAUSAL, HYBRID, make_run


def write(path: Path, *records: object) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    return bothways.load(make_run(tmp_path_factory.mktemp("probes") / "one", HYBRID), device="cpu")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    return bothways.load(make_run(tmp_path_factory.mktemp("probes") / "two", CAUSAL, seed=1), device="cpu")


def pairs(folder: Path, count: int = 40) -> Path:
    words = np.array("the quick fox jumps over the lazy dog".split())
    rng = np.random.default_rng(0)
    said = [[" ".join(rng.permutation(words)) for _ in range(2)] for _ in range(count)]
    return write(
        folder / "pairs.jsonl",
        *({"good": a, "bad": b, "phenomenon": f"kind {i % 2}"} for i, (a, b) in enumerate(said)),
    )


def test_pairs_are_what_score_says_and_a_random_model_is_at_chance(model: LanguageModel, tmp_path: Path) -> None:
    records = Records.read(pairs(tmp_path))
    found = {one.name: one for one in minimal_pairs(model, records)}
    ways = ("left to right", "pseudo-log-likelihood")
    assert list(found) == [f"pairs, {way}{mean}" for way in ways for mean in ("", ", per token")]
    good, bad = (model.score(records.texts(side)) for side in ("good", "bad"))
    assert found["pairs, left to right"].value.tolist() == (good > bad).tolist()
    for one in found.values():
        assert one.estimate.low < 0.5 < one.estimate.high


def test_the_same_sentence_twice_is_a_tie_and_earns_a_half(model: LanguageModel, tmp_path: Path) -> None:
    """In batches of other shapes a score differs in its last digits."""
    rng, words = np.random.default_rng(0), np.array("the quick fox jumps over lazy dog".split())
    texts = [" ".join(rng.choice(words, rng.integers(1, 30))) for _ in range(200)]
    records = Records.read(write(tmp_path / "a.jsonl", *({"good": text, "bad": text} for text in texts)))
    for one in minimal_pairs(model, records):
        assert one.estimate.figure == 0.5 and one.ties == 200


def test_facts_are_what_fill_says_and_words_of_several_tokens_are_counted(model: LanguageModel, tmp_path: Path) -> None:
    guesses = [one.token.strip() for one in model.fill(["The quick [MASK]"], top_k=100)[0][0]]
    answer = next(one for one in guesses if one.isalpha() and len(model.engine.tokenizer.encode(f" {one}")) == 1)
    path = write(
        tmp_path / "facts.jsonl",
        {"text": "The quick [MASK]", "answer": answer},
        {"text": "The <mask> dog", "answer": "zyxwvutsrq"},
    )
    first, five = cloze(model, Records.read(path))
    assert len(first.value) == 1 and first.left_out == 1
    assert [one.estimate.figure for one in (first, five)] == [answer in guesses[:1], answer in guesses[:5]]
    with pytest.raises(DataError, match=r"b.jsonl, line 1: expected one \[MASK\] in 'text'"):
        list(cloze(model, Records.read(write(tmp_path / "b.jsonl", {"text": "no hole", "answer": "fox"}))))


def test_similarity_is_spearmans(model: LanguageModel, tmp_path: Path) -> None:
    words = ["fox", "dog", "quick", "lazy", "over"]
    both = [(a, b) for i, a in enumerate(words) for b in words[i + 1 :]]
    gold = np.random.default_rng(0).permutation(len(both)).astype(float)
    rows = ({"word1": a, "word2": b, "score": s} for (a, b), s in zip(both, gold.tolist(), strict=True))
    static, alone = similarity(model, Records.read(write(tmp_path / "w.jsonl", *rows)))
    vectors = model.embed(words)
    unit = dict(zip(words, vectors / np.linalg.norm(vectors, axis=1, keepdims=True), strict=True))
    cosines = [float(unit[a] @ unit[b]) for a, b in both]
    assert alone.estimate.figure == pytest.approx(spearmanr(cosines, gold).statistic, abs=1e-6)
    assert static.name != alone.name and alone.estimate.low < alone.estimate.figure < alone.estimate.high


def test_two_models_side_by_side(model: LanguageModel, other: LanguageModel, tmp_path: Path) -> None:
    found = probe({"one": model, "two": other}, pairs=[pairs(tmp_path)])
    assert {(one.model, one.group) for one in found.scores} >= {("one", None), ("two", "kind 1")}
    asked = {one.probe for one in found.differences}
    assert asked == {"pairs, left to right", "pairs, left to right, per token"}  # the other one was not taught to fill
    again = probe({"one": model, "copy": model}, pairs=[pairs(tmp_path)])
    assert all(one.difference == 0 and one.p == 1 for one in again.differences)
    page = render(found)
    assert "kind 0" in page
    assert page.count('class="dots"') == len({one.probe for one in found.scores})
    assert found.as_json()["version"] == 2


def test_a_model_that_learned_nothing_is_at_chance_by_the_mean_where_lengths_differ(
    model: LanguageModel, tmp_path: Path
) -> None:
    rng = np.random.default_rng(3)
    words = ["".join(rng.choice([*"abcdefghijklmnopqrstuvwxyz"], 4)) for _ in range(400)]
    said = [[" ".join(rng.choice(words, size)) for size in (6, 9)] for _ in range(150)]
    records = Records.read(write(tmp_path / "p.jsonl", *({"good": long, "bad": short} for short, long in said)))
    found = {one.name: one for one in minimal_pairs(model, records)}
    for way in ("left to right", "pseudo-log-likelihood"):
        whole, mean = found[f"pairs, {way}"], found[f"pairs, {way}, per token"]
        assert whole.estimate.figure < 0.1  # the sum of nine tokens is below that of six
        assert abs(mean.estimate.figure - 0.5) < 3 * mean.estimate.error


def test_bits_per_byte_are_what_score_says_and_counting_stands_beside(
    model: LanguageModel, other: LanguageModel, tmp_path: Path
) -> None:
    lines = [f"the quick fox number {n} jumps over {'the lazy dog ' * (n % 5)}." for n in range(400)]
    (tmp_path / "text.txt").write_text("\n\n".join(lines), encoding="utf-8")
    bothways.prepare([str(tmp_path / "text.txt")], out=tmp_path / "shards", options=PrepareOptions(vocabulary=512))
    held = HeldOut.read(tmp_path / "shards")
    assert set(held.texts) <= {line.strip() for line in lines} and held.left_out == 0
    (found,) = bits_per_byte(other, held)
    size = sum(len(text.encode()) for text in held.texts)
    assert found.estimate.figure == pytest.approx(-score(other.engine, held.texts, ended=True).sum() / np.log(2) / size)
    assert found.estimate.figure > -other.score(held.texts).sum() / np.log(2) / size  # the end of a text costs, too
    grams = held.counting()
    vocabulary = held.shards.vocabulary
    assert all(row[0] == vocabulary.cls and row[-1] == vocabulary.sep for row in held.rows)
    counted = NGrams.count(held.shards.train.read(0, held.shards.train.token_count)[0], vocabulary)
    nats = sum(counted.score(row, 1)[1:].sum() for row in held.rows)
    assert grams["unigram"].estimate.figure == pytest.approx(nats / np.log(2) / size)
    unigram, bigram, trigram = (grams[name].estimate.figure for name in ("unigram", "bigram", "trigram"))
    assert max(bigram, trigram) < unigram < found.estimate.figure
    probed = probe({"one": model, "two": other}, held_out=tmp_path / "shards")
    assert {one.model for one in probed.scores} == {"one", "two", "unigram", "bigram", "trigram"}
    named = {(one.one, one.other) for one in probed.differences}
    assert ("one", "trigram") in named and ("bigram", "trigram") not in named
    assert all(one.p < 1e-6 for one in probed.differences if one.other == "trigram")
    page = render(probed)
    assert page.count("Less is better. Bars:") == 1 and "More is better." not in page
    assert "Above 0: the first has the larger figure." in page


def test_the_error_of_a_ratio_is_that_of_resampled_items() -> None:
    rng = np.random.default_rng(0)
    weight = rng.integers(20, 400, 300).astype(float)
    value = weight * rng.normal(2.0, 0.3, 300)
    drawn = [(value[some].sum() / weight[some].sum()) for some in rng.integers(0, 300, (2000, 300))]
    assert estimate([value], None, weight).error == pytest.approx(np.std(drawn), rel=0.1)


def test_significance_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    one, two = np.array([1.0, 0, 1, 1]), np.array([0.0, 0, 1, 0])
    assert sign_test(one, two) == pytest.approx(0.5) and sign_test(one, one) == 1.0  # 2 of 2 by a coin
    assert sign_test(np.ones(10), np.zeros(10)) == pytest.approx(2 / 2**10)
    assert Estimate(2.0, 0.0, 4.0, error=1.0).p == pytest.approx(0.0455, abs=1e-4)  # two standard errors
    assert Estimate(2.0, -10.7, 14.7, error=1.0, freedom=1).p == pytest.approx(
        0.2952, abs=1e-4
    )  # tables of Student's t
    many = np.random.default_rng(0).random(4000) < 0.7
    assert estimate([many.astype(float)], None).error == pytest.approx(many.std() / 4000**0.5, rel=0.01)
    four = estimate([np.ones(4)], None)  # all right: as if 6 of 8
    assert (four.figure, four.high) == (1, 1)
    assert four.low == pytest.approx(0.75 - 1.96 * (0.75 * 0.25 / 8) ** 0.5, abs=1e-3)
    other = np.random.default_rng(1).random(4000) < 0.5
    apart = many.astype(float) - other
    both = estimate([many.astype(float), other.astype(float)], None)
    assert both.error == pytest.approx(apart.std() / 4000**0.5, rel=0.01) and both.low < both.figure < both.high
    assert spearman(np.array([1.0, 2, 2, 5]), np.array([1.0, 3, 2, 4])) == pytest.approx(
        spearmanr([1, 2, 2, 5], [1, 3, 2, 4]).statistic
    )
    assert spearman(np.ones(3), np.arange(3.0)) == 0.0


@pytest.mark.parametrize(
    ("kind", "record", "message"),
    [
        ("pairs", {"good": "a"}, r"line 1: expected the field 'bad', got only good"),
        ("words", {"word1": "fox", "word2": "dog", "score": "much"}, "expected a number as 'score', got 'much'"),
        ("words", {"word1": "fox", "word2": "dog", "score": "nan"}, "expected a number as 'score', got 'nan'"),
        ("words", {"word1": "fox", "word2": "dog", "score": 1}, "expected 3 pairs or more"),
        ("facts", {"text": "a [MASK]"}, "expected the field 'answer'"),
    ],
)
def test_bad_records_are_named(model: LanguageModel, tmp_path: Path, kind: str, record: object, message: str) -> None:
    with pytest.raises(BothwaysError, match=message):
        probe({"one": model}, **{kind: [write(tmp_path / "x.jsonl", record)]})


def test_models_are_opened_and_named(model: LanguageModel, tmp_path: Path) -> None:
    """Runs by their folders' names, whole paths where two are alike; a model; and what cannot be opened is said."""
    runs = [make_run(tmp_path / folder / "run", HYBRID) for folder in ("a", "b")]
    file = pairs(tmp_path, 8)

    def named(models: object) -> list[str]:
        return [*dict.fromkeys(one.model for one in bothways.probe(models, pairs=file).scores)]

    assert named(runs[0]) == named(str(runs[0])) == ["run"] and named(runs) == [*map(str, runs)]
    assert named(model) == ["model"] and named({"mine": runs[0], "yours": model}) == ["mine", "yours"]
    found = bothways.probe([runs[0], tmp_path / "nothing"], pairs=[file])
    assert [(one.model, one.file) for one in found.failed] == [("nothing", "")]
    with pytest.raises(ModelError, match="nothing: .* holds no model"):
        bothways.probe(tmp_path / "nothing", pairs=file)
    with pytest.raises(BothwaysError, match=r"models: expected a run, a folder or a LanguageModel, got 3"):
        bothways.probe({"a": 3}, pairs=file)


def test_figures_are_shown_in_a_line_and_are_a_table(model: LanguageModel, tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    found = bothways.probe({"one": model, "two": model}, pairs=pairs(tmp_path))
    assert repr(found) == "Probed(one, two: 24 scores, 12 differences, 0 more than chance; 0 failed)"
    table = found.to_pandas()
    assert len(table) == 24 and {"model", "probe", "file", "group", "figure", "low", "high", "items"} <= {*table}


def test_nothing_to_ask(model: LanguageModel, tmp_path: Path) -> None:
    with pytest.raises(BothwaysError, match="expected files to probe with"):
        probe({"one": model})
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(BothwaysError, match="expected records, got an empty file"):
        probe({"one": model}, pairs=[tmp_path / "empty.jsonl"])


def test_a_group_keeps_its_items_and_its_ties() -> None:
    whole = Probe("x", np.arange(3), np.array([1.0, 0.5, 1]), np.array(["a", "b", "a"]), left_out=2)
    assert whole.of("a").estimate.figure == 1.0 and whole.of(None).estimate.figure == pytest.approx(5 / 6)
    assert [whole.of(group).ties for group in (None, "a", "b")] == [1, 0, 1]
    assert [whole.of(group).left_out for group in (None, "a")] == [2, 0]


@pytest.mark.parametrize(("count", "share"), [(4, 0.6), (10, 0.8), (20, 0.5), (40, 0.95)])
def test_an_interval_holds_the_truth_as_often_as_it_says(count: int, share: float) -> None:
    from scipy.stats import binom

    held = 0.0
    for right in range(count + 1):
        said = estimate([np.repeat([1.0, 0.0], [right, count - right])], None)
        held += binom.pmf(right, count, share) * (said.low <= share <= said.high)
    assert held >= 0.94


@pytest.mark.parametrize("templates", [2, 8, 40])
@pytest.mark.parametrize(("spread", "share"), [(0.7, 0.5), (3.0, 0.5), (0.0, 0.5), (0.0, 0.9)])
def test_an_interval_over_templates_holds_the_truth_as_often_as_it_says(
    templates: int, spread: float, share: float
) -> None:
    """Of models that like one word of each template better, so that most templates are nearly all right or nearly all
    wrong (all of it, with a spread of 0); two of them differ no more often than p says."""
    rng, held, p = np.random.default_rng(0), [], []
    template = np.repeat(np.arange(templates), 50)
    for _ in range(400):
        shares = [
            rng.beta(spread, spread, templates) if spread else (rng.random(templates) < share).astype(float)
            for _ in range(2)
        ]
        one, two = ((rng.random(50 * templates) < np.repeat(own, 50)).astype(float) for own in shares)
        said = estimate([one], template=template)
        held.append(said.low <= share <= said.high)
        p.append(max(estimate([one, two], template=template).p, sign_test(one, two)))
    assert np.mean(held) >= 0.92
    assert np.mean(np.array(p) < 0.05) <= 0.07 and np.mean(np.array(p) < 0.001) <= 0.005
    plain = [estimate([one]), estimate([one], template=np.zeros(len(one)))]  # of one template: over its items
    assert plain[0] == plain[1]


def test_a_ratio_of_few_documents_is_held_to_students_t() -> None:
    rng = np.random.default_rng(0)
    for count in (3, 8, 24):
        weight = rng.uniform(500, 1500, (800, count))
        bits = weight * (1.7 + 0.2 * rng.normal(size=(800, count)))
        found = [estimate([value], None, own) for value, own in zip(bits, weight, strict=True)]
        assert np.mean([one.low <= 1.7 <= one.high for one in found]) >= 0.92


def test_records_without_a_template_stand_for_themselves(tmp_path: Path) -> None:
    named = [{"paradigm": "p"}, {"paradigm": None}, {}, {"UID": "q"}, {"paradigm": "p"}]
    found = Records.read(write(tmp_path / "a.jsonl", *({"good": "a", "bad": "b"} | one for one in named)))
    template = found.template("paradigm", "UID")
    assert template is not None and len(set(template)) == 4 and template[0] == template[4]
    assert found.group("paradigm", "UID").tolist() == ["p", "", "", "q", "p"]


def test_pairs_name_their_paradigm_and_facts_their_relation(model: LanguageModel, tmp_path: Path) -> None:
    paradigms = [{"good": "the fox", "bad": "a fox", "phenomenon": "x", "paradigm": f"p{i % 3}"} for i in range(12)]
    found = probe({"one": model}, pairs=[write(tmp_path / "p.jsonl", *paradigms)])
    whole = [one for one in found.scores if one.group is None]
    assert {(one.items, one.templates) for one in whole} == {(12, 3)}
    assert "over the 3 templates from which the items were made" in render(found)
    assert "More is better. Bars:" in render(found)
    guess = model.fill(["the [MASK]"])[0][0][0].token.strip()
    facts = [{"text": "the [MASK]", "answer": guess, "part": "all", "relation": f"r{i % 2}"} for i in range(8)]
    for one in cloze(model, Records.read(write(tmp_path / "f.jsonl", *facts))):
        assert one.template is not None and set(one.template) == {"r0", "r1"} and set(one.group) == {"all"}
    for one in cloze(model, Records.read(write(tmp_path / "g.jsonl", {"text": "the [MASK]", "answer": guess}))):
        assert one.template is None


def test_models_are_compared_over_the_items_that_both_were_asked() -> None:
    gold = np.array([1.0, 2, 3, 4, 5, 6])
    a = Probe("w", np.array([0, 1, 2, 3]), np.array([1.0, 2, 3, 4]), np.full(4, ""), gold[:4])
    b = Probe("w", np.array([1, 2, 3, 5]), np.array([4.0, 3, 2, 9]), np.full(4, ""), gold[[1, 2, 3, 5]])
    (found,) = _differences({"one": {("f", "w"): a}, "two": {("f", "w"): b}})
    assert found.items == 3 and found.difference == pytest.approx(2)  # 1 and -1


def test_pairs_as_blimp_is_published(model: LanguageModel, tmp_path: Path) -> None:
    ours = Records.read(pairs(tmp_path))
    names = {"good": "sentence_good", "bad": "sentence_bad", "phenomenon": "linguistics_term"}
    theirs = write(tmp_path / "b.jsonl", *({names[key]: said for key, said in one.items()} for _, one in ours.found))
    for a, b in zip(minimal_pairs(model, ours), minimal_pairs(model, Records.read(theirs)), strict=True):
        assert (a.value == b.value).all() and (a.group == b.group).all()


def test_two_files_of_one_probe_are_told_apart(model: LanguageModel, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    files = [pairs(tmp_path), pairs(tmp_path / "b", 30)]
    found = probe({"one": model, "copy": model}, pairs=files)
    whole = [one for one in found.scores if one.group is None and one.model == "one"]
    assert {one.file: one.items for one in whole} == {str(files[0]): 40, str(files[1]): 30}
    assert {one.file for one in found.differences} == {*map(str, files)}
    assert render(found).count('class="dots"') == 8 and f"pairs, left to right ({files[1]})" in render(found)


def test_what_a_tokenizer_cannot_represent_is_left_out_and_counted(tmp_path: Path) -> None:
    loaded = bothways.load(make_run(tmp_path / "run", HYBRID, kind="wordpiece"), device="cpu")
    rows = [{"good": "the fox", "bad": "the dog"}, {"good": "the ☃", "bad": "the dog"}]
    for one in minimal_pairs(loaded, Records.read(write(tmp_path / "p.jsonl", *rows))):
        assert one.item.tolist() == [0] and one.left_out == 1
    with pytest.raises(DataError, match="expected pairs that the tokenizer can represent, got none of 1"):
        list(minimal_pairs(loaded, Records.read(write(tmp_path / "q.jsonl", rows[1]))))
    with pytest.raises(DataError, match="expected answers of one token of the tokenizer, got none of 1"):
        list(cloze(loaded, Records.read(write(tmp_path / "f.jsonl", {"text": "the [MASK]", "answer": "☃"}))))


def test_bits_per_byte_are_not_saved_by_unknown_tokens(tmp_path: Path) -> None:
    rng, words = np.random.default_rng(0), np.array("the quick fox jumps over lazy dog".split())
    lines = [" ".join([*rng.choice(words, 12), *["☃"] * (n % 2)]) for n in range(300)]
    (tmp_path / "text.txt").write_text("\n\n".join(lines), encoding="utf-8")
    bothways.prepare(
        [str(tmp_path / "text.txt")], out=tmp_path / "shards", options=PrepareOptions(vocabulary=512, validation=0.3)
    )
    held = HeldOut.read(tmp_path / "shards")
    loaded = bothways.load(make_run(tmp_path / "run", CAUSAL, kind="wordpiece"), device="cpu")
    (found,) = bits_per_byte(loaded, held)
    snow = ["☃" in text for text in held.texts]
    assert found.item.tolist() == np.flatnonzero(~np.array(snow)).tolist() and found.left_out == sum(snow) > 0


def test_bits_per_byte_pay_for_the_first_token_where_nothing_stands_before_it(
    other: LanguageModel, tmp_path: Path
) -> None:
    """As of GPT-2, Qwen and SmolLM2: what ends a text is given, and long documents are read in parts that fit."""
    lines = [f"{word} fox number {n} jumps over {'the lazy dog ' * (n % 25)}." for n, word in enumerate("abcdef" * 60)]
    (tmp_path / "text.txt").write_text("\n\n".join(lines), encoding="utf-8")
    bothways.prepare([str(tmp_path / "text.txt")], out=tmp_path / "shards", options=PrepareOptions(vocabulary=512))
    held, own = HeldOut.read(tmp_path / "shards"), other.engine.tokenizer
    taken = copy(own)
    taken.frame = replace(own.frame, one=((), ()))
    abilities = replace(other.engine.abilities, objective="")
    model = LanguageModel(replace(other.engine, tokenizer=taken, abilities=abilities))
    assert model.engine.around(closed=False) == ((), ()) and model.engine.length == 64
    (found,) = bits_per_byte(model, held)
    (framed,) = bits_per_byte(other, held)  # with [CLS] before every part of a text, as it is given here
    assert max(len(own.encode(text)) for text in held.texts) > 64
    assert found.value == pytest.approx(framed.value)
    assert found.estimate.figure == pytest.approx(framed.estimate.figure)
    taken.vocabulary = replace(own.vocabulary, cls=-1, sep=-1, eos_token_ids=())
    with pytest.raises(UsageError, match="expected a token that begins or ends a text, .* files name none"):
        list(bits_per_byte(model, held))


def test_a_model_whose_weights_are_broken_is_named(tmp_path: Path) -> None:
    loaded = bothways.load(make_run(tmp_path / "run", CAUSAL), device="cpu")
    with torch.no_grad():
        loaded.engine.model.table.fill_(torch.nan)
    with pytest.raises(ModelError, match="one: .* what is not finite .* weights are damaged"):
        probe({"one": loaded}, pairs=[pairs(tmp_path)])
