"""`kdmcse COMMAND --help` prints what the parser would print, without waiting for torch."""

import subprocess
import sys

import pytest

from kdmcse_hf.commands.__main__ import COMMANDS
from kdmcse_hf.commands.help_texts import printed_help, stored_help


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="argparse prints help another way in other versions")
@pytest.mark.parametrize("command", COMMANDS)
def test_the_stored_help_is_the_parsers_own(command):
    assert stored_help(command, f"kdmcse {command}") == printed_help(command), (
        "run: python -m kdmcse_hf.commands.help_texts"
    )


def test_help_of_every_command_comes_without_torch_and_transformers():
    program = (
        "import sys; from kdmcse_hf.commands.__main__ import COMMANDS, main\n"
        "for command in COMMANDS: assert main([command, '--help']) == 0\n"
        "assert not {'torch', 'transformers', 'datasets'} & sys.modules.keys()"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "--learning_rate" in result.stdout
    assert "usage: kdmcse evaluate" in result.stdout


def test_help_goes_by_the_name_that_was_called():
    assert stored_help("push", "push.py").startswith("usage: push.py")
