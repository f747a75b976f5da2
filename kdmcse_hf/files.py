"""Reading our own JSON and YAML, checksums of files, locks on them, and writing one whole or not at all."""

import contextlib
import hashlib
import json
import os
import pathlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TextIO

import yaml

from .errors import InputError

try:
    import fcntl
except ImportError:  # neither Linux nor macOS
    fcntl = None  # type: ignore[assignment]

TEMPORARY_SUFFIX = ".tmp"
NUMBER = (int, float)  # a form, see `check_form`
_REMEDY = "Write the file again, or take it from a copy"
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_KINDS = {
    dict: "an object",
    list: "a list",
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
}


def sha256(path: str | os.PathLike) -> str:
    """SHA-256 of a file's content, in hexadecimal digits.

    Raises:
        OSError: the file is missing or cannot be read.
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_text(path: str | os.PathLike) -> str:
    """A file's text, without a byte-order mark.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: It is not in UTF-8.
    """
    try:
        return pathlib.Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not text in UTF-8: {error}. Save it in UTF-8") from error


def parse_json(text: str) -> Any:
    """The content of a JSON text whose strings can be written again.

    Raises:
        ValueError: It is not JSON, its lists are too deep in one another, a number is too long, or a string holds half
            of a surrogate pair, which is no character.
    """
    try:
        content = json.loads(text)
    except RecursionError:
        raise InputError("lists or objects are too deep in one another") from None
    if _SURROGATE.search(text):  # seldom, and slower than reading
        try:
            json.dumps(content, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise InputError(f"a string holds {error.object[error.start]!r}, half of a character") from None
    return content


@dataclass(frozen=True)
class Maybe:
    """A form of what may not be there; see `check_form`. Whether null counts as not there is said too."""

    form: Any
    null: bool = True


def check_form(content: Any, form: Any, where: object, key: str = "") -> None:
    """Refuse the content of a file that has another form.

    Args:
        content: of JSON or YAML.
        form: a class, or several; a list that holds the form of each item; a dict of the forms of values by their
            keys, `...` standing for all others. What is not needed is a `Maybe`.
        where: the file, for the message.
        key: where in the file this is.

    Raises:
        InputError: it is of another form; the message names file and key, what was found and what is needed.
    """
    if isinstance(form, Maybe):
        return None if content is None and form.null else check_form(content, form.form, where, key)
    kinds = form if isinstance(form, tuple) else (form if isinstance(form, type) else type(form),)
    if not isinstance(content, kinds) or (isinstance(content, bool) and bool not in kinds):
        needed = " or ".join(_KINDS[kind] for kind in kinds if not (kind is int and float in kinds))
        raise InputError(f"{where}: {key or 'its content'} is {content!r:.40}, {needed} is needed")
    if isinstance(form, list):
        for number, each in enumerate(content):
            check_form(each, form[0], where, f"{key}[{number}]")
    elif isinstance(form, dict):
        if missing := [
            name for name, each in form.items() if name not in {*content, ...} and not isinstance(each, Maybe)
        ]:
            raise InputError(f"{where}: {key or 'its content'} has no {missing[0]}")
        for name, value in content.items():
            if name in form or ... in form:
                check_form(value, form.get(name, form.get(...)), where, f"{key}.{name}".lstrip("."))
    return None


def read_json(path: str | os.PathLike, form: Any = dict) -> Any:
    """The content of a JSON file of our own, or of a model repository.

    Args:
        path: of the file.
        form: that it must have, see `check_form`.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: it is no JSON, or of another form; the message names file and key.
    """
    text = read_text(path)
    try:
        content = parse_json(text)
    except ValueError as error:
        raise InputError(f"{path} was not written to its end, or is no JSON: {error}. {_REMEDY}") from None
    return _of_form(content, form, path)


def _of_form(content: Any, form: Any, path: str | os.PathLike) -> Any:
    try:
        check_form(content, form, path)
    except ValueError as error:
        raise InputError(f"{error}. {_REMEDY}") from None
    return content


class _YamlLoader(yaml.SafeLoader):
    """Without what says a thing twice or without end: one key twice, of which the last would count, and aliases."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.constructor.ConstructorError(
                None, None, "an alias (*name) stands for a value: write the value itself", self.peek_event().start_mark
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict:
        seen = set()
        for key, _ in node.value:
            problem = "a key is no word" if not isinstance(key, yaml.ScalarNode) else None
            if problem or key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, problem or f"the key {key.value!r} stands there twice: keep one", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_yaml(path: str | os.PathLike, form: Any = dict) -> Any:
    """The content of a YAML file of our own; an empty one has no keys.

    Args:
        path: of the file.
        form: that it must have, see `check_form`.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: it is no YAML, a key stands there twice, or it is of another form; the message names file and key.
    """
    text = read_text(path)
    try:
        content = yaml.load(text, _YamlLoader)
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # dates and numbers that are none
        raise InputError(f"{path} is no YAML: {' '.join(str(error).split())}") from error
    except RecursionError:
        raise InputError(f"{path} is no YAML: its lists are too deep in one another") from None
    return _of_form({} if content is None else content, form, path)


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """A temporary name beside `path`, which the written file gives up for `path` when the context ends.

    The content is on the disk before the file is renamed, so a process or machine that dies leaves the old file, or
    none, and a temporary file at most. Where the context raises, the temporary file is removed.

    Yields:
        The name to write to: that of `path`, the process id and `TEMPORARY_SUFFIX`.

    Raises:
        OSError: the file cannot be written.
    """
    path = pathlib.Path(path)
    temporary = path.with_name(f"{path.name}.{os.getpid()}{TEMPORARY_SUFFIX}")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike, content: dict | list) -> None:
    """Write a JSON file, indented by one space and with a line end, whole or not at all."""
    write_text(path, json.dumps(content, indent=1) + "\n")


def take_lock(file: TextIO) -> bool:
    """Lock an open file until it is closed, by children that inherit it too; whether it was free.

    Systems without such locks, neither Linux nor macOS, always say that it was.
    """
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
