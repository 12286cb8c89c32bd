"""Two processes that find each other as torchrun's do: replicated and sharded, stopped, resumed, exchanged."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from bothways.training.pretraining import PretrainConfig, pretrain, run, setup
from bothways.training.run_folder import RunFolder
from tests.training.pretraining.small import assert_same_run, configuration, finish, job, lines, start, tensors
from tests.training.small import OPTIMISERS

SHARDED = "training.sharded=true"
SHORT = ("training.budget.steps=8", "training.validate_every=0.5")
SPOILT = ("loss", "gradient", "for good")
Made = dict[str, Path]


@pytest.fixture(scope="module")
def made(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """All runs of this file, in one process and in two: {name: folder}."""
    folder = tmp_path_factory.mktemp("runs")
    configs: dict[str, PretrainConfig] = {}

    def configure(name: str, *settings: str) -> PretrainConfig:
        configs[name] = configuration(shards, folder / name, *SHORT, *settings)
        return configs[name]

    def anew(name: str, *settings: str) -> PretrainConfig:
        """The same run under other settings."""
        return configuration(shards, configs[name].out, *SHORT, *settings)

    adamw = "training.optimiser.name=adamw"
    jobs = [job(configure(f"replicated {name}", f"training.optimiser.name={name}")) for name in OPTIMISERS]
    jobs += [job(configure(f"sharded {name}", f"training.optimiser.name={name}", SHARDED)) for name in OPTIMISERS]
    for kind, first, second in [
        ("replicated, resumed", [], []),
        ("sharded, resumed", [SHARDED], [SHARDED]),
        ("replicated, then sharded", [], [SHARDED]),
        ("sharded, then replicated", [SHARDED], []),
    ]:
        jobs.append(job(configure(kind, adamw, *first), stop=5))
        jobs.append(job(anew(kind, adamw, *second), resume=True))
    jobs.append(job(configure("two, then one", adamw), stop=5))
    for how in SPOILT:
        jobs.append(job(configure(f"replicated, {how}", adamw), spoilt=how))
        jobs.append(job(configure(f"sharded, {how}", adamw, SHARDED), spoilt=how))
    jobs.append(job(configure("replicated, cramped", adamw), cramped=True))
    jobs.append(job(configure("sharded bf16", adamw, SHARDED, "training.precision=bf16")))
    jobs.append(job(configure("replicated bf16", adamw, "training.precision=bf16")))
    jobs.append(job(configure("seconds", adamw, "training.budget.seconds=0.5")))
    finish(start(jobs, folder, processes=2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setup, "gemm_peak", lambda *_, **__: 1e11)
        patch.setattr(run, "finish", lambda _: None)
        pretrain(configure("one", adamw))
        pretrain(configure("one bf16", adamw, "training.precision=bf16"))
        pretrain(configs["two, then one"], resume=True)
    return {name: config.out for name, config in configs.items()}


def assert_close_run(ours: Path, theirs: Path, *, rel: float) -> None:
    """The same steps and the same losses, up to rounding."""
    assert [(line["kind"], line["step"]) for line in lines(ours)] == [
        (line["kind"], line["step"]) for line in lines(theirs)
    ]
    for mine, other in zip(lines(ours), lines(theirs), strict=True):
        assert mine["losses"] == pytest.approx(other["losses"], rel=rel), mine["step"]


def test_two_processes_are_one(made: Made) -> None:
    assert_close_run(made["replicated adamw"], made["one"], rel=1e-6)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_sharded_is_replicated(name: str, made: Made) -> None:
    assert_close_run(made[f"sharded {name}"], made[f"replicated {name}"], rel=1e-5)
    whole, split = tensors(made[f"replicated {name}"]), tensors(made[f"sharded {name}"])
    assert {key: value.shape for key, value in split.items()} == {key: value.shape for key, value in whole.items()}
    assert any("#" in key for key in split)


@pytest.mark.parametrize("kind", ["replicated", "sharded"])
def test_bf16(kind: str, made: Made) -> None:
    assert_close_run(made[f"{kind} bf16"], made["one bf16"], rel=5e-3)


@pytest.mark.parametrize("kind", ["replicated", "sharded"])
def test_resuming_is_exact(kind: str, made: Made) -> None:
    """The signal came to the first process only; both stopped."""
    assert_same_run(made[f"{kind}, resumed"], made[f"{kind} adamw"])


@pytest.mark.parametrize("kind", ["replicated, then sharded", "sharded, then replicated", "two, then one"])
def test_a_checkpoint_of_one_kind_serves_the_other(kind: str, made: Made) -> None:
    assert_close_run(made[kind], made["one"], rel=1e-5)


@pytest.mark.parametrize("kind", ["replicated", "sharded"])
@pytest.mark.parametrize("how", ["loss", "gradient"])
def test_what_is_no_number_on_one_process_is_skipped_by_all(how: str, kind: str, made: Made) -> None:
    """The fifth batch of process 1 is the first of step 3 (two batches a step for each)."""
    skipped = [line["skipped"] for line in lines(made[f"{kind}, {how}"]) if line["kind"] == "train"]
    assert skipped == [0, 0] + [1] * 6
    assert math.isfinite(lines(made[f"{kind}, {how}"])[-1]["losses"]["mlm"])


@pytest.mark.parametrize("kind", ["replicated", "sharded"])
def test_five_in_a_row_of_one_process_end_all(kind: str, made: Made) -> None:
    out = made[f"{kind}, for good"]
    assert lines(out)[-1]["step"] == 7 and RunFolder(out).manifest()["status"] == "diverged"
    for rank in (0, 1):
        assert "the last of them step 7. Go on from the last checkpoint" in (out / f"process-{rank}").read_text()


def test_what_does_not_fit_on_one_process_is_halved_on_all(made: Made) -> None:
    """Process 1 has no memory for two rows from step 3 on; what is told is of process 0, which does as process 1."""
    found = [line for line in lines(made["replicated, cramped"]) if line["kind"] == "train"]
    assert [line.get("pieces", 1) for line in found] == [1, 1] + [2] * 6
    same = [line for line in lines(made["replicated adamw"]) if line["kind"] == "train"]
    assert [line["loss"] for line in found[:3]] == pytest.approx([line["loss"] for line in same[:3]], rel=1e-6)
    assert [line["loss"] for line in found] == pytest.approx([line["loss"] for line in same], rel=1e-5)
    assert [line["tokens"] for line in found] == [line["tokens"] for line in same]


def test_seconds_become_the_same_number_of_steps_on_all(made: Made) -> None:
    steps = sum(line["kind"] == "train" for line in lines(made["seconds"]))
    assert steps == RunFolder(made["seconds"]).manifest()["steps"]
