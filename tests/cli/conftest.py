"""A small corpus and a run of a few steps, made by the commands themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import pytest
from typer.testing import CliRunner, Result

from bothways.cli import app
from tests.conftest import Once

SMALL = {
    "model.layers": 1,
    "training.length": 16,
    "training.step_tokens": 64,
    "training.micro_tokens": 32,
    "training.validation_rows": 4,
    "training.precision": "fp32",
}


class Invoke(Protocol):
    def __call__(self, *arguments: object) -> Result: ...


@pytest.fixture(scope="session")
def invoke() -> Invoke:
    """Runs a command in this process; what it raises comes out."""

    def call(*arguments: object) -> Result:
        return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)

    return call


@pytest.fixture(scope="session")
def pretrain(invoke: Invoke) -> Invoke:
    """The command `pretrain` with settings that take seconds."""

    def call(*arguments: object) -> Result:
        sets = [word for key, value in SMALL.items() for word in ("--set", f"{key}={value}")]
        return invoke("pretrain", *arguments, *sets)

    return call


@pytest.fixture(scope="session")
def shards(invoke: Invoke, once: Once) -> Path:
    def make(folder: Path) -> Path:
        lines = [f"the {i}th boat went down the river with {i * i} bags of grain and no salt" for i in range(400)]
        (folder / "a.txt").write_text("\n".join(lines), encoding="utf-8")
        out = folder / "shards"
        options = ["--documents", "lines", "--vocabulary", 512, "--set", "validation=0.2"]
        assert invoke("prepare", folder / "a.txt", "--out", out, *options).exit_code == 0
        return out

    return once("boats", make)


@pytest.fixture(scope="session")
def run(pretrain: Invoke, shards: Path, once: Once) -> Path:
    """A finished run of four steps that reads both ways."""

    def make(folder: Path) -> Path:
        out = folder / "run"
        assert pretrain(shards, "--out", out, "--objective", "hybrid", "--budget", "4steps").exit_code == 0
        return out

    return once("both-ways", make)
