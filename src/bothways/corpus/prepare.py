"""Sources to a folder of shards, in two passes: one to train the tokenizer, one to encode.

Everything is written into `OUT/.preparing` and moved to its place when it is whole, the index last: a preparation that
was killed leaves nothing that could be taken for shards, and run again it gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from bothways.corpus.documents import Cleaner, Documents
from bothways.corpus.exclude import Exclusion, read_items
from bothways.corpus.folder import Folder
from bothways.corpus.lay import LAYS
from bothways.corpus.manifest import VERSION, Manifest, file_hash, vocabulary_record
from bothways.corpus.options import PrepareOptions
from bothways.corpus.sample import draw_sample
from bothways.corpus.shards import TOKENIZER, SplitWriter
from bothways.corpus.sources import Source, find_sources
from bothways.errors import DataError
from bothways.text import Tokenizer, train_tokenizer

_REPORT_EVERY = 64 << 20  # bytes of text
_SMALL = 10_000  # pieces of validation below which its loss is noisy

Say = Callable[[str], None]


def prepare(
    sources: Sequence[str],
    *,
    out: str | Path,
    options: PrepareOptions | None = None,
    overwrite: bool = False,
    report: Say = lambda line: None,
) -> Manifest:
    """Turns text into shards.

    Args:
        sources: `python-docs`, files, folders; `PATH=WEIGHT` has its training documents stand WEIGHT times.
        out: the folder to make. One that holds the same preparation already is left as it is.
        overwrite: replace another preparation.
        report: told a line now and then.

    Raises:
        UsageError: a source or an option that cannot be.
        DataError: text that is missing, does not parse, or leaves a split empty.
        MachineError: the folder cannot be written, or the disk is full.
    """
    options = options or PrepareOptions()
    found = find_sources(sources)
    folder = Folder(Path(out), found, options)
    if done := folder.finished(overwrite=overwrite):
        report(f"{out} holds this preparation already: nothing to do")
        return done
    exclusion = Exclusion(read_items(options.exclude)) if options.exclude else None
    if exclusion and exclusion.too_short:
        report(f"{exclusion.too_short} of the items to exclude are too short to be looked for")
    with folder.work() as work:
        tokenizer = _tokenizer(work, found, options, exclusion, report)
        manifest = _encode(work, tokenizer, found, options, exclusion, report)
        folder.finish(manifest)
    return manifest


def _tokenizer(
    work: Path, sources: Sequence[Source], options: PrepareOptions, exclusion: Exclusion | None, report: Say
) -> Tokenizer:
    """The tokenizer taken, kept from a preparation that was stopped, or trained now; saved before any shard."""
    place = work / TOKENIZER
    if not place.exists():
        if options.tokenizer:
            tokenizer = Tokenizer.load(options.tokenizer)
        else:
            sample = draw_sample(Cleaner(options, exclusion).read(sources), options.sample)
            if not sample.texts:
                raise DataError(_EMPTY)
            if sample.bytes < sample.total:
                report(
                    f"warning: the tokenizer is trained on {_mb(sample.bytes)} of {_mb(sample.total)} (sample={options.sample})"
                )
            report(f"training a tokenizer ({options.kind}, {options.vocabulary} pieces) on {_mb(sample.bytes)}")
            tokenizer = train_tokenizer(sample.texts, kind=options.kind, size=options.vocabulary)
        half = work / f"{TOKENIZER}.half"
        tokenizer.save(half)
        half.rename(place)
    return Tokenizer.load(place)


def _encode(
    work: Path,
    tokenizer: Tokenizer,
    sources: Sequence[Source],
    options: PrepareOptions,
    exclusion: Exclusion | None,
    report: Say,
) -> Manifest:
    """Writes both splits."""
    vocabulary = tokenizer.vocabulary
    piece_type = "uint16" if vocabulary.size <= 1 << 16 else "uint32"
    train, validation = (SplitWriter(work, split, piece_type) for split in ("train", "validation"))
    cleaner = Cleaner(options, exclusion)
    done = 0
    for batch in cleaner.read(sources):
        _write(batch, tokenizer, options, train=train, validation=validation)
        before, done = done, done + int(batch.bytes.sum())
        if done // _REPORT_EVERY > before // _REPORT_EVERY:
            report(f"encoded {_mb(done)}")
    splits = train.close(), validation.close()
    _check(splits[0].documents, splits[1].documents, options)
    if splits[1].pieces < _SMALL:
        report(
            f"warning: only {splits[1].pieces} pieces are held out: its loss will be noisy (validation={options.validation})"
        )
    return Manifest(
        version=VERSION,
        tokenizer=file_hash(work / TOKENIZER / "tokenizer.json"),
        vocabulary=vocabulary_record(vocabulary),
        piece_type=piece_type,
        options=_without_folders(options),
        sources=tuple(cleaner.counts),
        train=splits[0],
        validation=splits[1],
    )


def _write(
    batch: Documents, tokenizer: Tokenizer, options: PrepareOptions, *, train: SplitWriter, validation: SplitWriter
) -> None:
    """Encodes a batch and writes its first copies, then its second: copies of a document never share a row."""
    if not batch.texts:
        return
    pieces, words, lengths = LAYS[options.words](tokenizer, batch.texts)
    for writer, mine in ((train, ~batch.held), (validation, batch.held)):
        for copy in range(int(batch.copies.max())):
            chosen = mine & (batch.copies > copy)
            at = np.repeat(chosen, lengths)
            laid = pieces[at]
            writer.append(laid, words[at])
            writer.documents += int(chosen.sum())
            writer.bytes += int(batch.bytes[chosen].sum())
            writer.unknown += int((laid == tokenizer.vocabulary.unk).sum())


_EMPTY = "expected documents, found none: the sources are empty, or all was left out (duplicates, exclude, skip_bad, weights)"


def _check(train: int, validation: int, options: PrepareOptions) -> None:
    if not train + validation:
        raise DataError(_EMPTY)
    for split, count in (("train", train), ("validation", validation)):
        if not count:
            raise DataError(
                f"the {split} split is empty: {train + validation} documents were split by their hash, "
                f"{options.validation:g} of them for validation. Bring more documents, change validation=..., "
                "or make smaller ones (documents=lines)."
            )


def _without_folders(options: PrepareOptions) -> dict[str, object]:
    """The options as the manifest keeps them: names of files, so that it does not depend on where they lie."""
    record = options.model_dump(mode="json")
    record["tokenizer"] = options.tokenizer and options.tokenizer.name
    record["exclude"] = [path.name for path in options.exclude]
    return record


def _mb(count: int) -> str:
    return f"{count / 1e6:.1f} MB"
