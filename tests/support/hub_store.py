"""What the loopback Hub stores: contents by checksum, repositories as commits, branches and tags."""

import dataclasses
import hashlib
import os
import pathlib
import struct
import threading

import pyarrow

LARGE_SUFFIXES = (".safetensors", ".bin", ".onnx", ".parquet", ".png", ".msgpack")
LARGE_SIZE = 1 << 20  # what is longer goes to LFS or Xet, whatever it is called
_ENTRY = 48  # bytes of every entry in a Xet shard


def git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def is_large(path: str, size: int) -> bool:
    return path.endswith(LARGE_SUFFIXES) or size > LARGE_SIZE


class Blobs:
    """Contents by SHA-256, in files; those that came by Xet are put together when first asked for."""

    def __init__(self, root: pathlib.Path):
        self._folder, self.xet_folder = root / "blobs", root / "cas"
        for folder in (self._folder, self.xet_folder):
            folder.mkdir(parents=True, exist_ok=True)

    def put(self, content: bytes) -> str:
        """Keep a content; its SHA-256."""
        name = sha256(content)
        if not (self._folder / name).exists():
            part = self._folder / f"{name}.{threading.get_ident()}.part"
            part.write_bytes(content)
            os.replace(part, self._folder / name)
        return name

    def __contains__(self, name: str) -> bool:
        return (self._folder / name).exists() or name in self._sent_by_xet()

    def get(self, name: str) -> bytes:
        path = self._folder / name
        if not path.exists():
            self.put(self._sent_by_xet()[name].content(self.xet_folder))
        return path.read_bytes()

    def _sent_by_xet(self) -> dict[str, "XetFile"]:
        """SHA-256 -> file, from the shards that describe what Xet's client has sent."""
        shards = self.xet_folder.rglob("shards/*.mdb")
        return {file.sha256: file for shard in shards for file in _files_of_shard(shard.read_bytes())}


@dataclasses.dataclass(frozen=True)
class XetFile:
    """A file as Xet keeps it: chunks `first` to `end` of some blocks ("xorbs") in turn.

    Xet's own client could put it together only once the sender has closed the storage.
    """

    sha256: str
    segments: tuple[tuple[str, int, int], ...]

    def content(self, folder: pathlib.Path) -> bytes:
        parts = []
        for block, first, end in self.segments:
            (path,) = folder.rglob(f"default.{block}")
            parts += _chunks(path.read_bytes(), end)[first:]
        return b"".join(parts)


def _chunks(block: bytes, count: int) -> list[bytes]:
    """The first chunks of a block: version, packed length (3 bytes), packing, length (3 bytes), then the data."""
    chunks, at = [], 0
    for _ in range(count):
        packed, packing = int.from_bytes(block[at + 1 : at + 4], "little"), block[at + 4]
        length, at = int.from_bytes(block[at + 5 : at + 8], "little"), at + 8
        data = block[at : at + packed]
        if packing:  # LZ4, and perhaps every fourth byte together
            data = pyarrow.decompress(data, length, codec="lz4", asbytes=True)
        chunks.append(_ungroup(data) if packing == 2 else data)
        at += packed
    return chunks


def _ungroup(data: bytes) -> bytes:
    mixed, start = bytearray(len(data)), 0
    for offset in range(4):
        size = len(range(offset, len(data), 4))
        mixed[offset::4] = data[start : start + size]
        start += size
    return bytes(mixed)


def _files_of_shard(shard: bytes) -> list[XetFile]:
    """The file section of a shard: a header, its segments, perhaps as many verifications, perhaps metadata."""
    found, at = [], _ENTRY
    while shard[at : at + 32] != b"\xff" * 32:
        flags, count = struct.unpack_from("<II", shard, at + 32)
        starts = [at + _ENTRY * (1 + number) for number in range(count)]
        segments = tuple((_hexadecimal(shard[s : s + 32]), *struct.unpack_from("<II", shard, s + 40)) for s in starts)
        at += _ENTRY * (1 + count * (2 if flags >> 31 & 1 else 1))
        if flags >> 30 & 1:
            found.append(XetFile(_hexadecimal(shard[at : at + 32]), segments))
            at += _ENTRY
    return found


def _hexadecimal(digest: bytes) -> str:
    """Xet writes a hash as four little-endian numbers."""
    return "".join(f"{number:016x}" for number in struct.unpack("<4Q", digest))


@dataclasses.dataclass(frozen=True)
class Commit:
    oid: str
    parent: str | None
    title: str
    files: dict[str, str]  # path -> SHA-256


class Repository:
    """Commits that never change, and names that point at them."""

    def __init__(self, blobs: Blobs, private: bool):
        self._blobs, self.private = blobs, private
        self.objects: dict[str, Commit] = {}
        self.branches: dict[str, str] = {}
        self.tags: dict[str, str] = {}
        self.commit("main", "initial commit", {".gitattributes": blobs.put(b"*.safetensors filter=lfs\n")}, ())

    def find(self, revision: str) -> Commit | None:
        return self.objects.get(self.branches.get(revision) or self.tags.get(revision) or revision)

    def content(self, commit: Commit, path: str) -> bytes:
        return self._blobs.get(commit.files[path])

    def commit(self, branch: str, title: str, added: dict[str, str], deleted: tuple[str, ...]) -> Commit:
        """One new commit on a branch: all of it or, where a content is unknown (KeyError), none of it."""
        parent = self.find(branch)
        files = dict(parent.files) if parent else {}
        for path in deleted:
            for name in [name for name in files if name == path or (path.endswith("/") and name.startswith(path))]:
                del files[name]
        files.update({path: name for path, name in added.items() if self._blobs.get(name) is not None})
        if parent and files == parent.files:
            return parent  # as the real Hub: the same content is no new commit
        oid = hashlib.sha1(repr((parent and parent.oid, title, sorted(files.items()))).encode()).hexdigest()
        self.objects[oid] = Commit(oid, parent and parent.oid, title, files)
        self.branches[branch] = oid
        return self.objects[oid]

    def history(self, revision: str) -> list[Commit]:
        """Newest first."""
        commits, commit = [], self.find(revision)
        while commit:
            commits.append(commit)
            commit = self.objects.get(commit.parent)
        return commits
