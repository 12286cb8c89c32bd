"""From files of pairs, and of texts in several languages, to shards."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bothways.corpus import PrepareOptions, Shards, prepare, show_rows, verify
from bothways.corpus.readers import DocumentReader
from bothways.corpus.sources import find_sources
from bothways.errors import BothwaysError, DataError, UsageError
from tests.corpus.conftest import SMALL, sentences, write_blocks

Pairs = list[tuple[str, str]]
PAIRS: Pairs = list(zip(sentences(300), sentences(300, seed=1), strict=True))
MakePairs = Callable[..., Shards]


def write_pairs(path: Path, pairs: Pairs, *, names: tuple[str, str] = ("en", "fr"), head: bool = False) -> Path:
    if path.suffix == ".tsv":
        lines = ["\t".join(pair) for pair in ([names] if head else []) + pairs]
    else:
        lines = [json.dumps(dict(zip(names, pair, strict=True)) | {"note": 1}) for pair in pairs]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def make_pairs(tmp_path: Path, tokenizer_folder: Path) -> MakePairs:
    """Prepares pairs in en and fr, and texts, with the given tokenizer."""
    made = 0

    def make(pairs: Pairs, *sources: str, **options: object) -> Shards:
        nonlocal made
        made += 1
        path = write_pairs(tmp_path / f"pairs-{made}.jsonl", pairs)
        record = SMALL.model_copy(update={"tokenizer": tokenizer_folder, **options})
        prepare(sources, pairs=[f"en-fr={path}"] if pairs else [], out=tmp_path / f"shards-{made}", options=record)
        return Shards.open(tmp_path / f"shards-{made}")

    return make


def pairs_of(shards: Shards, split: str) -> Pairs:
    """The split's pairs, decoded, in order."""
    stream = getattr(shards, split)
    table = stream.table
    found = []
    for start, stop, first in zip(table.starts, table.starts[1:], table.first, strict=False):
        tokens, _ = stream.read(int(start), int(stop))
        found.append((shards.tokenizer.decode(tokens[:first]), shards.tokenizer.decode(tokens[first:])))
    return found


@pytest.mark.parametrize(
    ("name", "head"), [("p.jsonl", False), ("p.tsv", False), ("p.tsv", True)], ids=["jsonl", "tsv", "tsv with names"]
)
def test_every_format_gives_the_same_pairs(tmp_path: Path, name: str, head: bool) -> None:
    path = write_pairs(tmp_path / name, PAIRS[:5], head=head)
    (source,) = find_sources([], [f"en-fr={path}"])
    assert list(source.read(DocumentReader(PrepareOptions()))) == PAIRS[:5]


def test_a_field_may_have_another_name_and_sides_may_change_places(tmp_path: Path) -> None:
    path = write_pairs(tmp_path / "p.jsonl", PAIRS[:3], names=("english", "français"))
    (source,) = find_sources([], [f"fr:français-en:english={path}=2"])
    assert source.languages == ("fr", "en") and source.weight == 2
    assert list(source.read(DocumentReader(PrepareOptions()))) == [(b, a) for a, b in PAIRS[:3]]


def test_a_line_without_a_second_column_is_named(tmp_path: Path) -> None:
    path = tmp_path / "p.tsv"
    path.write_text("one\tun\textra\n\ntwo\n")
    with pytest.raises(DataError, match=r"p\.tsv, line 3: expected two columns"):
        list(DocumentReader(PrepareOptions()).pairs(path, ("en", "fr")))
    skipped: list[int] = []
    reader = DocumentReader(PrepareOptions(), lambda path, line, why: skipped.append(line))
    assert list(reader.pairs(path, ("en", "fr"))) == [("one", "un")]
    assert skipped == [3]


@pytest.mark.parametrize(
    ("texts", "pairs", "error", "said"),
    [
        ([], ["{}/p.jsonl"], UsageError, "expected en-fr=FILE"),
        ([], ["en-fr"], UsageError, "expected en-fr=FILE"),
        ([], ["en-en={}/p.jsonl"], UsageError, "both sides are read from the field 'en'"),
        ([], ["en-fr={}/none.jsonl"], DataError, "found nothing there"),
        ([], ["en-fr={}/p.jsonl", "en-fr={}/p.jsonl"], UsageError, "given twice"),
        (["{}/t.txt"], ["en-fr={}/p.jsonl"], UsageError, r"t\.txt has no language, but en, fr were named"),
        (["en={}/t.txt", "python-docs"], [], UsageError, "python-docs has no language"),
        (["en=python-code"], [], UsageError, "python-code is in english and python"),
        (["en={}/t.txt=0"], [], UsageError, "weight of more than 0"),
    ],
)
def test_what_cannot_be_read_is_refused(
    tmp_path: Path, texts: list[str], pairs: list[str], error: type[BothwaysError], said: str
) -> None:
    write_pairs(tmp_path / "p.jsonl", PAIRS[:3])
    write_blocks(tmp_path / "t.txt", sentences(3))
    with pytest.raises(error, match=said):
        find_sources(*([name.format(tmp_path) for name in names] for names in (texts, pairs)))


def test_a_file_of_text_holds_no_pairs(tmp_path: Path) -> None:
    path = write_blocks(tmp_path / "t.txt", sentences(3))
    with pytest.raises(UsageError, match=r"expected pairs in \.jsonl, .*got text"):
        prepare([], pairs=[f"en-fr={path}"], out=tmp_path / "out")


def test_the_same_file_may_hold_several_pairs(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('{"en": "a", "fr": "b", "de": "c"}\n')
    sources = find_sources([], [f"en-fr={path}", f"en-de={path}"])
    assert [source.languages for source in sources] == [("en", "fr"), ("en", "de")]


@pytest.mark.parametrize(("text", "languages", "weight"), [("en={}", ("en",), 1), ("en={}=2.5", ("en",), 2.5)])
def test_a_text_says_its_language(tmp_path: Path, text: str, languages: tuple[str, ...], weight: float) -> None:
    (source,) = find_sources([text.format(write_blocks(tmp_path / "t.txt", ["one"]))])
    assert (source.languages, source.weight, source.name) == (languages, weight, "t.txt")


def test_pairs_come_back_and_verify_and_show(make_pairs: MakePairs) -> None:
    shards = make_pairs(PAIRS)
    assert sorted(pairs_of(shards, "train") + pairs_of(shards, "validation")) == sorted(PAIRS)
    manifest = verify(shards.path)
    assert manifest.version == 3 and manifest.languages == ("en", "fr")
    assert manifest.train.pairs == manifest.train.documents == shards.train.documents
    assert manifest.holds == {"word starts", "languages", "pairs"}
    assert re.search(r"document 0 \(en-fr\), positions 0-\d+, target from \d+: ", show_rows(shards, count=1, length=64))
    assert manifest.train.bytes == sum(len(side.encode()) for pair in pairs_of(shards, "train") for side in pair)
    text = sum(len(shards.tokenizer.encode(side)) for pair in pairs_of(shards, "train") for side in pair)
    assert manifest.train.bytes_per_token == pytest.approx(manifest.train.bytes / text)


def test_a_changed_table_is_found(make_pairs: MakePairs) -> None:
    shards = make_pairs(PAIRS)
    path = shards.path / "train.documents"
    content = bytearray(path.read_bytes())
    content[3] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"train\.documents is damaged"):
        verify(shards.path)
    with pytest.raises(DataError, match=r"train\.documents is damaged"):
        assert Shards.open(shards.path).train.table


def test_shards_without_languages_have_no_table(make_pairs: MakePairs, tmp_path: Path) -> None:
    shards = make_pairs([], str(write_blocks(tmp_path / "t.txt", sentences(100))))
    assert shards.train.table is None and not list(shards.path.glob("*.documents"))
    assert shards.manifest.languages == () and shards.manifest.train.pairs == 0
    assert shards.manifest.holds == {"word starts"}


def test_a_pair_is_a_duplicate_when_both_sides_are(make_pairs: MakePairs) -> None:
    other = [(PAIRS[0][0], PAIRS[1][1])]
    shards = make_pairs(PAIRS + PAIRS[:7] + other)
    assert shards.manifest.sources[0].duplicates == 7
    assert len(pairs_of(shards, "train") + pairs_of(shards, "validation")) == len(PAIRS) + 1


def test_translations_of_one_sentence_are_held_out_together(make_pairs: MakePairs) -> None:
    shards = make_pairs([(a, b) for a, _ in PAIRS[:60] for _, b in PAIRS[:3]])
    train, held = ({first for first, _ in pairs_of(shards, split)} for split in ("train", "validation"))
    assert held and not train & held


def test_a_pair_with_one_empty_side_is_counted_and_left_out(make_pairs: MakePairs) -> None:
    shards = make_pairs([*PAIRS, ("only one side", " "), ("", "")])
    assert shards.manifest.sources[0].skipped == 1
    assert shards.manifest.sources[0].documents == len(PAIRS)


@pytest.mark.parametrize("side", [0, 1])
def test_a_pair_is_left_out_for_an_evaluation_item_on_either_side(
    make_pairs: MakePairs, tmp_path: Path, side: int
) -> None:
    (tmp_path / "items.txt").write_text(" ".join(PAIRS[3][side].split()[2:16]) + "\n", encoding="utf-8")
    shards = make_pairs(PAIRS, exclude=(tmp_path / "items.txt",))
    assert shards.manifest.sources[0].excluded == 1
    assert PAIRS[3] not in pairs_of(shards, "train") + pairs_of(shards, "validation")


def test_texts_and_pairs_share_a_stream(make_pairs: MakePairs, tmp_path: Path) -> None:
    german = write_blocks(tmp_path / "de.txt", sentences(80, seed=2))
    shards = make_pairs(PAIRS, f"de={german}")
    assert shards.manifest.languages == ("de", "en", "fr")
    table = shards.train.table
    assert (table.pair == (table.language[:, 0] != 0)).all()
    assert set(map(tuple, table.language[table.pair].tolist())) == {(1, 2)}
    assert table.starts[-1] == shards.train.token_count


def test_a_language_without_text_is_named(make_pairs: MakePairs, tmp_path: Path) -> None:
    empty = write_blocks(tmp_path / "empty.txt", [""])
    with pytest.raises(DataError, match=r"^de: expected documents in this language, found none .* empty\.txt"):
        make_pairs(PAIRS, f"de={empty}")


def test_balance_repeats_small_languages(make_pairs: MakePairs, tmp_path: Path) -> None:
    """Shares go with the power 0.7 of the sizes: of a tenth, ten to the power of 0.3 times as much."""
    large = write_blocks(tmp_path / "large.txt", sentences(1000, seed=2))
    small = write_blocks(tmp_path / "small.txt", sentences(100, seed=3))
    shards = make_pairs([], f"en={large}", f"fr={small}", balance=0.7)
    tokens = np.diff(shards.train.table.starts)
    once, often = [tokens[shards.train.table.language[:, 0] == number].sum() for number in (0, 1)]
    plain = make_pairs([], f"en={large}", f"fr={small}")
    sizes = np.diff(plain.train.table.starts)
    before, little = [sizes[plain.train.table.language[:, 0] == number].sum() for number in (0, 1)]
    assert once == before
    assert often / once == pytest.approx((little / before) ** 0.7, rel=0.1)
    assert [source.weight for source in shards.manifest.sources] == [1.0, pytest.approx(10**0.3, rel=0.1)]
    assert shards.manifest.options["balance"] == 0.7


def test_balance_weighs_pairs_among_pairs(make_pairs: MakePairs, tmp_path: Path) -> None:
    text = write_blocks(tmp_path / "t.txt", sentences(1000, seed=2))
    shards = make_pairs(PAIRS[:100], f"en={text}", balance=0.7)
    assert [source.weight for source in shards.manifest.sources] == [1.0, 1.0]


def test_balance_needs_languages(make_pairs: MakePairs, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="balance needs languages"):
        make_pairs([], str(write_blocks(tmp_path / "t.txt", sentences(20))), balance=0.7)
