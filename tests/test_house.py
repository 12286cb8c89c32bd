"""The house rules, as tests: imports go down only, functions fit a screen, files fit a sitting, names are kept."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import bothways

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGE = REPOSITORY / "src" / "bothways"
MODULES = sorted(PACKAGE.rglob("*.py"))
FILES = sorted(
    file
    for folder in ("src", "tests", "examples", "proofs", "benchmarks", "scripts", "recipes")
    for file in (REPOSITORY / folder).rglob("*.py")
)

# Lowest first. A part may import those of the lines above it, and nothing of its own line or below.
LEVELS = (
    {"errors"},
    {"arguments", "calls", "own", "reading", "stopping"},
    {"config", "files", "gguf", "frames", "machine", "statistics", "terminal"},
    {"html", "claims", "seals", "sums"},
    {"visibility"},
    {"batch"},
    {"text", "model"},
    {"corpus"},
    {"objectives", "tasks"},
    {"inference"},
    {"training"},
    {"word_vectors", "planning", "doctor"},
    {"evaluation"},
    {"cli"},
    {"__init__", "__main__"},
)
HEIGHT = {part: height for height, parts in enumerate(LEVELS) for part in parts}

LONGEST_FUNCTION = 60
LONGEST_FILE = 400
# Functions ("folder/file.py:name") and files ("folder/file.py") that may be longer, each with the reason why.
EXCEPTIONS: dict[str, str] = {}


@cache
def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def part_of(file: Path) -> str:
    """The part of the house that a file belongs to: "text" for text/train.py, "batch" for batch.py."""
    return file.relative_to(PACKAGE).with_suffix("").parts[0]


def imported_parts(file: Path) -> Iterator[str]:
    """The parts of the house that a file imports, at its top or inside functions, for types too."""
    here = ("bothways", *file.relative_to(PACKAGE).parent.parts)
    for node in ast.walk(parsed(file)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + 1] if node.level else ()
            whole = ".".join([*base, *([node.module] if node.module else [])])
            names = [f"{whole}.{alias.name}" for alias in node.names] if whole == "bothways" else [whole]
        else:
            continue
        for name in names:
            top, _, rest = name.partition(".")
            if top == "bothways":
                part = rest.partition(".")[0]
                yield part if part in HEIGHT else "__init__" if part.startswith("__") or not part else part


def test_every_part_has_a_level() -> None:
    assert {part_of(file) for file in MODULES} <= HEIGHT.keys()


@pytest.mark.parametrize("file", MODULES, ids=lambda file: file.relative_to(PACKAGE).as_posix())
def test_imports_go_down_only(file: Path) -> None:
    part = part_of(file)
    upward = {
        other
        for other in imported_parts(file)
        # the package's own file holds the version, which anybody may read; its public names are looked up late
        if other not in {part, "__init__"} and part != "__init__" and HEIGHT[other] >= HEIGHT[part]
    }
    assert not upward, f"{part} may not import {', '.join(sorted(upward))}"


def test_functions_fit_a_screen() -> None:
    long = {
        name: lines
        for file in FILES
        for node in ast.walk(parsed(file))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (name := f"{file.relative_to(REPOSITORY).as_posix()}:{node.name}") not in EXCEPTIONS
        and (lines := (node.end_lineno or 0) - node.lineno + 1) > LONGEST_FUNCTION
    }
    assert not long


def test_files_fit_a_sitting() -> None:
    long = {
        name: lines
        for file in FILES
        if (name := file.relative_to(REPOSITORY).as_posix()) not in EXCEPTIONS
        and (lines := len(file.read_text(encoding="utf-8").splitlines())) > LONGEST_FILE
    }
    assert not long


def test_every_module_says_what_it_is_for() -> None:
    assert not [file.relative_to(REPOSITORY).as_posix() for file in FILES if not ast.get_docstring(parsed(file))]


def test_a_class_name_stands_once() -> None:
    names = Counter(node.name for file in MODULES for node in ast.walk(parsed(file)) if isinstance(node, ast.ClassDef))
    assert [name for name, count in names.items() if count > 1] == []


def test_there_is_one_way_to_print() -> None:
    printing = {
        file.relative_to(PACKAGE).as_posix()
        for file in MODULES
        for node in ast.walk(parsed(file))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    }
    assert printing == {"terminal.py"}


READ_IN_ONE_PLACE = {
    *("json.load", "json.loads", "json.JSONDecoder", "yaml.safe_load", "yaml.load", "yaml.load_all", "from_json"),
    *("load_file", "safe_open", "torch.load", "pickle.load", "pickle.loads", "numpy.load", "np.load"),
}
"""What reads JSON, YAML or tensors, or could run what it reads."""


def test_there_is_one_way_to_read() -> None:
    """JSON, YAML and safetensors are read with limits, and named when they fail; nothing is unpickled."""
    found = {
        f"{file.relative_to(PACKAGE).as_posix()}: {name}"
        for file in MODULES
        for node in ast.walk(parsed(file))
        if isinstance(node, ast.Call) and (name := ast.unparse(node.func)) in READ_IN_ONE_PLACE
    }
    assert found == {f"reading.py: {name}" for name in ("from_json", "yaml.load", "safe_open")}


def test_at_most_seven_parameters() -> None:
    """The eighth is a sign that a record is missing. A command's options are its records."""
    many = {
        f"{file.relative_to(PACKAGE).as_posix()}:{node.name}": count
        for file in MODULES
        if part_of(file) != "cli"
        for node in ast.walk(parsed(file))
        if isinstance(node, ast.FunctionDef)
        and (count := sum(p.arg not in {"self", "cls"} for p in node.args.args + node.args.kwonlyargs)) > 7
    }
    assert not many


def test_public_names() -> None:
    assert bothways.__all__ == sorted(bothways.__all__)
    assert [name for name in bothways.__all__ if name[0].islower()] == [
        *(
            "babylm",
            "best_of",
            "compare",
            "evaluate",
            "finetune",
            "judge",
            "load",
            "plan",
            "predict",
            "prepare",
            "pretrain",
            "probe",
            "register",
            "search",
        )
    ]
    assert [name for name in bothways.__all__ if name[0].isupper()] == [
        *("BabyLMConfig", "CompareConfig", "FinetuneConfig", "GenerationOptions", "LanguageModel", "ModelConfig"),
        *("Objective", "PlanConfig", "PrepareOptions", "PretrainConfig", "SearchConfig", "Task"),
    ]
    assert dir(bothways) == sorted(bothways.__all__)
    with pytest.raises(AttributeError, match="it has: BabyLMConfig, .*, search"):
        bothways.lode  # noqa: B018 - looking the name up is the test


def test_every_public_name_is_there() -> None:
    assert all(callable(getattr(bothways, name)) for name in bothways.__all__ if name != "__version__")


def test_what_type_checkers_see_is_what_is_there() -> None:
    """The imports for types name the same things as the table that is looked up."""
    file = PACKAGE / "__init__.py"
    typed = {
        alias.name: node.module
        for node in ast.walk(parsed(file))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("bothways.")
        for alias in node.names
    }
    assert {*typed, "__version__", "register"} == {*bothways.__all__}
    for name, module in typed.items():
        assert getattr(importlib.import_module(str(module)), name) is getattr(bothways, name)


def test_the_command_line_does_not_import_torch() -> None:
    """So that --help answers in under a second, and THP_MEM_ALLOC_ENABLE is set before torch reads it."""
    script = (
        "import sys, bothways.cli; print(*sorted({'torch', 'numpy', 'pydantic', 'transformers'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []
