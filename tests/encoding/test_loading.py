"""What transformers passes over in silence is refused on every path, and no code of a repository is run."""

import ast
import json
import pathlib
import shutil
from collections.abc import Callable

import import_checkpoint
import numpy as np
import pytest
import tiny
import torch
from paths import ROOT
from safetensors.torch import load_file, save_file
from tiny_teachers import draw_imagefolder, make_teacher
from transformers import (
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    BertConfig,
    CLIPTextConfig,
    GPT2Config,
    LlamaConfig,
    RobertaConfig,
    T5Config,
    ViTConfig,
)

from kdmcse_hf import KDMCSEConfig, KDMCSEModel, KDMCSETrainer, KDMCSETrainingArguments
from kdmcse_hf.commands import evaluate, export_onnx, extract_features, train
from kdmcse_hf.encoding.declared_pooling import find_pooling
from kdmcse_hf.encoding.directions import check_directions
from kdmcse_hf.encoding.loading import check_tokenizer, load_text_encoder, load_tokenizer
from kdmcse_hf.encoding.sentence_encoder import SentenceEncoder
from kdmcse_hf.errors import InputError
from kdmcse_hf.hub.repository_files import check_repository
from kdmcse_hf.model.released_checkpoints import load_released
from kdmcse_hf.teacher.teacher import Teacher

Damage = Callable[[pathlib.Path], object]


def without_tokenizer(folder: pathlib.Path) -> None:
    for path in folder.glob("*token*"):
        path.unlink()


def larger_tokenizer(folder: pathlib.Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens([f"more{number}" for number in range(50)])
    tokenizer.save_pretrained(folder)


def change_weights(folder: pathlib.Path, change: Callable[[dict], dict]) -> None:
    path = folder / "model.safetensors"
    save_file(change(load_file(path)), path, {"format": "pt"})


def without_attention(folder: pathlib.Path) -> None:
    change_weights(
        folder, lambda state: {name: t for name, t in state.items() if "query" not in name and "q_proj" not in name}
    )


def with_nan(folder: pathlib.Path) -> None:
    change_weights(
        folder, lambda state: {name: t.clone().fill_(torch.nan) if "0" in name else t for name, t in state.items()}
    )


def of_other_shape(folder: pathlib.Path) -> None:
    change_weights(folder, lambda state: {name: t[:3].clone() if "0" in name else t for name, t in state.items()})


def cut_short(folder: pathlib.Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def of_garbage(name: str, content: str = '{"a":') -> Damage:
    return lambda folder: (folder / name).write_text(content)


def change_config(folder: pathlib.Path, **changes) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def as_pickle(folder: pathlib.Path) -> None:
    path = folder / "model.safetensors"
    torch.save(load_file(path), folder / "pytorch_model.bin")
    path.unlink()


def short_tokenizer(folder: pathlib.Path) -> None:
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "model_max_length": 2}))


DAMAGES: dict[str, tuple[Damage, str]] = {
    "no tokenizer": (without_tokenizer, "has no tokenizer"),
    "tokenizer of more words": (larger_tokenizer, "token ids up to"),
    "weights missing": (without_attention, "which would be random"),
    "NaN weights": (with_nan, "holds NaN or infinite values"),
    "weights of another shape": (of_other_shape, "the model of"),
    "weights cut short": (cut_short, "the model of"),
    "weights as pickle": (as_pickle, "a pickle, which is never loaded"),
    "no room for a word": (short_tokenizer, "no word beside the special ones"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "no model can be had"),
    "garbage in tokenizer.json": (
        of_garbage("tokenizer.json"),
        "tokenizer.json was not written to its end, or is no JSON",
    ),
    "list as tokenizer_config.json": (
        of_garbage("tokenizer_config.json", "[1]"),
        "tokenizer_config.json: its content is [1], an object is needed",
    ),
    "garbage in config.json": (of_garbage("config.json"), "configuration"),
    "list as config.json": (of_garbage("config.json", "[]"), "its content is [], an object is needed"),
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_position_embeddings": 20}, "cannot be loaded"),  # the weights have 40
        ({"num_hidden_layers": 0}, "layers that its config.json does not have, such as encoder.layer.0"),
        ({"num_attention_heads": 3}, "cannot be loaded"),
        ({"vocab_size": 30}, "cannot be loaded"),
        ({"intermediate_size": 25}, "cannot be loaded"),
        ({"hidden_act": "gelo"}, "cannot be loaded"),
        ({"hidden_size": "16"}, "cannot be loaded"),
    ],
)
def test_sizes_that_the_weights_do_not_have_are_one_message(changes, message, tmp_path):
    folder = tiny.encoder_directory(tmp_path)
    change_config(tmp_path, **changes)
    for load in (SentenceEncoder.from_pretrained, KDMCSEModel.from_encoder):
        with pytest.raises(InputError, match=message):
            load(folder)


def test_too_few_positions_are_found_before_a_sentence_is_encoded(tmp_path):
    """RoBERTa's numbers begin after the padding's, so that four positions hold two tokens."""
    config = RobertaConfig(**{**tiny.CONFIGS["roberta"].to_dict(), "max_position_embeddings": 4})
    AutoModel.from_config(config).save_pretrained(tmp_path)
    tiny.tokenizer().save_pretrained(tmp_path)
    with pytest.raises(InputError, match="takes 2 tokens with its tokenizer, no word beside the special ones"):
        SentenceEncoder.from_pretrained(str(tmp_path))


@pytest.mark.parametrize("value", [None, 3, [], "cls"])
def test_a_kdmcse_entry_of_another_form_is_one_message(value, tmp_path):
    folder = tiny.repository(tmp_path)
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "kdmcse": value}))
    for load in (SentenceEncoder.from_pretrained, KDMCSEModel.from_encoder, KDMCSEModel.from_pretrained):
        with pytest.raises(ValueError, match="config.json of .* is damaged: kdmcse is"):
            load(str(folder))


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> pathlib.Path:
    """Training files with an encoder, and a teacher with pictures."""
    folder = tmp_path_factory.mktemp("whole")
    tiny.write_training_files(folder / "files")
    make_teacher("clip", folder / "teacher")
    draw_imagefolder(folder / "pictures", 2)
    return folder


@pytest.fixture
def files(whole, tmp_path) -> pathlib.Path:
    return shutil.copytree(whole, tmp_path / "copy")


def train_command(files: pathlib.Path) -> int:
    paths = {"text_dataset": "text.txt", "multimodal_dataset": "captions", "stsb_path": "stsb.csv"}
    words = [word for key, name in paths.items() for word in (f"--{key}", str(files / "files" / name))]
    model = ["--model_name_or_path", str(files / "files" / "encoder"), "--output_dir", str(files / "out")]
    return train.main([*words, *model, "--report_to", "none", "--use_cpu", "true"])


def evaluate_command(files: pathlib.Path) -> int:
    data = files / "data" / "STS" / "STSBenchmark"
    data.mkdir(parents=True)
    (data / "sts-test.csv").write_text("".join(f"g\tf\ty\t{n}\t{n}\ta dog\ta cat {'runs ' * n}\n" for n in range(4)))
    return evaluate.main(
        [str(files / "files" / "encoder"), "--pooling", "mean", "--tasks", "STS-B", "--data", str(files / "data")]
    )


def export_command(files: pathlib.Path) -> int:
    pytest.importorskip("onnxscript")
    return export_onnx.main([str(files / "files" / "encoder"), str(files / "out")])


def extract_command(files: pathlib.Path) -> int:
    dataset = ["--dataset", str(files / "pictures"), "--output_dir", str(files / "out")]
    return extract_features.main(["--teacher", str(files / "teacher"), *dataset])


COMMANDS_OF_ENCODERS = (train_command, evaluate_command, export_command)
COMMANDS = (*COMMANDS_OF_ENCODERS, extract_command)


_SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
CAUSAL = {
    "gpt2": GPT2Config(n_embd=16, n_layer=1, n_head=2, vocab_size=40),
    "llama": LlamaConfig(**_SIZES, vocab_size=40),
    "clip": CLIPTextConfig(**_SIZES, vocab_size=40),
}


@pytest.mark.parametrize("family", CAUSAL)
@pytest.mark.parametrize("command", COMMANDS_OF_ENCODERS)
def test_causal_models_are_refused_at_the_start(command, family, files, capsys):
    """Their first token is the same in all sentences, which shows as a collapse after minutes."""
    for path in (files / "files/encoder").glob("*.safetensors"):
        path.unlink()
    AutoModel.from_config(CAUSAL[family]).save_pretrained(files / "files/encoder")
    assert command(files) == 2
    assert "a causal model: a token sees those before it alone" in capsys.readouterr().err


@pytest.mark.parametrize("family", CAUSAL)
def test_a_causal_model_in_memory_is_refused_too(family):
    with pytest.raises(InputError, match="a causal model"):
        KDMCSEModel.from_encoder(AutoModel.from_config(CAUSAL[family]), objective="simcse")


@pytest.mark.parametrize("family", tiny.CONFIGS)
def test_encoders_of_both_directions_are_not_refused(family):
    encoder = tiny.encoder(family).train()
    check_directions(encoder, family)
    assert encoder.training, "it stays as it was"


@pytest.mark.parametrize("config", [T5Config(d_model=8, num_heads=2), ViTConfig(hidden_size=8, num_attention_heads=2)])
@pytest.mark.parametrize("command", COMMANDS_OF_ENCODERS)
def test_models_of_other_kinds_are_refused_by_each_command(command, config, files, capsys):
    AutoModel.from_config(config).save_pretrained(files / "files/encoder")
    assert command(files) == 2
    assert "one that maps input_ids to last_hidden_state is needed" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_repositories_end_with_2_and_one_message(command, damage, files, capsys):
    """Nothing has been written by then, and the message names the repository."""
    folder = files / ("teacher" if command is extract_command else "files/encoder")
    change, message = DAMAGES[damage]
    change(folder)
    assert command(files) == 2
    error = capsys.readouterr().err
    assert message in error
    assert str(folder) in error
    assert "Traceback" not in error
    assert not (files / "out").exists() or not any((files / "out").rglob("*.*"))


def test_whole_repositories_are_not_refused(files):
    """The same commands without damage; training itself is run elsewhere."""
    assert evaluate_command(files) == 0
    assert extract_command(files) == 0


def test_a_missing_pooler_is_no_damage(files, caplog):
    """It takes no part in the embeddings, which are the same without it."""
    folder = str(files / "files/encoder")
    expected = SentenceEncoder.from_pretrained(folder).encode(["a dog"])
    change_weights(pathlib.Path(folder), lambda state: {k: t for k, t in state.items() if "pooler" not in k})
    np.testing.assert_array_equal(SentenceEncoder.from_pretrained(folder).encode(["a dog"]), expected)
    assert KDMCSEModel.from_encoder(folder, objective="simcse")


def test_the_trainer_refuses_a_tokenizer_without_words(tmp_path):
    """transformers makes one where an API user gives a folder without tokenizer files."""
    tiny.encoder().save_pretrained(tmp_path)
    arguments = KDMCSETrainingArguments(str(tmp_path), use_cpu=True, report_to="none", eval_strategy="no")
    model = KDMCSEModel.from_encoder(str(tmp_path), objective="simcse")
    with pytest.raises(ValueError, match="has no tokenizer"):
        KDMCSETrainer(model, arguments, processing_class=AutoTokenizer.from_pretrained(tmp_path))


@pytest.mark.parametrize(
    "family", ["bert", "roberta", "xlm-roberta", "distilbert", "albert", "deberta-v2", "camembert"]
)
def test_a_tokenizer_made_of_nothing_is_known_in_each_family(family, tmp_path):
    """transformers makes special tokens, with holes between their ids in some families."""
    AutoConfig.for_model(family).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="has no tokenizer"):
        load_tokenizer(str(tmp_path))


def test_a_mask_token_beyond_the_embeddings_is_no_damage():
    """It is never part of a sentence; one more word of the vocabulary may be."""
    model = AutoModel.from_config(BertConfig(vocab_size=24, hidden_size=8, num_attention_heads=2, num_hidden_layers=1))
    tokenizer = tiny.tokenizer()
    assert len(tokenizer) == 24
    tokenizer.add_special_tokens({"mask_token": "<another mask>"})
    check_tokenizer(tokenizer, model)
    tokenizer.add_tokens(["horse"])
    with pytest.raises(ValueError, match="token ids up to 25, the BertModel has embeddings for 0 to 23"):
        check_tokenizer(tokenizer, model)


@pytest.mark.parametrize("config", [T5Config(d_model=8, num_heads=2), ViTConfig(hidden_size=8, num_attention_heads=2)])
def test_models_of_other_kinds_are_refused_by_each_loader(config, tmp_path):
    AutoModel.from_config(config).save_pretrained(tmp_path)
    for load in (load_text_encoder, SentenceEncoder.from_pretrained, KDMCSEModel.from_encoder):
        with pytest.raises(ValueError, match="one that maps input_ids to last_hidden_state is needed"):
            load(str(tmp_path))


LOADERS: dict[str, Callable[[str], object]] = {
    "find_pooling": find_pooling,
    "SentenceEncoder": SentenceEncoder.from_pretrained,
    "from_encoder": KDMCSEModel.from_encoder,
    "from_pretrained": KDMCSEModel.from_pretrained,
    "configuration": KDMCSEConfig.from_pretrained,
    "tokenizer": load_tokenizer,
    "released": load_released,
    "import": lambda folder: import_checkpoint.run(
        import_checkpoint.argparse.Namespace(
            input=pathlib.Path(folder), output=pathlib.Path(folder, "out"), pooling="cls"
        )
    ),
    "repository": check_repository,
}


@pytest.mark.parametrize("loader", LOADERS)
def test_code_that_a_repository_brings_is_not_run_though_the_terminal_says_yes(loader, tmp_path, monkeypatch):
    """Neither asked for nor run; of the kind that transformers has no class for, one clear message."""
    monkeypatch.setattr("builtins.input", lambda *question: "y")
    folder = tiny.repository(tmp_path / "in")
    ran = tiny.bring_code(folder, model_type="evil", tokenizer_class="Evil")
    with pytest.raises(ValueError, match="auto_map|no remote code"):
        LOADERS[loader](str(folder))
    assert not ran.exists()


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_run_no_code_of_a_repository(command, files, monkeypatch, capsys):
    monkeypatch.setattr("builtins.input", lambda *question: "y")
    folder = files / ("teacher" if command is extract_command else "files/encoder")
    ran = tiny.bring_code(folder, model_type="evil", tokenizer_class="Evil", image_processor_type="Evil")
    assert command(files) == 2
    assert "is never run" in capsys.readouterr().err
    assert not ran.exists()


def test_a_teachers_image_processor_brings_no_code(files, monkeypatch):
    """Where configuration and tokenizer are in order."""
    monkeypatch.setattr("builtins.input", lambda *question: "y")
    kept = {name: (files / "teacher" / name).read_text() for name in ("config.json", "tokenizer_config.json")}
    ran = tiny.bring_code(files / "teacher", image_processor_type="Evil")
    for name, content in kept.items():
        (files / "teacher" / name).write_text(content)
    with pytest.raises(ValueError, match="image processor of .* is never run"):
        Teacher.load(str(files / "teacher"))
    assert not ran.exists()


def test_an_encoder_with_a_decoder_that_names_code_is_refused_before_it_is_made(tmp_path, monkeypatch):
    """transformers makes its parts without passing on that no code is to be run."""
    monkeypatch.setattr("builtins.input", lambda *question: "y")
    part = {**BertConfig().to_dict(), "auto_map": {"AutoConfig": "evil.C", "AutoModel": "evil.C"}}
    content = {"model_type": "encoder-decoder", "is_encoder_decoder": True, "encoder": part, "decoder": part}
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "config.json").write_text(json.dumps(content))
    made = []
    monkeypatch.setattr(AutoModel, "from_pretrained", lambda *_, **__: made.append(1))
    for load in (SentenceEncoder.from_pretrained, KDMCSEModel.from_encoder):
        with pytest.raises(ValueError, match="an encoder with a decoder"):
            load(str(tmp_path / "in"))
    assert not made


# Loaders of this package, which pass it on themselves.
OWN = {"KDMCSEModel", "KDMCSEConfig", "SentenceEncoder", "type", "super"}


def unsaid(path: pathlib.Path) -> list[str]:
    """Calls of a file that load with a library of others and do not say `trust_remote_code=False` themselves."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        loads = called == "SentenceTransformer" or called.endswith((".from_pretrained", ".from_config"))
        says = any(each.arg == "trust_remote_code" and ast.unparse(each.value) == "False" for each in node.keywords)
        if loads and not says and called.split(".")[0].split("(")[0] not in OWN:
            found.append(f"{path.name}, line {node.lineno}: {called}")
    return found


def test_every_load_says_that_no_code_is_run():
    folders = [ROOT / name for name in ("kdmcse_hf", "recipes", "benchmarks")]
    paths = [path for folder in folders for path in folder.rglob("*.py")]
    assert len(paths) > 100
    assert [fault for path in paths for fault in unsaid(path)] == []


def test_a_load_that_does_not_say_so_is_found(tmp_path):
    lines = (
        "AutoModel.from_pretrained(name)",
        "transformers.AutoModel.from_config(config, trust_remote_code=True)",
        "AutoTokenizer.from_pretrained(name, **source)",
        "SentenceTransformer(name)",
        "AutoModel.from_pretrained(name, trust_remote_code=False)",
        "KDMCSEModel.from_pretrained(name)",
    )
    (tmp_path / "a.py").write_text("\n".join(lines))
    assert [fault.split(":")[0] for fault in unsaid(tmp_path / "a.py")] == [f"a.py, line {n}" for n in (1, 2, 3, 4)]
