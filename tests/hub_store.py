"""What the loopback Hub stores: contents by checksum, repositories as commits, branches and tags."""

import dataclasses
import hashlib
import os
import pathlib
import struct
import threading

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
    """Contents by SHA-256, in files; those that came by Xet are fetched from its storage when first asked for."""

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
        return (self._folder / name).exists() or name in self.xet_hashes()

    def get(self, name: str) -> bytes:
        path = self._folder / name
        if not path.exists():
            self._fetch(self.xet_hashes()[name], path)
        return path.read_bytes()

    def xet_hashes(self) -> dict[str, tuple[str, int]]:
        """SHA-256 -> Xet hash and size of all files that Xet clients have sent, from the shards that describe them."""
        found = {}
        for shard in self.xet_folder.rglob("shards/*.mdb"):
            found.update(_files_of_shard(shard.read_bytes()))
        return found

    def _fetch(self, xet: tuple[str, int], path: pathlib.Path) -> None:
        import hf_xet  # only Xet's own client reads Xet's storage

        part = path.with_suffix(".part")
        with hf_xet.XetSession().new_file_download_group(endpoint=f"local://{self.xet_folder}") as group:
            group.start_download_file(hf_xet.XetFileInfo(*xet), str(part))
        os.replace(part, path)


def _files_of_shard(shard: bytes) -> dict[str, tuple[str, int]]:
    """The file section of a shard: a header, its segments, perhaps as many verifications, perhaps metadata."""
    found, at = {}, _ENTRY
    while shard[at : at + 32] != b"\xff" * 32:
        flags, segments = struct.unpack_from("<II", shard, at + 32)
        lengths = [struct.unpack_from("<I", shard, at + _ENTRY * (1 + n) + 36)[0] for n in range(segments)]
        end = at + _ENTRY * (1 + segments * (2 if flags >> 31 & 1 else 1))
        if flags >> 30 & 1:
            found[_hexadecimal(shard[end : end + 32])] = (_hexadecimal(shard[at : at + 32]), sum(lengths))
            end += _ENTRY
        at = end
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
