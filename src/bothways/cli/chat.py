"""The command `chat`: a conversation with a model, or with several side by side, on a terminal or from a pipe."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bothways.cli.model import Run, show_parts
from bothways.cli.options import ConfigFile, Device, Settings, configured, from_record, repeated
from bothways.cli.show import load, room_for
from bothways.terminal import bold, draw, say

if TYPE_CHECKING:
    from bothways.inference import LanguageModel
    from bothways.inference.conversation import Conversation, Transcript

HELP = {
    "/help": "this list",
    "/system TEXT": "tell the model something before all that follows; nothing: show what it is told",
    "/undo": "take back the last question and its answer",
    "/reset": "begin anew; the system's message stays",
    "/save FILE": "write the conversation to a file, a line of messages",
    "/exit": "end; so does the end of the input (Ctrl-D)",
}


@from_record(
    "bothways.inference.decoding.options:GenerationOptions",
    *("max_new_tokens", "temperature", "top_k", "top_p", "seed"),
    usual="bothways.inference.decoding.options:CHAT",
)
def chat(
    context: typer.Context,
    *,
    run: Run,
    question: Annotated[str | None, typer.Argument(help="Left out, every line of the input is one.")] = None,
    system: Annotated[str | None, typer.Option(help="What the model is told before.")] = None,
    beside: Annotated[list[str], repeated("--beside", metavar="[NAME=]MODEL", about="Another that answers, too")],
    adapter: Annotated[
        list[str], repeated(metavar="NAME=FOLDER", about="An adapter of the model that answers, too, beside it")
    ],
    load_from: Annotated[
        Path | None, typer.Option("--load", metavar="FILE", help="Go on with the last conversation of a file.")
    ] = None,
    save_to: Annotated[
        Path | None,
        typer.Option("--save", metavar="FILE", help="Keep the conversation as the last line of a file."),
    ] = None,
    settings: Settings,
    config: ConfigFile = None,
    device: Device = None,
    **given: Any,
) -> None:
    """Talk with a model that has a chat template: one question and answer, or until the input ends.

    An answer has 512 tokens at most unless --max-new-tokens says otherwise; a model that was taught instructions
    answers as it was taught: the likeliest token every time, up to the length of its answers. On a terminal Ctrl-C
    stops an answer, and /help lists what else can be typed. Talks are saved as lines {"messages": [...]}, as chat
    models are trained on.
    """
    from bothways.inference.conversation import Conversation, read_transcripts
    from bothways.inference.decoding.options import CHAT, GenerationOptions

    def options(usual: Mapping[str, Any]) -> GenerationOptions:
        before = {**CHAT, **usual}
        example = "chat MODEL QUESTION"
        return configured(GenerationOptions, given, file=config, settings=settings, example=example, before=before)

    options({})  # what there is not is refused before a model is read
    room_for(save_to)
    earlier = read_transcripts(load_from) if load_from else []
    models = _models(str(run), beside, [_adapter(one) for one in adapter], device)
    talk = Talk({name: Conversation(model, options(_as_taught(model))) for name, model in models.items()})
    talk.resume(earlier, load_from)
    if save_to is not None:
        talk.keep(save_to, resumed=load_from)
    if system is not None:
        talk.each(lambda one: one.instruct(system))
    if question is not None:
        return talk.ask(question)
    return _listen(talk)


def _models(
    run: str, beside: list[str], adapters: list[tuple[str, str]], device: str | None
) -> dict[str, LanguageModel]:
    """{name: model} of all that answer: the model, itself with each of its adapters, and others.

    Raises:
        UsageError: two have one name.
    """
    from bothways.errors import UsageError

    name, place = _named(run)
    names = [name, *(one for one, _ in adapters), *(one for one, _ in map(_named, beside))]
    if twice := next((one for one in names if names.count(one) > 1), None):
        raise UsageError(f"two models are called {twice}: name them, --beside NAME=MODEL")
    first = load(Path(place), device=device, adapters=dict(adapters))
    talks = first.tokenizer.chat is not None or not adapters  # adapters may bring the chat template
    found = {**({name: first} if talks else {}), **{one: first.with_adapter(one) for one, _ in adapters}}
    return {**found, **{one: load(Path(model), device=device) for one, model in map(_named, beside)}}


def _as_taught(model: LanguageModel) -> dict[str, Any]:
    """{option: value} of a model that was taught instructions, as `chat` of Python has them."""
    from bothways.inference.writing import chatting_as, usual_values

    writes = chatting_as(model.engine).writes
    return usual_values(writes) if writes else {}


def _adapter(given: str) -> tuple[str, str]:
    """
    Raises:
        UsageError: it is not NAME=FOLDER.
    """
    from bothways.errors import UsageError

    name, equals, folder = given.partition("=")
    if not (name and equals and folder):
        raise UsageError(f"--adapter: expected NAME=FOLDER, got {given}")
    return name, folder


def _named(given: str) -> tuple[str, str]:
    """NAME=MODEL; without a name its path is one."""
    name, equals, model = given.partition("=")
    return (name, model) if equals and not Path(given).exists() else (given, given)


def _listen(talk: Talk) -> None:
    """Every line is a question, or a command."""
    terminal = sys.stdin.isatty()
    with _interruptible() if terminal else nullcontext():
        for line in _typed() if terminal else map(str.rstrip, sys.stdin):
            word, _, rest = line.partition(" ")
            if word == "/exit":
                return
            if re.fullmatch(r"/[a-z]+", word):
                talk.command(word, rest.strip(), terminal=terminal)
            elif line.strip():
                talk.ask(line, terminal=terminal)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C is an exception that can be caught, where it else ends the program."""
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)


def _typed() -> Iterator[str]:
    """The lines that somebody types, with the keys of readline; Ctrl-C empties a line, Ctrl-D ends."""
    with suppress(ImportError):  # not every Python has it
        import_module("readline")
    while True:
        try:
            yield input("> ")
        except KeyboardInterrupt:
            say()
        except EOFError:
            return say()


@dataclass(slots=True)
class Talk:
    """Conversations side by side, each with answers of its own to the same questions.

    kept    where they are saved after every answer
    before  the other conversations of that file
    resumed the numbers of the conversations, in the file that was loaded, which are gone on with
    asked   the questions so far
    elsewhere  what stood in other files before the conversations were first saved there
    """

    conversations: dict[str, Conversation]
    kept: Path | None = None
    before: list[Transcript] = field(default_factory=list)
    resumed: set[int] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    elsewhere: dict[Path, list[Transcript]] = field(default_factory=dict)

    def each(self, do: Callable[[Conversation], Any]) -> list[Any]:
        """Does something with every conversation."""
        return [do(one) for one in self.conversations.values()]

    def resume(self, earlier: list[Transcript], path: Path | None) -> None:
        """Goes on with the last conversation of each model; where there is one model, else with the very last."""
        from bothways.errors import DataError

        if path is None:
            return
        if not earlier:
            raise DataError(f"{path}: expected a line of messages, got none")
        last = {one.model: number for number, one in enumerate(earlier)}
        for name, conversation in self.conversations.items():
            number = last.get(name, len(earlier) - 1 if len(self.conversations) == 1 else last.get("", -1))
            if number < 0:  # those of other models are theirs
                continue
            conversation.messages = list(earlier[number].messages)
            self.resumed.add(number)

    def keep(self, path: Path, *, resumed: Path | None) -> None:
        """Saves there from now on; the conversation that is gone on with is replaced, others in the file stay."""
        from bothways.inference.conversation import read_transcripts

        self.before = read_transcripts(path) if path.is_file() else []
        if resumed is not None and path.is_file() and resumed.samefile(path):
            self.before = [one for number, one in enumerate(self.before) if number not in self.resumed]
        self.kept = path

    def ask(self, question: str, *, terminal: bool = False) -> None:
        """Shows the answers as they are generated, and saves them. On a terminal Ctrl-C ends an answer where it is, and
        what a model refuses is said instead of one."""
        from bothways.errors import UsageError

        self.asked.append(question)
        for name, one in self.conversations.items():
            if len(self.conversations) > 1:
                draw(bold(f"{name}:"))
            unread = one.unread
            try:
                with closing(one.ask(question)) as parts:
                    show_parts(parts)
            except KeyboardInterrupt:
                if not terminal:
                    raise
                say()
            except UsageError as error:
                if not terminal:
                    raise
                say(str(error), error=True)
            if one.unread > unread:
                say(
                    f"the first {one.unread} messages are no longer read: with them there is no room for an answer in "
                    f"the {one.model.engine.length:,} tokens that the model reads",
                    error=True,
                )
        self.save()

    def save(self, path: Path | None = None) -> None:
        """Writes the conversations behind those that the file had: to `path`, or where they are kept."""
        from bothways.claims import claimed
        from bothways.inference.conversation import read_transcripts, write_transcripts

        place = path or self.kept
        if place is None:
            return
        with claimed(place, kind="file"):
            here = self.kept is not None and place.resolve() == self.kept.resolve()
            if not here and place.resolve() not in self.elsewhere:
                self.elsewhere[place.resolve()] = read_transcripts(place) if place.is_file() else []
            before = self.before if here else self.elsewhere[place.resolve()]
            write_transcripts(place, [*before, *self._said()])

    def undo(self) -> bool:
        """Takes back the last question that anybody answered, of all that did; False: there was none."""
        while self.asked:
            question = self.asked.pop()
            answered = [one for one in self.conversations.values() if one.question == question]
            for one in answered:
                one.undo()
            if answered:
                return True
        return any(self.each(lambda one: one.undo()))  # those of a conversation that was loaded

    def _said(self) -> list[Transcript]:
        """The conversations, of those in which anything was asked."""
        from bothways.inference.conversation import Transcript

        several = len(self.conversations) > 1
        made = [Transcript(one.messages, name * several) for name, one in self.conversations.items()]
        return [one for one in made if any(message["role"] == "user" for message in one.messages)]

    def command(self, word: str, rest: str, *, terminal: bool = False) -> None:
        """One of `HELP`; on a terminal, what cannot be done is said, and the conversation goes on."""
        from bothways.errors import BothwaysError

        try:
            self._do(word, rest)
        except BothwaysError as error:
            if not terminal:
                raise
            say(str(error), error=True)

    def _do(self, word: str, rest: str) -> None:
        if word == "/undo":
            say("taken back" if self.undo() else "nothing was said yet")
            self.save()
        elif word == "/reset":
            self.before = [*self.before, *self._said()] if self.kept else []
            self.elsewhere.clear()  # what was saved so far is before what comes now
            self.each(lambda one: one.begin())
            self.asked.clear()
            say("begun anew")
        elif word == "/system" and rest:
            self.each(lambda one: one.instruct(rest))
        elif word == "/system":
            say(next(iter(self.each(lambda one: one.system))) or "it is told nothing")
        elif word == "/save" and rest:
            self.save(Path(rest))
            say(f"saved in {rest}")
        else:
            if word != "/help":
                say(f"expected one of these commands, got {word}; a question that begins so has a space before it")
            for name, about in HELP.items():
                say(f"  {name:13} {about}")
