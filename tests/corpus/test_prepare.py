"""From sources to shards: what is kept, what is counted, and that the same text gives the same bytes."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
import time
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from bothways.corpus import PrepareOptions, Shards, prepare
from bothways.corpus.ngrams import NGrams
from bothways.corpus.shards import Stream
from bothways.errors import DataError, MachineError, UsageError
from tests.corpus.conftest import SMALL, documents_of, sentences, write_blocks

MODULE = sys.modules["bothways.corpus.prepare"]  # the name of the function hides the module's
Make = Callable[..., Shards]


def test_every_document_is_in_one_split_once(make: Make) -> None:
    documents = sentences(300)
    shards = make(documents)
    train, validation = documents_of(shards, "train"), documents_of(shards, "validation")
    assert Counter(train + validation) == Counter(documents)
    assert 10 < len(validation) < 60


def test_adding_files_moves_no_document(make: Make) -> None:
    first, second = sentences(200), sentences(200, seed=1)
    before, after = make(first), make(second, first)
    for split in ("train", "validation"):
        assert set(documents_of(before, split)) <= set(documents_of(after, split))
    assert not set(documents_of(after, "train")) & set(documents_of(after, "validation"))


def test_duplicates_are_dropped_and_counted_in_all_their_spellings(make: Make) -> None:
    documents = sentences(100)
    decomposed = [unicodedata.normalize("NFD", document) for document in documents]
    assert decomposed != documents
    shards = make(documents + documents[:10], decomposed)
    first, second = shards.manifest.sources
    assert (first.documents, first.duplicates) == (110, 10)
    assert (second.documents, second.duplicates) == (100, 100)
    assert shards.train.documents + shards.validation.documents == 100


def test_a_weight_repeats_training_documents_only(make: Make, tmp_path: Path) -> None:
    documents = sentences(300)
    path = write_blocks(tmp_path / "w.txt", documents)
    once, often, seldom = make(path), make(f"{path}=2.5"), make(f"{path}=0.5")
    assert documents_of(often, "validation") == documents_of(once, "validation") == documents_of(seldom, "validation")
    times = Counter(documents_of(often, "train"))
    assert set(times) == set(documents_of(once, "train"))
    assert set(times.values()) == {2, 3}
    assert abs(sum(times.values()) / len(times) - 2.5) < 0.15
    assert seldom.manifest.sources[0].unweighted == once.train.documents - seldom.train.documents > 0


def test_what_a_weight_leaves_out_may_come_from_another_source(make: Make, tmp_path: Path) -> None:
    documents = sentences(300)
    path = write_blocks(tmp_path / "w.txt", documents)
    shards = make(f"{path}=0.3", documents)
    first, second = shards.manifest.sources
    assert first.unweighted > 0
    assert second.duplicates == len(documents) - first.unweighted
    assert shards.train.documents + shards.validation.documents == len(documents)


def test_ngrams_read_of_long_shards_what_they_count(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    shards = make(sentences(300))
    stream, vocabulary = shards.train, shards.vocabulary
    tokens, _ = stream.read(0, len(stream))
    row = tokens[:50]
    for at_most in (len(tokens), 200):
        whole, read = (NGrams.count(given, vocabulary, at_most=at_most) for given in (tokens, stream))
        assert (read.counted, read.of) == (whole.counted, len(tokens))
        assert np.array_equal(read.score(row, 3), whole.score(row, 3))
    taken: list[int] = []
    plain = Stream.read
    monkeypatch.setattr(Stream, "read", lambda own, a, b: (taken.append(b - a), plain(own, a, b))[1])
    NGrams.count(stream, vocabulary, at_most=200)
    assert sum(taken) <= 201


def test_documents_with_evaluation_items_are_left_out(make: Make, tmp_path: Path) -> None:
    documents = sentences(100)
    item = " ".join(documents[3].split()[2:16])
    (tmp_path / "items.txt").write_text(item + "\nyes\n", encoding="utf-8")
    shards = make(documents, exclude=(tmp_path / "items.txt",))
    assert shards.manifest.sources[0].excluded == 1
    assert documents[3] not in documents_of(shards, "train") + documents_of(shards, "validation")
    assert shards.manifest.options["exclude"] == ["items.txt"]


def test_the_manifest_counts_tokens_bytes_and_unknowns(make: Make) -> None:
    documents = sentences(200)
    shards = make(documents)
    manifest = shards.manifest
    assert manifest.train.bytes + manifest.validation.bytes == sum(len(document.encode()) for document in documents)
    for split, stream in ((manifest.train, shards.train), (manifest.validation, shards.validation)):
        tokens, _ = stream.read(0, stream.token_count)
        assert (tokens == shards.vocabulary.cls).sum() == split.documents
        assert split.unknown == 0
        text = sum(len(shards.tokenizer.encode(document)) for document in documents_of(shards, stream.name))
        assert split.bytes_per_token == pytest.approx(split.bytes / text)


def test_unknown_tokens_are_counted(tmp_path: Path) -> None:
    options = SMALL.model_copy(update={"kind": "wordpiece"})
    path = write_blocks(tmp_path / "a.txt", sentences(200))
    prepare([str(path)], out=tmp_path / "one", options=options)
    given = options.model_copy(update={"tokenizer": tmp_path / "one/tokenizer"})
    other = write_blocks(tmp_path / "b.txt", [f"{text} ☂" for text in sentences(200)])
    manifest = prepare([str(other)], out=tmp_path / "two", options=given)
    assert manifest.train.unknown == manifest.train.documents


def test_two_runs_in_two_places_give_one_fingerprint(tmp_path: Path) -> None:
    manifests = []
    for name in ("here", "there/deep"):
        path = tmp_path / name / "text.txt"
        path.parent.mkdir(parents=True)
        write_blocks(path, sentences(200))
        manifests.append(prepare([str(path)], out=tmp_path / name / "out", options=SMALL))
    assert manifests[0].fingerprint == manifests[1].fingerprint
    assert str(tmp_path) not in (tmp_path / "here/out/index.json").read_text()


def test_the_same_again_is_left_alone_and_another_is_refused(corpus: Path, tmp_path: Path) -> None:
    out, said = tmp_path / "out", list[str]()
    first = prepare([str(corpus)], out=out, options=SMALL)
    written = (out / "train-00000.tokens").stat().st_mtime_ns
    assert prepare([str(corpus)], out=out, options=SMALL, report=said.append) == first
    assert "nothing to do" in said[-1]
    assert (out / "train-00000.tokens").stat().st_mtime_ns == written
    other = SMALL.model_copy(update={"vocabulary": 600})
    with pytest.raises(UsageError, match="holds another preparation"):
        prepare([str(corpus)], out=out, options=other)
    assert Shards.open(out).manifest == first
    assert prepare([str(corpus)], out=out, options=other, overwrite=True).fingerprint != first.fingerprint


def test_what_another_writes_beside_a_finished_preparation_is_left_alone(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody overwrites it: the same again, which has nothing to do, does not touch their work."""
    told = {"out": tmp_path / "out", "options": SMALL}
    prepare([str(corpus)], **told)
    work = tmp_path / "out" / ".preparing"
    work.mkdir()

    @contextmanager
    def taken(folder: Path) -> Iterator[None]:
        raise UsageError("another process writes there")
        yield

    with monkeypatch.context() as patch:
        patch.setattr("bothways.corpus.folder.claimed", taken)
        prepare([str(corpus)], **told)
    assert work.exists()
    prepare([str(corpus)], **told)
    assert not work.exists()


def test_a_damaged_note_of_what_was_asked_for_is_another_preparation(corpus: Path, tmp_path: Path) -> None:
    prepare([str(corpus)], out=tmp_path / "out", options=SMALL)
    note = tmp_path / "out" / "request"
    note.write_bytes(bytes([note.read_bytes()[0] | 0x80]) + note.read_bytes()[1:])
    with pytest.raises(UsageError, match="holds another preparation"):
        prepare([str(corpus)], out=tmp_path / "out", options=SMALL)


def test_what_a_tokenizer_needs_is_said_before_anything_is_read(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="extend adds to a tokenizer: name it"):
        prepare([str(corpus)], out=tmp_path / "out", options=SMALL.model_copy(update={"extend": 9}))

    def missing(text: str) -> None:
        raise MachineError("jieba is not installed")

    monkeypatch.setattr(MODULE, "jieba_starts", missing)
    with pytest.raises(MachineError, match="jieba is not installed"):
        prepare([str(corpus)], out=tmp_path / "out", options=SMALL.model_copy(update={"words": "jieba"}))
    assert not [*(tmp_path / "out").glob("*")]


def test_a_folder_with_other_files_is_not_touched(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(UsageError, match="other files in it"):
        prepare([str(corpus)], out=tmp_path, options=SMALL)
    with pytest.raises(UsageError, match="got a file"):
        prepare([str(corpus)], out=tmp_path / "thesis.txt", options=SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_killed_at_any_moment_and_run_again_it_gives_the_same(corpus: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from bothways.corpus import prepare, PrepareOptions\n"
        "options = PrepareOptions(vocabulary=512, validation=0.1)\n"
        "print('ready', flush=True); prepare([sys.argv[1]], out=sys.argv[2], options=options)"
    )
    whole = prepare([str(corpus)], out=tmp_path / "whole", options=SMALL)
    killed = 0
    for place, delay in enumerate((0.02, 0.12)):
        out = tmp_path / f"out-{place}"
        command = [sys.executable, "-c", code, str(corpus), str(out)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
            killed += process.wait() == -signal.SIGKILL
        if not (out / "index.json").exists():
            with pytest.raises(DataError, match=r"found no index\.json"):
                Shards.open(out)
        assert prepare([str(corpus)], out=out, options=SMALL).fingerprint == whole.fingerprint
        assert not (out / ".preparing").exists()
    assert killed


@pytest.mark.parametrize("step", range(8))
def test_stopped_at_any_step_of_its_finish_it_can_be_run_again(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    whole = prepare([str(corpus)], out=tmp_path / "out", options=SMALL)
    moves = 0
    move = Path.replace

    def stop(self: Path, target: Path) -> Path:
        nonlocal moves
        moves += 1
        if moves > step + 2:  # the first two are the request and the index written aside
            raise KeyboardInterrupt
        return move(self, target)

    monkeypatch.setattr(Path, "replace", stop)
    options = SMALL.model_copy(update={"validation": 0.2})
    if step < 7:
        with pytest.raises(KeyboardInterrupt):
            prepare([str(corpus)], out=tmp_path / "out", options=options, overwrite=True)
    monkeypatch.undo()
    again = prepare([str(corpus)], out=tmp_path / "out", options=options, overwrite=True)
    assert again.fingerprint != whole.fingerprint
    assert Shards.open(tmp_path / "out").manifest == again


def test_the_tokenizer_of_a_stopped_preparation_is_kept(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MODULE, "SplitWriter", stop)
        with pytest.raises(KeyboardInterrupt):
            prepare([str(corpus)], out=tmp_path / "out", options=SMALL)
    monkeypatch.setattr(MODULE, "train_tokenizer", stop)
    assert prepare([str(corpus)], out=tmp_path / "out", options=SMALL)


@pytest.mark.parametrize(
    ("documents", "options", "said"),
    [
        ([], {}, "expected documents, found none"),
        (["", "  "], {}, "expected documents, found none"),
        (["only one"], {}, "the validation split is empty: 1 documents"),
        (["one", "two", "three"], {"validation": 0.999}, "the train split is empty"),
    ],
)
def test_an_empty_corpus_or_split_says_what_to_do(
    make: Make, documents: list[str], options: dict[str, object], said: str
) -> None:
    with pytest.raises(DataError, match=said):
        make(documents, **options)


def test_bad_lines_stop_it_or_are_counted(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "bad.txt"
    path.write_bytes("\n\n".join(sentences(100)).encode() + b"\n\n\xff\xff\n\nlast\n")
    with pytest.raises(DataError, match=r"bad.txt, line 201.*--skip-bad"):
        make(path)
    assert make(path, skip_bad=True).manifest.sources[0].skipped == 1


def test_a_sample_that_is_cut_is_said_and_does_not_depend_on_order(tmp_path: Path) -> None:
    one = write_blocks(tmp_path / "1.txt", sentences(200))
    two = write_blocks(tmp_path / "2.txt", sentences(200, seed=1))
    options = SMALL.model_copy(update={"sample": 20_000})
    said: list[str] = []
    for name, sources in (("a", [one, two]), ("b", [two, one])):
        prepare([str(path) for path in sources], out=tmp_path / name, options=options, report=said.append)
    tokenizers = [(tmp_path / name / "tokenizer/tokenizer.json").read_bytes() for name in "ab"]
    assert tokenizers[0] == tokenizers[1]
    assert re.match(r"warning: the tokenizer sees (1\d|20)\.\d kB of \d+\.\d kB \(sample=20000\)", said[0])


def test_a_vocabulary_that_the_text_cannot_fill_and_a_small_held_out_text_are_told(tmp_path: Path) -> None:
    path, said = write_blocks(tmp_path / "a.txt", sentences(200)), list[str]()
    made = prepare([str(path)], out=tmp_path / "few", options=PrepareOptions(vocabulary=8192), report=said.append)
    got, held = made.vocabulary.size, made.validation.token_count
    assert got < 8192 and held < 10_000
    unfilled, noisy = (line for line in said if line.startswith("warning: "))
    assert f"asked for a vocabulary of 8,192 tokens, got {got:,}: the text has no more" in unfilled
    assert f"only {held:,} tokens are held out (validation=0.02): held-out losses of models trained on" in noisy
    assert noisy.endswith("Hold out a larger share, or add text")
    said.clear()
    more = PrepareOptions(tokenizer=tmp_path / "few" / "tokenizer", extend=5000)
    write_blocks(path, [f"{text} {text[:9]}ish" for text in sentences(200, seed=1)])
    larger = prepare([str(path)], out=tmp_path / "more", options=more, report=said.append).vocabulary.size
    assert got < larger < got + 5000
    assert any(f"asked for a vocabulary of {got + 5000:,} tokens, got {larger:,}" in line for line in said)
    said.clear()
    full = PrepareOptions(vocabulary=512, validation=0.5)
    prepare([str(write_blocks(path, sentences(1500)))], out=tmp_path / "full", options=full, report=said.append)
    assert not [line for line in said if "vocabulary" in line or "held out" in line]


def test_a_full_disk_leaves_nothing_broken(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: object, content: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = prepare([str(corpus)], out=tmp_path / "out", options=SMALL)
    monkeypatch.setattr("bothways.corpus.hashed_files.HashedFile.write", full)
    other = SMALL.model_copy(update={"vocabulary": 600})
    with pytest.raises(MachineError, match=r"cannot be written: .* \(\d+ MiB free\). Make room"):
        prepare([str(corpus)], out=tmp_path / "out", options=other, overwrite=True)
    assert Shards.open(tmp_path / "out").manifest == before
    assert not (tmp_path / "out/.preparing").exists()


def test_a_folder_that_cannot_be_made_is_said(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError, match="cannot be written: Not a directory"):
        prepare([str(corpus)], out=tmp_path / "file" / "out", options=SMALL)


def test_misspelt_options_are_refused() -> None:
    with pytest.raises(ValueError, match="Extra inputs are not permitted"):
        PrepareOptions.model_validate({"vocabulry": 512})


def test_chinese_words_by_jieba(make: Make) -> None:
    pytest.importorskip("jieba", reason="needs the extra bothways[chinese]")
    documents = [f"我来到北京清华大学，编号{i}。" for i in range(60)]
    shards = make(documents, words="jieba")
    tokens, starts = shards.train.read(0, 200)
    first = int((tokens == shards.vocabulary.sep).argmax())
    begins = [*starts[: first + 1].nonzero()[0].tolist(), first + 1]
    words = [shards.tokenizer.decode(tokens[a:b]) for a, b in pairwise(begins)]
    assert words[1:7] == ["我", "来到", "北京", "清华大学", "，", "编号"]


def test_the_shared_corpora_prepare(shared_data: Path, tmp_path: Path, tokenizer_folder: Path) -> None:
    options = SMALL.model_copy(update={"tokenizer": tokenizer_folder})
    source = shared_data / "pretrain" / "en_speeches.txt.gz"
    manifest = prepare([str(source)], out=tmp_path / "out", options=options)
    assert manifest.sources[0].documents == 124
    assert manifest.train.unknown == 0
