"""Messages of the commands: a token of the Hub that stands on a command line is never repeated."""

import pytest

from kdmcse_hf.commands import configs, evaluate, export_onnx, extract_features, inspect_teacher, push, report, train
from kdmcse_hf.commands.__main__ import main
from kdmcse_hf.commands.exit_status import without_tokens

TOKEN = "hf_AbCdEfGhIjKlMnOpQrStUvWxYz12345678"
COMMANDS = [configs.main, evaluate.main, export_onnx.main, extract_features.main, inspect_teacher.main, push.main]
COMMANDS += [report.main, train.main, main]


@pytest.mark.parametrize(
    "words", [[TOKEN], ["--token", TOKEN], [f"--token={TOKEN}"], [f"--{TOKEN}"], ["a", "b", TOKEN]]
)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_stray_token_is_not_repeated(command, words, capsys):
    """Wherever it stands: argparse repeats what it does not know, and a model or file that is not there is named."""
    try:
        status = command(words)
    except SystemExit as ended:
        status = ended.code
    printed = capsys.readouterr()
    assert status in (1, 2)
    assert TOKEN not in printed.out + printed.err


@pytest.mark.parametrize("flag", ["--seed", "--pooling", "--learning_rate", "--model_revision"])
def test_a_token_as_a_value_is_not_repeated(flag, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        train.main(["--model_name_or_path", "x", "--output_dir", str(tmp_path / "out"), flag, TOKEN, "--sedd", "1"])
    assert TOKEN not in capsys.readouterr().err


def test_other_words_are_repeated():
    """A folder may be called nearly so."""
    for message in ("no hf_models here", "/data/hf_out/x: no such file"):
        assert without_tokens(message) == message
    assert without_tokens(f"unknown {TOKEN}\n") == (
        "unknown hf_...; give the token by the environment's HF_TOKEN, or by `hf auth login`"
    )
