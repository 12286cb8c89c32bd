"""Names of others, in every command: a file, a folder, a label, a probe, a word that look like markup or need quoting.

Every command is asked once, in one folder of such a name; what it says is looked through here, and every command that
it suggests is read back as a shell and the command line read it.
"""

from __future__ import annotations

import ast
import json
import shlex
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from bothways.cli import GROUPS, app
from bothways.errors import BothwaysError, ModelError, Stopped
from bothways.evaluation.comparison.metrics import probe_metric
from bothways.inference.loading import folder_of
from bothways.terminal import command
from bothways.training import loop
from bothways.training.search import SearchConfig
from bothways.training.search.recipe import again
from tests.cli.conftest import SMALL, Invoke
from tests.cli.made import budget, found
from tests.evaluation.comparison.test_results import result, whole_result
from tests.inference.made import make_run
from tests.inference.test_detect import DETECTOR
from tests.tasks.conftest import reviews, write

SOURCE = Path(__file__).resolve().parents[2] / "src" / "bothways"
COMMANDS = [command.__name__.replace("_", "-") for group in GROUPS.values() for command in group]
NASTY = "a'b [red] [/b]"
TEXT = "the [/b] [red] boat went :smile: down"
SETS = [word for key, value in SMALL.items() for word in ("--set", f"{key}={value}")]


class Asked:
    """Every command once, when it is wanted: `asked["fill"]` is what it said."""

    def __init__(self, invoke: Invoke, folder: Path) -> None:
        self.invoke, self.folder = invoke, folder
        self._said: dict[str, str] = {}

    def __getitem__(self, name: str) -> str:
        if name not in self._said:
            self._said[name] = self.run(name, *getattr(self, name.replace("-", "_"))())
        return self._said[name]

    def run(self, *words: object) -> str:
        done = self.invoke(*words)
        assert done.exit_code == 0, done.output
        return done.output

    def made(self, name: str) -> Path:
        """What a command leaves, made once."""
        self[name]
        return self.folder / {"prepare": "sh ards", "finetune": "tuned"}[name]

    def at(self, name: str) -> Path:
        """A place, in a folder that is there: [/b] is two."""
        (self.folder / name).parent.mkdir(exist_ok=True)
        return self.folder / name

    def file(self, name: str, *records: object) -> Path:
        return write(self.folder / f"{name} [red].jsonl", *records)

    def model(self) -> Path:
        place = self.at("m [red]")
        return place if place.exists() else make_run(place)

    def labelled(self) -> Path:
        records = [record | {"label": f"[/b] {record['label']}"} for record in reviews()]
        return self.file("labelled", *records, {"text": "", "label": "[/b] bad"})

    # The arguments of every command, by its name.

    def prepare(self) -> list[object]:
        lines = [f"{TEXT}, the {i}th with {i * i} bags of grain" for i in range(400)]
        (self.folder / "notes[red].txt").write_text("\n".join(lines), encoding="utf-8")
        options = ["--documents", "lines", "--vocabulary", 512, "--set", "validation=0.2"]
        return [self.folder / "notes[red].txt", "--out", self.folder / "sh ards", *options]

    def verify(self) -> list[object]:
        return [self.made("prepare")]

    def show_rows(self) -> list[object]:
        return [self.made("prepare")]

    def corpus_report(self) -> list[object]:
        return [self.made("prepare"), "--out", self.at("p[/b].html")]

    def objectives(self) -> list[object]:
        return []

    def show_objective(self) -> list[object]:
        return ["causal", TEXT]

    def plan(self) -> list[object]:
        return [self.made("prepare"), "--time", "1h"]

    def pretrain(self) -> list[object]:
        return [self.made("prepare"), "--out", self.folder / "run", "--budget", "1steps", *SETS]

    def search(self) -> list[object]:
        return [self.made("prepare"), "--hours", 1, "--out", self.at("s[/b]")]

    def babylm(self) -> list[object]:
        return [self.folder / "notes[red].txt", "--out", self.at("b[/b]")]

    def compare(self) -> list[object]:
        return [self.made("prepare"), "--objectives", "causal; mlm", "--out", self.folder / "cmp"]

    def finetune(self) -> list[object]:
        data = self.labelled()
        files = ["--train", data, "--test", data, "--out", self.folder / "tuned"]
        return [self.model(), *files, "--set", "epochs=1", "--skip-bad"]

    def _pattern(self) -> list[object]:
        return ["--pattern", "{text} [/b] is [MASK][MASK][MASK]", "--verbaliser", "[/b] good=quick,[/b] bad=fox"]

    def prompt(self) -> list[object]:
        return [self.model(), self.labelled(), *self._pattern(), "--out", self.at("o[/b].jsonl"), "--skip-bad"]

    def pet(self) -> list[object]:
        data, few = (
            self.labelled(),
            [word for one in ("steps=1", "repetitions=1", "epochs=1") for word in ("--set", one)],
        )
        files = ["--train", data, "--unlabelled", data, "--out", self.folder / "pet"]
        return [self.model(), *files, *self._pattern(), *few, "--skip-bad"]

    def predict(self) -> list[object]:
        data = self.labelled()
        return [self.made("finetune"), data, "--out", self.at("out[/b].jsonl"), "--skip-bad"]

    def evaluate(self) -> list[object]:
        return [self.made("finetune"), self.labelled(), "--skip-bad"]

    def models(self) -> list[object]:
        return []

    def fill(self) -> list[object]:
        return [self.model(), f"{TEXT} [MASK]", "--top-k", 1]

    def infill(self) -> list[object]:
        return [self.model(), "[/b] [GAP]", "--length", 1]

    def generate(self) -> list[object]:
        return [self.model(), "[/b]", "--max-new-tokens", 2]

    def chat(self) -> list[object]:
        model = self.at("chat [/b]")
        shutil.copytree(self.model() / "decoder", model)
        (model / "chat_template.jinja").write_text("{{ messages[0]['content'] }}", encoding="utf-8")
        return [model, "[/b]", "--max-new-tokens", 2]

    def adapted(self) -> Path:
        place = self.folder / "ad apted"
        if not place.exists():
            words = [self.model(), "--train", self.labelled(), "--out", place, "--set", "epochs=1", "--skip-bad"]
            self.invoke("finetune", *words, "--adapter", "lora(rank=2)")
        return place

    def merge(self) -> list[object]:
        return [self.adapted(), "--out", self.at("whole [/b]") / "model"]

    def judge(self) -> list[object]:
        prompts = self.at("asked [red].jsonl")
        prompts.write_text(json.dumps({"prompt": TEXT, "rules": {"lacks": "[/b]"}}), encoding="utf-8")
        return [self.model(), "--prompts", prompts, "--max-new-tokens", 2, "--out", self.at("j[/b].html")]

    def score(self) -> list[object]:
        return [self.model(), TEXT]

    def embed(self) -> list[object]:
        return [self.model(), TEXT]

    def detect(self) -> list[object]:
        return [make_run(self.at("d [/b]"), DETECTOR, heads=["replaced"]), "the [/b] boat"]

    def probe(self) -> list[object]:
        pairs = [{"good": text, "bad": text[::-1]} for text in ("the fox", "a lazy dog", "once upon")]
        return [self.model(), "--pairs", self.file("one", *pairs), "--pairs", self.file("two", *pairs)]

    def probe_layers(self) -> list[object]:
        data = self.file("classes", *reviews(1))
        return [self.model(), "--task", "classify", "--train", data, "--test", data]

    def contextuality(self) -> list[object]:
        texts = self.at("t[/b].txt")
        texts.write_text("\n".join(f"{TEXT} {n}" for n in range(8)), encoding="utf-8")
        return [self.model(), "--texts", texts, "--out", self.at("c[/b].html")]

    def attention(self) -> list[object]:
        return [self.model(), TEXT, "--out", self.at("a[/b].html")]

    def word_vectors(self) -> list[object]:
        return [self.made("prepare"), "--out", self.at("v[/b].txt"), "--dim", 4, "--epochs", 1]

    def nearest(self) -> list[object]:
        place = self.at("w[/b].txt")
        place.write_text("2 1\n[red] 1\n[/b] 1\n", encoding="utf-8")
        return [place, "[red]"]

    def doctor(self) -> list[object]:
        return ["--folder", self.folder, "--seconds", 0]


@pytest.fixture(scope="module")
def asked(invoke: Invoke, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    folder = tmp_path_factory.mktemp("names") / NASTY
    folder.mkdir(parents=True)
    compared = whole_result()
    compared["metrics"].append(result({"mlm": 0.3, "causal": 0.4}, metric=probe_metric("p[/b]")))
    compared["contamination"][0]["eval_data"] = "p[/b]"
    with pytest.MonkeyPatch.context() as patch:  # none is trained, nor is the machine measured
        patch.setattr("bothways.evaluation.comparison.compare", lambda config, **told: compared)
        patch.setattr("bothways.evaluation.babylm.babylm", lambda config, **told: budget())
        patch.setattr("bothways.training.search.search", lambda config, **told: found(config.out))
        patch.setattr("bothways.planning.here.speed_here", lambda *args, **given: lambda shape: 1e4)
        yield Asked(invoke, folder)


SAID: dict[str, Callable[[Asked], list[str]]] = {
    "prepare": lambda asked: ["notes[red].txt", command("show-rows", asked.folder / "sh ards")],
    "verify": lambda asked: [f"{asked.folder / 'sh ards'} is whole"],
    "show-rows": lambda asked: ["| boat", "[CLS]"],
    "corpus-report": lambda asked: [f"page  {asked.folder}/p[/b].html"],
    "objectives": lambda asked: ["block-diffusion", '"mlm(rate=0.15, '],
    "show-objective": lambda asked: ["[/b]", "[red]", ":smile:"],
    "plan": lambda asked: [command("pretrain", asked.folder / "sh ards")],
    "pretrain": lambda asked: [f"model   {asked.folder}/run/encoder", f"opening {asked.folder}/sh ards,"],
    "search": lambda asked: [f"recipe  {asked.folder}/s[/b]/recipe.py", "rate x 2"],
    "babylm": lambda asked: ["This model, p[/b]", f"report  {asked.folder}/b[/b]/babylm.html"],
    "compare": lambda asked: ["p[/b] ↑", "probe p[/b]", f"report  {asked.folder}/cmp/comparison.html"],
    "finetune": lambda asked: ["labelled [red].jsonl, line 49: field 'text'", f"in {asked.folder}/tuned/model"],
    "prompt": lambda asked: [f"48 answers in {asked.folder}/o[/b].jsonl", "skipped  ", "always '[/b] good'"],
    "pet": lambda asked: ["labelled [red].jsonl, line 49: field 'text'", "{text} [/b] is", "[/b] good", "/pet/model"],
    "predict": lambda asked: [f"48 answers in {asked.folder}/out[/b].jsonl", "skipped  ", "labelled [red].jsonl, line"],
    "evaluate": lambda asked: ["skipped  ", "labelled [red].jsonl, line"],
    "merge": lambda asked: [f"saved in {asked.folder}/whole [/b]/model"],
    "judge": lambda asked: ["m [red]", f"page  {asked.folder}/j[/b].html"],
    "models": lambda asked: ["modernbert", "masked tokens"],
    "fill": lambda asked: [TEXT],
    "infill": lambda asked: ["[/b]"],
    "generate": lambda asked: ["[/b]"],
    "score": lambda asked: [TEXT],
    "embed": lambda asked: [TEXT],
    "detect": lambda asked: ["  [/\n"],
    "probe": lambda asked: ["m [red]", "(one [red])", "(two [red])"],
    "probe-layers": lambda asked: ["m [red]: the most common answer"],
    "contextuality": lambda asked: ["m [red], ", f"page  {asked.folder}/c[/b].html"],
    "attention": lambda asked: [f"page  {asked.folder}/a[/b].html"],
    "word-vectors": lambda asked: [f"{asked.folder}/v[/b].txt: ", command("nearest", asked.folder / "v[/b].txt")],
    "nearest": lambda asked: ["[/b]"],
    "chat": lambda asked: [],  # the answer alone is printed
    "doctor": lambda asked: [f"{asked.folder} can be written to"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_name_is_said_as_it_is(name: str, asked: Asked) -> None:
    said = asked[name]
    assert [part for part in SAID[name](asked) if part not in said] == [], said


def test_labels_are_said_as_they_are(asked: Asked) -> None:
    answers = (asked.folder / "out[/b].jsonl").read_text(encoding="utf-8") if asked["predict"] else ""
    assert {json.loads(line)["label"] for line in answers.splitlines()} <= {"[/b] good", "[/b] bad"}


def stopped(asked: Asked, name: str, module: str) -> str:
    """What a command says that is stopped in its first step; `module` has the loop that it calls."""
    words = getattr(asked, name)()
    words[words.index("--out") + 1] = asked.at("stopped [/b]") / name

    def stopping(work: Any, **given: Any) -> Any:
        return loop.train(work, **given, stop=lambda: signal.SIGINT)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stopped) as caught:
        patch.setattr(f"{module}.train", stopping)
        asked.invoke(name, *words)
    return str(caught.value)


def other_tokenizer(asked: Asked) -> str:
    """What is said of rows to mix in that are of another tokenizer."""
    options = ["--documents", "lines", "--vocabulary", 600, "--set", "validation=0.2"]
    asked.run("prepare", asked.folder / "notes[red].txt", "--out", asked.folder / "other", *options)
    mixed = ["--out", asked.folder / "mixed", "--set", f"replay={asked.folder / 'other'}"]
    with pytest.raises(BothwaysError) as caught:
        asked.invoke("pretrain", asked.made("prepare"), *mixed)
    return str(caught.value)


def suggested(asked: Asked, name: str, face: str) -> str:
    """What is suggested for a run that left this face, which fills no [MASK]."""
    from bothways.cli.pretraining import _show_result

    (asked.folder / name / face).mkdir(parents=True)
    (asked.folder / name / face / "bothways.json").write_text('{"hidden": null}', encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        printed = list[str]()
        patch.setattr("bothways.cli.pretraining.say", printed.append)
        _show_result(asked.folder / name, json=False)
    return "\n".join(printed)


def whole_model(asked: Asked) -> str:
    """What is said of an adapter where a whole model is expected."""
    with pytest.raises(ModelError) as caught:
        folder_of(asked.adapted())
    return str(caught.value).partition("merge it first, ")[2]


def card(asked: Asked) -> str:
    asked["pretrain"]
    return (asked.folder / "run" / "encoder" / "README.md").read_text(encoding="utf-8").replace("`", "\n")


SUGGESTED: dict[tuple[str, str], Callable[[Asked], str]] = {
    ("cli/corpus.py", "show-rows"): lambda asked: asked["prepare"],
    ("cli/corpus.py", "pretrain"): lambda asked: asked["prepare"],
    ("cli/planning.py", "pretrain"): lambda asked: asked["plan"],
    ("cli/pretraining.py", "fill"): lambda asked: asked["pretrain"],
    ("cli/pretraining.py", "generate"): lambda asked: asked["pretrain"],
    ("cli/pretraining.py", "detect"): lambda asked: suggested(asked, "electra", "generator"),
    ("cli/pretraining.py", "embed"): lambda asked: suggested(asked, "elmo", "encoder"),
    ("cli/vectors.py", "nearest"): lambda asked: asked["word-vectors"],
    ("inference/loading.py", "merge"): whole_model,
    ("cli/searching.py", "pretrain"): lambda asked: asked["search"],
    ("training/search/recipe.py", "search"): lambda asked: again(SearchConfig(shards=asked.made("prepare"), hours=2)),
    ("training/pretraining/setup.py", "prepare"): other_tokenizer,
    ("training/pretraining/artifacts.py", "pretrain"): card,
    ("training/pretraining/run.py", "pretrain"): lambda asked: stopped(asked, "pretrain", "bothways.training.fit"),
    ("training/finetuning/epochs.py", "finetune"): lambda asked: stopped(asked, "finetune", "bothways.training.fit"),
    ("training/prompting/run.py", "pet"): lambda asked: stopped(asked, "pet", "bothways.training.prompting.member"),
}
"""{(file, command): what prints it}, of every call of `command` in the package."""


def test_every_place_that_suggests_a_command_is_below() -> None:
    """Nor does any put a value into a command by itself."""
    found, by_hand = set(), set()
    known = tuple(f"bothways {name} " for name in COMMANDS)
    for file in SOURCE.rglob("*.py"):
        name = file.relative_to(SOURCE).as_posix()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            called = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else None
            if called in ("command", "again") and node.args:
                if isinstance(node.args[0], ast.Constant):
                    found.add((name, node.args[0].value))
                else:  # the name is an argument there, too: who calls it names it
                    assert name in ("training/fit.py", "training/started.py", "training/search/recipe.py")
            if isinstance(node, ast.JoinedStr) and any(isinstance(part, ast.FormattedValue) for part in node.values):
                text = "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
                rest = [text.partition(start)[2] for start in known if start in text]
                by_hand |= {(name, line) for line in rest if "{}" in line}
    assert found == SUGGESTED.keys()
    assert by_hand <= {  # the name of a task of ours, and a number of processes
        ("inference/pipeline.py", "MODEL --task {} --train FILE"),
        ("training/search/recipe.py", "SHARDS --config THIS_FILE --out RUN{}"),
    }


@pytest.mark.parametrize("place", SUGGESTED, ids=" ".join)
def test_a_suggested_command_is_read_back_as_it_was_meant(place: tuple[str, str], asked: Asked) -> None:
    said = SUGGESTED[place](asked)
    name = place[1]
    (line,) = (line for line in said.splitlines() if f"bothways {name} " in line)
    words = shlex.split("bothways" + line.partition("bothways")[2])
    assert words[:2] == ["bothways", name]
    group: Any = typer.main.get_command(app)
    given = group.get_command(typer.Context(group), name).make_context(name, words[2:]).params
    paths = [str(value) for value in given.values() if str(value).startswith(str(asked.folder))]
    assert paths or place == (
        "training/pretraining/artifacts.py",
        "pretrain",
    )  # whose path is the run's, seen from beside it
