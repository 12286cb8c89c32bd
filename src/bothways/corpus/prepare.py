"""Sources to a folder of shards, in two passes: one to train the tokenizer, one to encode."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bothways.arguments import checked, several
from bothways.claims import claimed
from bothways.config import settled
from bothways.corpus.balance import balanced
from bothways.corpus.document_index import records
from bothways.corpus.documents import Cleaner, Documents
from bothways.corpus.exclude import Exclusion, read_items
from bothways.corpus.folder import Folder
from bothways.corpus.hashed_files import file_record
from bothways.corpus.manifest import VERSION, Manifest, Roles, SourceCount, TokenType
from bothways.corpus.options import PrepareOptions, with_tokenizer
from bothways.corpus.sample import TokenizerSample, draw_sample
from bothways.corpus.shards import TOKENIZER, SplitWriter
from bothways.corpus.sources import Source, find_sources, languages_of
from bothways.corpus.stream import tokenize_documents
from bothways.errors import DataError
from bothways.text import Tokenizer, extend_tokenizer, train_tokenizer
from bothways.text.characters import jieba_starts

Say = Callable[[str], None]

_REPORT_EVERY = 64 << 20  # bytes of text
_NOISY = 10_000  # a validation loss over fewer tokens


@settled(PrepareOptions, "options")
@checked
def prepare(
    sources: Sequence[str | Path],
    *,
    out: str | Path,
    pairs: Sequence[str] = (),
    options: PrepareOptions | None = None,
    overwrite: bool = False,
    report: Say = lambda line: None,
) -> Manifest:
    """Turns text into shards. Stopped at any moment and run again, it gives the same bytes.

    Args:
        sources: one or several: `python-docs`, files, folders; `PATH=WEIGHT` has its training documents stand WEIGHT
            times, `en=PATH` says their language.
        out: the folder to make. One that holds the same preparation already is left as it is.
        pairs: `en-fr=PATH`, files of pairs in two languages.
        options: a record, or its fields as keywords: prepare("books", out="shards", vocabulary=16384).
        overwrite: replace another preparation.
        report: called with a line now and then.

    Raises:
        UsageError: a source or an option that cannot be, or `out` holds something else, or another writes there.
        DataError: text that is missing, does not parse, or leaves a split empty.
        MachineError: the folder cannot be written, or the disk is full.
    """
    options = with_tokenizer(options or PrepareOptions())
    found = find_sources(_listed(sources), _listed(pairs))
    folder = Folder(Path(out), found, options)
    done = folder.finished(overwrite=overwrite)
    if done is None:
        with claimed(folder.path):
            done = folder.finished(overwrite=overwrite)  # meanwhile another may have made it
            if done is None:
                return _prepared(folder, found, options, report)
    folder.tidy()
    report(f"{out} holds this preparation already: nothing to do")
    return done


def _prepared(folder: Folder, sources: Sequence[Source], options: PrepareOptions, report: Say) -> Manifest:
    if options.words == "jieba":
        jieba_starts("")  # where it is not installed, that is said before anything is read
    exclusion = Exclusion(read_items(options.exclude)) if options.exclude else None
    if exclusion and exclusion.too_short:
        report(f"{exclusion.too_short} items to exclude are too short to be looked for, {exclusion.items} are not")
    with folder.work() as work:
        job = _Job(balanced(sources, options, exclusion), options, exclusion, work, report)
        manifest = job.encode(job.tokenizer())
        folder.finish(manifest)
    return manifest


def _listed(sources: object) -> list[str]:
    """One source or several, each as text."""
    given = [sources] if isinstance(sources, Path) else sources
    if isinstance(given, list | tuple):
        given = [str(one) if isinstance(one, Path) else one for one in given]
    return several(given, "source")


@dataclass(frozen=True, slots=True)
class _Job:
    """One preparation under way in the folder `work`."""

    sources: Sequence[Source]
    options: PrepareOptions
    exclusion: Exclusion | None
    work: Path
    report: Say

    def tokenizer(self) -> Tokenizer:
        """Taken, or left by a preparation that was stopped, or trained now; on disk before any shard."""
        place = self.work / TOKENIZER
        if not place.exists():
            tokenizer = self._taken() if self.options.tokenizer else self._train()
            half = self.work / f"{TOKENIZER}.half"
            tokenizer.save(half)
            half.rename(place)
        return Tokenizer.load(place)

    def _taken(self) -> Tokenizer:
        assert self.options.tokenizer is not None
        tokenizer = Tokenizer.load(self.options.tokenizer).with_all_roles()
        if self.options.extend is None:
            return tokenizer
        self.report(f"adding up to {self.options.extend} tokens to a tokenizer of {tokenizer.vocabulary.size}")
        extended = extend_tokenizer(tokenizer, self._sample().texts, count=self.options.extend)
        self._check_filled(extended, wanted=tokenizer.vocabulary.size + self.options.extend)
        return extended

    def _train(self) -> Tokenizer:
        kind, size, sample = self.options.kind, self.options.vocabulary, self._sample()
        self.report(f"training a tokenizer ({kind}, {size} tokens) on {_mb(sample.bytes)}")
        tokenizer = train_tokenizer(sample.texts, kind=kind, size=size)
        self._check_filled(tokenizer, wanted=size)
        return tokenizer

    def _check_filled(self, tokenizer: Tokenizer, *, wanted: int) -> None:
        if (size := tokenizer.vocabulary.size) < wanted:
            self.report(
                f"warning: asked for a vocabulary of {wanted:,} tokens, got {size:,}: the text has no more to fill it "
                "with. Models are built for what there is; add text for more"
            )

    def _sample(self) -> TokenizerSample:
        """The text that a tokenizer sees."""
        cleaner = Cleaner(self.options, self.exclusion)
        sample = draw_sample(cleaner.read(self.sources), self.options.sample)
        if not sample.texts:
            raise _empty(cleaner.counts)
        if sample.bytes < sample.total:
            held = f"{_mb(sample.bytes)} of {_mb(sample.total)} (sample={self.options.sample})"
            self.report(f"warning: the tokenizer sees {held}")
        return sample

    def encode(self, tokenizer: Tokenizer) -> Manifest:
        """Writes both splits."""
        token_type: TokenType = "uint16" if tokenizer.vocabulary.size <= 1 << 16 else "uint32"
        cleaner = Cleaner(self.options, self.exclusion)
        with (
            SplitWriter(self.work, "train", token_type) as train,
            SplitWriter(self.work, "validation", token_type) as validation,
        ):
            done = 0
            for batch in cleaner.read(self.sources):
                self._write(batch, tokenizer, train=train, validation=validation)
                before, done = done, done + int(batch.bytes.sum())
                if done // _REPORT_EVERY > before // _REPORT_EVERY:
                    self.report(f"encoded {_mb(done)}")
            splits = train.finish(), validation.finish()
        if not splits[0].documents + splits[1].documents:
            raise _empty(cleaner.counts)
        _check(splits[0].documents, splits[1].documents, self.options)
        languages = languages_of(self.sources)
        _check_languages(languages, cleaner.counts)
        if (held := splits[1].token_count) < _NOISY:
            self.report(
                f"warning: only {held:,} tokens are held out (validation={self.options.validation:g}): "
                f"held-out losses of models trained on these shards will be noisy below {_NOISY:,}. Hold out a larger "
                "share, or add text"
            )
        return Manifest(
            version=VERSION,
            tokenizer=tuple(
                file_record(path, f"{TOKENIZER}/{path.name}") for path in sorted((self.work / TOKENIZER).iterdir())
            ),
            vocabulary=Roles.of(tokenizer.vocabulary),
            token_type=token_type,
            options=_without_folders(self.options),
            sources=tuple(cleaner.counts),
            train=splits[0],
            validation=splits[1],
            languages=languages,
        )

    def _write(self, batch: Documents, tokenizer: Tokenizer, *, train: SplitWriter, validation: SplitWriter) -> None:
        """Encodes a batch and writes it once, then its documents that stand twice, and so on."""
        if not batch.sides:
            return
        (tokens, words, lengths), firsts = tokenize_documents(tokenizer, batch.sides, words=self.options.words)
        numbers = tuple(map(languages_of(self.sources).index, batch.languages))
        for writer, mine in ((train, ~batch.held), (validation, batch.held)):
            for copy in range(int(batch.copies.max())):
                chosen = mine & (batch.copies > copy)
                at = np.repeat(chosen, lengths)
                laid = tokens[at]
                writer.append(laid, words[at])
                if numbers:
                    writer.note(records(lengths[chosen], firsts[chosen], numbers))
                writer.documents += int(chosen.sum())
                writer.bytes += int(batch.bytes[chosen].sum())
                writer.unknown += int((laid == tokenizer.vocabulary.unk).sum())


def _empty(counts: Sequence[SourceCount]) -> DataError:
    reasons = {"read": "documents", "double": "duplicates", "excluded": "excluded", "bad": "skipped"}
    counted = ", ".join(f"{sum(getattr(count, field) for count in counts)} {name}" for name, field in reasons.items())
    return DataError(f"expected documents, found none that can be used: {counted}. Name sources that hold text.")


def _check(train: int, validation: int, options: PrepareOptions) -> None:
    """Neither split may be empty."""
    for split, count in (("train", train), ("validation", validation)):
        if not count:
            raise DataError(
                f"the {split} split is empty: {train + validation} documents were split by their hash, a share of "
                f"{options.validation:g} for validation. Bring more documents, change it (--set validation=...), or "
                "make smaller documents (--documents lines)."
            )


def _check_languages(languages: Sequence[str], counts: Sequence[SourceCount]) -> None:
    """A language that was named has documents."""
    for name in languages:
        own = [count for count in counts if name in count.languages]
        if not sum(count.documents - count.duplicates - count.excluded - count.unweighted for count in own):
            raise DataError(
                f"{name}: expected documents in this language, found none that can be used in "
                f"{', '.join(count.name for count in own)}. Bring text, or leave the language out."
            )


def _without_folders(options: PrepareOptions) -> dict[str, object]:
    """The options as the manifest keeps them: with files' names, so that it does not depend on where they lie."""
    record = options.model_dump(mode="json")
    record["tokenizer"] = options.tokenizer and options.tokenizer.name
    record["exclude"] = [path.name for path in options.exclude]
    return record


def _mb(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"
