"""Languages with little text, more often: shares that go with a power of the languages' sizes.

XLM (Conneau & Lample 2019, section 3.1) draws a language with a probability that goes with p^0.7, where p is its share
of the text, for texts and for pairs apart (the power as the authors give it for XNLI, facebookresearch/XLM#119).

Here it is done when text is prepared: a document of a rare language stands more often, so that the order of the rows
stays a matter of seed and epoch alone, an epoch still reads every token once, and what stands how often can be read in
the manifest. The largest language stands as often as it was asked to, one with a share p of the text and the largest
with P stands (P / p)^(1 - power) times as often.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from bothways.corpus.documents import Cleaner
from bothways.corpus.exclude import Exclusion
from bothways.corpus.options import PrepareOptions
from bothways.corpus.sources import Source
from bothways.errors import UsageError


def balanced(sources: Sequence[Source], options: PrepareOptions, exclusion: Exclusion | None) -> tuple[Source, ...]:
    """The sources with weights that balance their languages, if the options say so; all text is read once for it.

    Raises:
        UsageError: no language was named.
    """
    if options.balance is None:
        return tuple(sources)
    if not all(source.languages for source in sources):
        raise UsageError("balance needs languages: name one for every source, en=english.txt")
    sizes: Counter[tuple[str, ...]] = Counter()  # bytes that training reads, of a language or a pair of them
    cleaner = Cleaner(options, exclusion)
    for batch in cleaner.read(sources):
        train = ~batch.held
        sizes[batch.languages] += int((batch.bytes[train] * batch.copies[train]).sum())
    largest = {
        count: max([size for names, size in sizes.items() if len(names) == count], default=1) for count in (1, 2)
    }
    factor = {names: (largest[len(names)] / max(1, size)) ** (1 - options.balance) for names, size in sizes.items()}
    return tuple(
        replace(source, weight=source.weight * round(factor.get(source.languages, 1.0), 4)) for source in sources
    )
