"""Beside peft: it loads what is written here and computes the same, and the other way round."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from bothways.batch import Batch, Target
from bothways.errors import ModelError
from bothways.model import Model, TaskHead, from_hugging_face, read_body
from bothways.model.abilities import Abilities
from bothways.model.adapters import learned, merged, place, read_adapter
from bothways.model.huggingface.adapter_folders import AdapterNote, fingerprint, save_adapter
from bothways.model.huggingface.adapter_reading import read_adapted, with_adapter
from bothways.model.huggingface.folders import Saved, read_saved
from tests.model.small import packed, random_tokens

transformers = pytest.importorskip("transformers")
peft = pytest.importorskip("peft")
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")

SIZES: dict[str, Any] = {"vocab_size": 97, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
WIDE = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}
MODELS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", "AutoModelForCausalLM", {**WIDE, "num_key_value_heads": 2}),
    "llama-tied": ("LlamaConfig", "AutoModelForCausalLM", {**WIDE, "tie_word_embeddings": True}),
    "qwen3": ("Qwen3Config", "AutoModelForCausalLM", {**WIDE, "num_key_value_heads": 2, "head_dim": 16}),
    "gpt2": ("GPT2Config", "AutoModelForCausalLM", {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 64}),
    "modernbert": ("ModernBertConfig", "AutoModelForMaskedLM", {**WIDE, "global_attn_every_n_layers": 1}),
    "bert": ("BertConfig", "AutoModelForMaskedLM", {**WIDE, "max_position_embeddings": 64}),
}
DECODERS = ("llama", "llama-tied", "qwen3", "gpt2")


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Random models of several families, with differences large enough to show."""
    folders = {}
    for name, (config, auto, sizes) in MODELS.items():
        torch.manual_seed(3)
        model = getattr(transformers, auto).from_config(getattr(transformers, config)(**SIZES, **sizes))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.1)
        model.tie_weights()
        folders[name] = tmp_path_factory.mktemp("bases") / name
        model.save_pretrained(folders[name])
    return folders


def tokens_and_logits(model: Model, *, causal: bool) -> tuple[torch.Tensor, torch.Tensor]:
    layout = packed([11], [11], causal=causal)
    tokens = random_tokens(layout)
    with torch.no_grad():
        return tokens, model(Batch(tokens, layout, ()))


def theirs(name: str, base: Path, adapter: Path | None) -> Any:
    model = getattr(transformers, MODELS[name][1]).from_pretrained(base)
    return (model if adapter is None else peft.PeftModel.from_pretrained(model, adapter)).eval()


def close(one: torch.Tensor, other: torch.Tensor) -> None:
    assert one.shape == other.shape
    assert (one - other).abs().max() < 1e-5 * other.abs().max()


def saved(
    folder: Path, base: Path, expression: str, trained: Abilities, model: Model | None = None
) -> tuple[Path, Model]:
    """An adapter that has learned something, saved; and the model it was in."""
    model = model or from_hugging_face(base)
    note = AdapterNote(expression, str(base), fingerprint(model))
    adapter, generator = read_adapter(expression), torch.Generator().manual_seed(1)
    new = {name for name in model.state_dict() if name.startswith("heads.")}
    place(model, adapter, vocabulary=97, generator=generator)
    names = {*learned(model, adapter, new), *new}
    with torch.no_grad():
        for name in sorted(names):
            model.get_parameter(name).add_(torch.randn(model.get_parameter(name).shape, generator=generator) * 0.2)
    weights = {name: model.get_parameter(name) for name in names}
    told: Any = {"config": model.config, "note": note, "trained": trained, "beside": lambda place: None}
    return save_adapter(folder / "adapter", weights=weights, **told), model.eval()


def abilities(name: str) -> Abilities:
    return Abilities("causal", ("decoder",), None) if name in DECODERS else Abilities("mlm", ("encoder",), "in place")


@pytest.mark.parametrize(
    "expression", ["lora(rank=3)", "lora(rank=4, on=[v, out], alpha=3, rslora=true)", "lora(on=[down, up])"]
)
@pytest.mark.parametrize("name", MODELS)
def test_peft_loads_ours_and_so_do_we(name: str, expression: str, bases: dict[str, Path], tmp_path: Path) -> None:
    folder, model = saved(tmp_path, bases[name], expression, abilities(name))
    tokens, expected = tokens_and_logits(model, causal=name in DECODERS)
    with torch.no_grad():
        close(theirs(name, bases[name], folder)(input_ids=tokens).logits, expected)
        plain = theirs(name, bases[name], None)(input_ids=tokens).logits
    assert (plain - expected).abs().max() > 0.05 * expected.abs().max()
    again = read_adapted(folder, vocabulary=97)
    close(tokens_and_logits(again.model.eval(), causal=name in DECODERS)[1], expected)
    close(tokens_and_logits(merged(again.model), causal=name in DECODERS)[1], expected)


@pytest.mark.parametrize("name", MODELS)
def test_we_load_pefts(name: str, bases: dict[str, Path], tmp_path: Path) -> None:
    """With ranks and alphas that differ from layer to layer, and rsLoRA."""
    torch.manual_seed(0)
    layers = {
        "gpt2": ["c_attn", "c_fc"],
        "modernbert": ["Wqkv", "Wi"],
        "bert": ["query", "value", "attention.output.dense"],
    }
    targets = layers.get(name, ["q_proj", "v_proj", "down_proj"])
    told = peft.LoraConfig(
        r=4,
        lora_alpha=6,
        target_modules=targets,
        use_rslora=name == "llama",
        rank_pattern={targets[1]: 2},
        alpha_pattern={targets[0]: 9},
        init_lora_weights=False,
        fan_in_fan_out=name == "gpt2",
    )
    model = peft.get_peft_model(theirs(name, bases[name], None), told).eval()
    model.save_pretrained(tmp_path / "theirs")
    ours = with_adapter(Saved(from_hugging_face(bases[name]), abilities(name)), tmp_path / "theirs", vocabulary=97)
    tokens, found = tokens_and_logits(ours.model.eval(), causal=name in DECODERS)
    with torch.no_grad():
        close(found, model(input_ids=tokens).logits)
    close(tokens_and_logits(merged(ours.model), causal=name in DECODERS)[1], found)


@pytest.mark.parametrize("expression", ["soft_prompt(tokens=4)", "prefix(tokens=3)"])
@pytest.mark.parametrize("name", ["llama", "qwen3"])
def test_prompts_and_prefixes_are_pefts(name: str, expression: str, bases: dict[str, Path], tmp_path: Path) -> None:
    folder, model = saved(tmp_path, bases[name], expression, abilities(name))
    count = 4 if expression.startswith("soft") else 0
    layout = packed([count + 9], [count + 9], causal=True)
    tokens = random_tokens(layout)
    tokens[:, :count] = torch.arange(97, 97 + count)
    with torch.no_grad():
        expected = model(Batch(tokens, layout, ()))[:, count:]
        asked = tokens[:, count:]
        found = theirs(name, bases[name], folder)(input_ids=asked, attention_mask=torch.ones_like(asked)).logits
    close(found[:, -9:], expected)
    again = read_adapted(folder, vocabulary=97).model.eval()
    with torch.no_grad():
        close(again(Batch(tokens, layout, ()))[:, count:], expected)


@pytest.mark.parametrize("name", ["bert", "modernbert"])
@pytest.mark.parametrize("expression", ["lora(rank=2)", "lora(rank=2, on=[q, up, out])"])
def test_a_body_alone_is_adapted_by_peft(name: str, expression: str, bases: dict[str, Path], tmp_path: Path) -> None:
    """Its layers have no name of the model before theirs, neither as targets nor where ranks differ."""
    body = read_body(bases[name], TaskHead("embed", "vector", ("0", "1"), "pair", "encoder"))
    folder, model = saved(tmp_path, bases[name], expression, Abilities("vectors", ("encoder",), None), body)
    layout = packed([11], [11], causal=False)
    tokens = random_tokens(layout)
    with torch.no_grad():
        base = transformers.AutoModel.from_pretrained(bases[name])
        adapted = peft.PeftModel.from_pretrained(base, folder).eval()
        close(adapted(input_ids=tokens).last_hidden_state, model.states(Batch(tokens, layout, ())))


@pytest.mark.parametrize("name", ["bert", "llama"])
def test_a_new_head_is_where_peft_looks_for_it(name: str, bases: dict[str, Path], tmp_path: Path) -> None:
    """BERT's pooler and classifier, Llama's score, as modules_to_save."""
    head = TaskHead("classify", "label", ("no", "yes", "perhaps"), "one", "decoder" if name == "llama" else "encoder")
    body = read_body(bases[name], head)
    folder, model = saved(tmp_path, bases[name], "lora(rank=2)", Abilities.of_heads(head), body)
    assert json.loads((folder / "adapter_config.json").read_text())["task_type"] == "SEQ_CLS"
    layout = packed([11], [11], causal=name == "llama")
    tokens = random_tokens(layout)
    batch = Batch(tokens, layout, ())
    at = torch.tensor([[0, 10], [11, 21]])

    with torch.no_grad():
        hidden = model.states(batch).flatten(0, 1)
        places = model.head("label").places(at)
        expected = model.head("label").logits(
            hidden if places is None else hidden[places], Target("label", at, torch.zeros(2))
        )
        base = transformers.AutoModelForSequenceClassification.from_pretrained(bases[name], num_labels=3)
        close(peft.PeftModel.from_pretrained(base, folder).eval()(input_ids=tokens).logits, expected)
    again = read_adapted(folder, vocabulary=97)
    assert again.trained.only_head == head
    kept, own = again.model.state_dict(), model.state_dict()
    assert all(torch.equal(kept[key], own[key]) for key in own if key.startswith("heads."))


def test_what_learned_no_head_has_no_pefts_config(bases: dict[str, Path], tmp_path: Path) -> None:
    """Norms and biases are kept under our names; peft has no such adapter."""
    for expression in ("norms", "bias"):
        folder, model = saved(tmp_path, bases["bert"], expression, abilities("bert"))
        assert not (folder / "adapter_config.json").exists()
        again = read_adapted(folder, vocabulary=97).model.eval()
        close(tokens_and_logits(again, causal=False)[1], tokens_and_logits(model, causal=False)[1])


def test_an_adapter_of_another_base_is_refused(bases: dict[str, Path], tmp_path: Path) -> None:
    folder, _ = saved(tmp_path, bases["llama"], "lora(rank=2)", abilities("llama"))
    other = from_hugging_face(bases["llama"])
    with torch.no_grad():
        other.table[7, 3] += 1e-3
    with pytest.raises(
        ModelError, match=r"the adapter 'mine' .*belongs to another base: to .*llama, whose weights have"
    ):
        with_adapter(Saved(other, abilities("llama")), folder, vocabulary=97, called=f"the adapter 'mine' ({folder})")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"use_dora": True}, "use_dora is True; Bothways computes False alone"),
        ({"bias": "all"}, "bias is 'all'; Bothways computes 'none' alone"),
        ({"peft_type": "LOHA"}, "peft_type is 'LOHA'; Bothways reads 'LORA'"),
        ({"r": 5}, "not of this model"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights is 'pissa'"),
    ],
)
def test_what_is_not_computed_is_refused_by_name(
    changes: dict[str, Any], said: str, bases: dict[str, Path], tmp_path: Path
) -> None:
    folder, _ = saved(tmp_path, bases["llama"], "lora(rank=2)", abilities("llama"))
    told = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**told, **changes}))
    (folder / "SHA256SUMS").unlink()
    with pytest.raises(ModelError) as refused:
        read_adapted(folder, vocabulary=97)
    assert said in str(refused.value)


def test_an_adapter_that_names_no_base_is_to_be_opened_with_it(bases: dict[str, Path], tmp_path: Path) -> None:
    """peft writes null where the base was made in memory; the hub is not asked for a model called "None"."""
    folder, _ = saved(tmp_path, bases["llama"], "lora(rank=2)", abilities("llama"))
    (folder / "bothways.json").unlink()
    (folder / "SHA256SUMS").unlink()
    told = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**told, "base_model_name_or_path": None}))
    with pytest.raises(ModelError, match=r"base_model_name_or_path is None\). Open its base, and name the adapter"):
        read_adapted(folder, vocabulary=97)


def test_a_prompt_with_a_head_beside_it_is_refused(bases: dict[str, Path], tmp_path: Path) -> None:
    """Its classifier was trained, and was left out without a word."""
    base = transformers.AutoModelForSequenceClassification.from_pretrained(bases["bert"], num_labels=3)
    base.save_pretrained(tmp_path / "base")
    told = peft.PromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=4)
    peft.get_peft_model(base, told).save_pretrained(tmp_path / "theirs")
    with pytest.raises(ModelError, match=r"holds .*classifier.* beside prompt_embeddings: a head"):
        with_adapter(read_saved(tmp_path / "base"), tmp_path / "theirs", vocabulary=97)


@pytest.mark.parametrize("sides", [2, None])
def test_a_prompt_before_both_sides_is_refused(sides: int | None, tmp_path: Path) -> None:
    """peft's file has the encoder's rows and then the decoder's; all of them came before the encoder's text."""
    sizes = {"d_model": 32, "max_position_embeddings": 64}
    for side in ("encoder", "decoder"):
        sizes |= {f"{side}_layers": 1, f"{side}_attention_heads": 4, f"{side}_ffn_dim": 48}
    base = transformers.BartForConditionalGeneration(transformers.BartConfig(**SIZES, **sizes))
    base.save_pretrained(tmp_path / "base")
    told = peft.PromptTuningConfig(task_type="SEQ_2_SEQ_LM", num_virtual_tokens=4)
    peft.get_peft_model(base, told).save_pretrained(tmp_path / "theirs")
    file = tmp_path / "theirs" / "adapter_config.json"
    written = json.loads(file.read_text())
    assert written["num_transformer_submodules"] == 2
    file.write_text(json.dumps({**written, "num_transformer_submodules": sides}))
    with pytest.raises(ModelError, match=f"num_transformer_submodules is {sides}, .* Bothways computes 1 alone"):
        with_adapter(read_saved(tmp_path / "base"), tmp_path / "theirs", vocabulary=97)


def test_an_adapter_on_the_table_is_refused(bases: dict[str, Path], tmp_path: Path) -> None:
    """peft adapts a tied head, and loses it in merging; here none is on the table."""
    told = peft.LoraConfig(r=2, target_modules=["lm_head", "q_proj"])
    model = peft.get_peft_model(theirs("llama", bases["llama"], None), told)
    model.save_pretrained(tmp_path / "theirs", save_embedding_layers=False)
    assert any("lm_head" in name for name in load_file(tmp_path / "theirs" / "adapter_model.safetensors"))
    with pytest.raises(ModelError, match="lm_head.lora_A.weight, on a layer that Bothways adapts not"):
        with_adapter(Saved(from_hugging_face(bases["llama"]), abilities("llama")), tmp_path / "theirs", vocabulary=97)


def test_an_adapter_on_embeddings_is_refused(bases: dict[str, Path], tmp_path: Path) -> None:
    told = peft.LoraConfig(r=2, target_modules=["embed_tokens", "q_proj"])
    model = peft.get_peft_model(theirs("llama", bases["llama"], None), told)
    model.save_pretrained(tmp_path / "theirs", save_embedding_layers=False)
    with pytest.raises(ModelError, match=r"it holds|the adapter holds .*embed_tokens.lora_embedding_A"):
        with_adapter(Saved(from_hugging_face(bases["llama"]), abilities("llama")), tmp_path / "theirs", vocabulary=97)


def test_a_head_of_pefts_is_put_on_a_base_that_has_one(bases: dict[str, Path], tmp_path: Path) -> None:
    torch.manual_seed(0)
    plain = transformers.AutoModelForSequenceClassification.from_pretrained(bases["bert"], num_labels=3)
    plain.save_pretrained(tmp_path / "base")
    told = peft.LoraConfig(r=2, target_modules=["query"], task_type="SEQ_CLS", init_lora_weights=False)
    model = peft.get_peft_model(plain, told).eval()
    with torch.no_grad():
        model.base_model.model.classifier.modules_to_save["default"].weight.add_(1.0)
    model.save_pretrained(tmp_path / "theirs")
    base = read_saved(tmp_path / "base")
    ours = with_adapter(base, tmp_path / "theirs", vocabulary=97).model.eval()
    layout = packed([11], [11])
    tokens = random_tokens(layout)
    target = Target("label", torch.tensor([[0, 10], [11, 21]]), torch.zeros(2))
    with torch.no_grad():
        found = ours.head("label").logits(ours.states(Batch(tokens, layout, ())).flatten(0, 1)[[0, 11]], target)
        close(found, model(input_ids=tokens).logits)
    with pytest.raises(ModelError, match="brings what its base has no place for"):
        with_adapter(Saved(from_hugging_face(bases["bert"]), abilities("bert")), tmp_path / "theirs", vocabulary=97)
