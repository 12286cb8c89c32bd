"""From text to a curve: words are drawn, prepared and read so often, and every model on the way is scored."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

from bothways.arguments import checked
from bothways.claims import claimed
from bothways.config import dump, settled
from bothways.corpus import Shards, prepare
from bothways.corpus.options import with_tokenizer
from bothways.corpus.sources import find_sources
from bothways.corpus.words import draw_words
from bothways.errors import DivergedError, MachineError, Stopped, UsageError
from bothways.evaluation.babylm.config import PARTS, TEXT, BabyLMConfig, tokens_of_a_pass
from bothways.evaluation.babylm.page import render
from bothways.evaluation.babylm.scores import PairSets, counted, key_of, read_pairs, scored
from bothways.files import write_text
from bothways.machine import device_of
from bothways.seals import sealed_yaml, unsealed, write_sealed
from bothways.stopping import Signalled, heeded
from bothways.terminal import in_bytes
from bothways.training.going_on import CONFIG, check_settings
from bothways.training.pretraining import PretrainConfig
from bothways.training.pretraining.dry_run import estimate_run
from bothways.training.pretraining.setup import objective_of
from bothways.training.run_folder import RunFolder
from bothways.training.workers import Workers

VERSION = 1
MAY_CHANGE = {"out", "pairs", "pairs_each"}
CHECKPOINTS = 4  # that a run holds for a moment: the last two, the best, and the one that is being written
BYTES = 4  # of a weight, and of each of its two moments


class WordBudget(dict[str, Any]):
    """What `babylm` gives: what stands in babylm.json, as plain values."""

    def __repr__(self) -> str:
        """The last model's figures, a line for each set and scoring."""
        lines = [f"WordBudget({self['objective']}, {self['size']}: {self['words']:,} words, {self['passes']} passes)"]
        for name, figures in self["points"][-1]["scores"].items():
            lines += [f"  {name}, {scoring}: {one['official']:.4f}" for scoring, one in figures.items()]
        return "\n".join(lines)


@settled(BabyLMConfig)
@checked
def babylm(
    config: BabyLMConfig,
    *,
    processes: int = 1,
    device: str | None = None,
    show: Callable[[str, float], None] = lambda label, progress: None,
    plan: Callable[[str, float], None] = lambda label, size: None,
    say: Callable[[str], None] = lambda text: None,
) -> WordBudget:
    """Trains on so many words, each read so often at most, and scores minimal pairs by every model on the way: after
    each tenth of the first pass and after each pass, as BabyLM's challenge of 2025 asks (Charpentier et al. 2025).

    The settings are a record or its fields: babylm("books", out="runs/b", pairs=["blimp.jsonl"]). In a folder where it
    was begun it goes on: what is drawn, trained and scored already is not done again.

    Args:
        processes: that train together on this machine.
        device: where to compute, "cpu", "cuda" or "cuda:1"; left out, on a GPU when there is one.
        show: called with (the run, its progress from 0 to 1) now and then.
        plan: called once with (the run, 1.0) before it trains.
        say: called with every step that is done, and with what the run will cost before it begins.

    Raises:
        BothwaysError: whatever a user can cause; before anything is trained, where it can be known.
        Stopped: SIGTERM or Ctrl-C came; what is done is kept.
    """
    device_of(device)
    config.check(processes)
    workers = Workers(1, show, plan, device=device, processes=processes)
    with _stoppable(), claimed(config.out):
        return _babylm(config, workers, say)


@contextmanager
def _stoppable() -> Iterator[None]:
    try:
        with heeded():
            yield
    except Signalled as signalled:
        how = f"{signalled}; what is done is kept. Go on with the same command."
        raise Stopped(how, exit_code=signalled.exit_code) from None


def _babylm(config: BabyLMConfig, workers: Workers, say: Callable[[str], None]) -> WordBudget:
    pairs = read_pairs(config.pairs, each=config.pairs_each)
    drawn, shards = open_text(config, say)
    run = config.run(shards)
    folder = trained(run, shards, workers, say)
    place = config.out / "scores" / key_of(pairs)
    points = list(_points(config, folder, pairs, place, say=say, device=workers.device))
    if not (place / "counted.json").exists():
        say("n-grams: scored")
        write_sealed(place / "counted.json", {"scores": counted(shards, pairs)})
    result = WordBudget(
        {
            "version": VERSION,
            **{name: getattr(config, name) for name in ("objective", "size", "passes", "seed", "pairs_each")},
            **drawn,
            "tokens_in_a_pass": tokens_of_a_pass(shards, run),
            "parameters": folder.noted("model")["parameters"],
            "machine": folder.noted("machine"),
            "pairs": {name: len(some.good) for name, some in pairs.items()},
            "counted": unsealed(place / "counted.json")["scores"],
            "points": points,
        }
    )
    write_text(config.out / "babylm.json", json.dumps(result, ensure_ascii=False, indent=1) + "\n")
    write_text(config.out / "babylm.html", render(result))
    return result


def open_text(config: BabyLMConfig, say: Callable[[str], None]) -> tuple[dict[str, Any], Shards]:
    """What was drawn, and the shards made of it; both once.

    Raises:
        UsageError: the folder holds a budget of other settings, or something else.
        DataError: too few words, or a source without any.
    """
    note = config.out / "text.json"
    check_settings(config.out, config, kind="budget", may_change=MAY_CHANGE)
    if not note.exists():
        with_tokenizer(config.prepare)  # one that there is not is refused before
        say(f"drawing {int(config.words):,} words")
        sources = find_sources(config.sources)
        told = draw_words(sources, config.prepare, count=int(config.words), out=config.out / TEXT, seed=config.seed)
        write_text(config.out / CONFIG, sealed_yaml(dump(config)))
        write_sealed(note, {"counted_by": config.prepare.words, **asdict(told)})
    shards = config.out / "shards"
    if not (shards / "index.json").exists():
        plain = config.prepare.model_copy(update={"fields": ("text",), "exclude": ()})  # read and left out already
        prepare([config.out / TEXT], out=shards, options=plain, report=say)
    return unsealed(note), Shards.open(shards)


def trained(run: PretrainConfig, shards: Shards, workers: Workers, say: Callable[[str], None]) -> RunFolder:
    """The run, trained to its end; what it will cost is said before it begins.

    Raises:
        DivergedError: it diverged.
        UsageError: the objective teaches no probabilities of words.
        MachineError: the disk has too little room for what will be kept.
    """
    objective, _ = objective_of(run, shards)
    if "decoder" not in objective.abilities.faces and objective.abilities.hidden is None:
        raise UsageError(
            f"{objective.name} teaches no probabilities of words, by which pairs are scored: "
            "choose another, in another --out"
        )
    label = f"{run.objective}, {run.size}"
    if not (run.out / "config.yaml").exists():
        _say_costs(run, say, workers)
    workers.plan(label, 1.0)
    (folder,) = workers.each(lambda one: workers.train(one, label), [run])
    if folder.noted("status") != "done":
        raise DivergedError(
            f"{run.out} diverged. Begin again in another --out with a smaller rate: "
            "--set training.optimiser.learning_rate=..."
        )
    return folder  # type: ignore[no-any-return] # what `train` gives


def _say_costs(run: PretrainConfig, say: Callable[[str], None], workers: Workers) -> None:
    """Time by a few steps, and disk."""
    say("doing a few steps, to see what the run will cost")
    told, models = estimate_run(run, device=workers.device, share=workers.processes), len(run.training.keep_at) + 1
    needed = told.parameters * BYTES * (models + 3 * CHECKPOINTS)
    say(
        f"{told.steps:,} steps, {told.tokens:,} tokens: about {timedelta(seconds=round(told.seconds))} in one process; "
        f"{models} models will be kept, {in_bytes(needed)} on the disk at most"
    )
    if (free := shutil.disk_usage(run.out.parent).free) < needed:
        raise MachineError(f"{run.out} cannot be written: {in_bytes(needed)} are needed, {in_bytes(free)} are free")


def _points(
    config: BabyLMConfig,
    folder: RunFolder,
    pairs: PairSets,
    place: Path,
    *,
    say: Callable[[str], None],
    device: str | None,
) -> Iterator[dict[str, Any]]:
    """Every model on the way with its scores, in the order in which it was kept."""
    training = folder.config(PretrainConfig).training
    steps = [*sorted(training.kept_steps), folder.last("train")["step"]]
    for step, part in zip(steps, config.parts, strict=True):
        model = folder.path if step == steps[-1] else folder.kept / f"step-{step}"
        new = not (place / f"step-{step}.json").exists()
        found = scored(model, pairs, place / f"step-{step}.json", device=device)
        words = int(part * config.words / PARTS)
        if new:
            figures = ", ".join(f"{one['official']:.1%}" for some in found.values() for one in some.values())
            say(f"after {words:,} words: {figures}")
        line = folder.last("validation", step=step)
        yield {
            "words": words,
            "step": step,
            "tokens": line["tokens"],
            "seconds": line["seconds"],
            **{name: line[name] for name in ("losses", "next_accuracy", "fill_accuracy")},
            "scores": found,
        }
