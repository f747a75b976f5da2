"""What the loopback Hub answers to each kind of request."""

import base64
import json
import re
import threading
import time
import urllib.parse

import yaml
from hub_routes import Answer, Refusal, Request
from hub_store import Blobs, Commit, Repository, git_oid, is_large

_KINDS = {"models": "", "datasets": "datasets/", "spaces": "spaces/"}
_WRITING = {"create_repo", "branch", "tag", "preupload", "lfs_batch", "commit"}


class Api:
    """Users and repositories; a method a phase. One request at a time: a commit is seen whole or not at all."""

    def __init__(self, blobs: Blobs):
        self.blobs = blobs
        self.users: dict[str, tuple[str, str]] = {}  # token -> name and role
        self.repositories: dict[tuple[str, str], Repository] = {}  # kind and id
        self._lock = threading.Lock()

    def user(self, token: str) -> tuple[str | None, str | None]:
        if token and token not in self.users:
            raise Refusal(401, "", "Invalid credentials in Authorization header")
        return self.users.get(token, (None, None))

    def answer(self, request: Request) -> Answer:
        with self._lock:
            self._check_rights(request)
            return getattr(self, f"_{request.phase}")(request)

    def _check_rights(self, request: Request) -> None:
        phase, values = request.phase, request.values
        if phase in _WRITING or phase == "whoami" or values.get("access") == "write":
            if request.user is None:
                raise Refusal(401, "", "Invalid username or password.")
            owner = values["repo"].split("/")[0] if "repo" in values else request.user
            if phase != "whoami" and (request.role != "write" or owner != request.user):
                raise Refusal(403, "", "You don't have the rights to write here: the token is read-only or another's")
        if "repo" in values:
            repository = self.repositories.get((self._kind(request), values["repo"]))
            owner = values["repo"].split("/")[0]
            if repository is None or (repository.private and request.user != owner):
                raise Refusal(404 if request.user else 401, "RepoNotFound", "Repository not found")

    @staticmethod
    def _kind(request: Request) -> str:
        kind = (request.values.get("kind") or "models").rstrip("/")
        return kind if kind in _KINDS else "models"

    def _repository(self, request: Request) -> Repository:
        return self.repositories[self._kind(request), request.values["repo"]]

    def _commit_of(self, request: Request) -> Commit:
        revision = urllib.parse.unquote(request.values.get("revision") or "main")
        if (commit := self._repository(request).find(revision)) is None:
            raise Refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return commit

    def _whoami(self, request: Request) -> Answer:
        access = {"displayName": "test", "role": request.role}
        return Answer({"type": "user", "name": request.user, "orgs": [], "auth": {"accessToken": access}})

    def _create_repo(self, request: Request) -> Answer:
        wanted = json.loads(request.body)
        owner = wanted.get("organization") or request.user
        if owner != request.user:
            raise Refusal(403, "", f"You don't have the rights to create a repository under {owner}")
        kind, repo_id = f"{wanted.get('type', 'model')}s", f"{owner}/{wanted['name']}"
        url = f"{request.url}/{_KINDS[kind]}{repo_id}"
        if (kind, repo_id) in self.repositories:
            return Answer({"error": "You already created this repo", "url": url}, status=409)
        private = wanted.get("private") or wanted.get("visibility") == "private"
        self.repositories[kind, repo_id] = Repository(self.blobs, bool(private))
        return Answer({"url": url, "name": repo_id, "id": repo_id})

    def _validate_yaml(self, request: Request) -> Answer:
        front = re.match(r"\s*---\n(.*?)\n---", json.loads(request.body)["content"], re.DOTALL)
        if front is None:
            return Answer({"errors": [], "warnings": [{"message": "empty or missing yaml metadata in repo card"}]})
        try:
            yaml.safe_load(front[1])
        except yaml.YAMLError as error:
            return Answer({"errors": [{"message": str(error)}], "warnings": []}, status=400)
        return Answer({"errors": [], "warnings": []})

    def _repo_info(self, request: Request) -> Answer:
        commit, repo = self._commit_of(request), request.values["repo"]
        siblings = [{"rfilename": path} for path in sorted(commit.files)]
        private = self._repository(request).private
        return Answer(
            {"_id": repo, "id": repo, "sha": commit.oid, "private": private, "tags": [], "siblings": siblings}
        )

    def _auth_check(self, request: Request) -> Answer:
        return Answer({})

    def _tree(self, request: Request) -> Answer:
        commit, folder = self._commit_of(request), request.values.get("path") or ""
        prefix = f"{urllib.parse.unquote(folder).rstrip('/')}/" if folder else ""
        recursive = request.query.get("recursive", ["false"])[0].lower() in ("true", "1")
        entries = {}
        for path in sorted(path for path in commit.files if path.startswith(prefix)):
            head, *rest = path.removeprefix(prefix).split("/")
            if rest:
                entries[prefix + head] = {"type": "directory", "path": prefix + head, "oid": commit.oid, "size": 0}
            if recursive or not rest:
                entries[path] = self._entry(request, commit, path)
        if folder and not entries:
            raise Refusal(404, "EntryNotFound", f"{folder} does not exist")
        return Answer(list(entries.values()))

    def _entry(self, request: Request, commit: Commit, path: str) -> dict:
        content = self._repository(request).content(commit, path)
        entry = {"type": "file", "path": path, "oid": git_oid(content), "size": len(content)}
        if is_large(path, len(content)):
            entry["lfs"] = {"oid": commit.files[path], "size": len(content), "pointerSize": 130}
        return entry

    def _paths_info(self, request: Request) -> Answer:
        commit, body = self._commit_of(request), request.body.decode()
        asked = json.loads(body)["paths"] if body.startswith("{") else urllib.parse.parse_qs(body).get("paths", [])
        return Answer([self._entry(request, commit, path) for path in asked if path in commit.files])

    def _commits(self, request: Request) -> Answer:
        history = self._repository(request).history(self._commit_of(request).oid)
        fields = {"authors": [], "date": "2026-01-01T00:00:00.000Z", "message": ""}
        return Answer([{"id": commit.oid, "title": commit.title, **fields} for commit in history])

    def _refs(self, request: Request) -> Answer:
        repository = self._repository(request)
        references = {"branches": ("heads", repository.branches), "tags": ("tags", repository.tags)}
        listed = {
            name: [{"name": key, "ref": f"refs/{folder}/{key}", "targetCommit": oid} for key, oid in values.items()]
            for name, (folder, values) in references.items()
        }
        return Answer({**listed, "converts": []})

    def _branch(self, request: Request) -> Answer:
        repository, name = self._repository(request), urllib.parse.unquote(request.values["revision"])
        if name in repository.branches:
            return Answer({"error": "Reference already exists"}, status=409)
        start = json.loads(request.body or b"{}").get("startingPoint") or "main"
        repository.branches[name] = repository.find(start).oid
        return Answer({})

    def _tag(self, request: Request) -> Answer:
        tags, name = self._repository(request).tags, json.loads(request.body)["tag"]
        if name in tags:
            return Answer({"error": "Tag reference exists already"}, status=409)
        tags[name] = self._commit_of(request).oid
        return Answer({})

    def _preupload(self, request: Request) -> Answer:
        commit, listed = self._commit_of(request), []
        for file in json.loads(request.body)["files"]:
            path = file["path"]
            known = git_oid(self._repository(request).content(commit, path)) if path in commit.files else None
            mode = "lfs" if is_large(path, file["size"]) else "regular"
            listed.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": known})
        return Answer({"files": listed})

    def _lfs_batch(self, request: Request) -> Answer:
        objects = []
        for wanted in json.loads(request.body)["objects"]:
            upload = {"href": f"{request.url}/lfs/{wanted['oid']}", "header": {}}
            actions = {"upload": upload, "verify": {"href": f"{request.url}/lfs/verify", "header": {}}}
            objects.append({**wanted, **({} if wanted["oid"] in self.blobs else {"actions": actions})})
        return Answer({"transfer": "basic", "objects": objects})

    def _lfs_put(self, request: Request) -> Answer:
        if self.blobs.put(request.body) != request.values["oid"]:
            raise Refusal(400, "", "the content does not have the checksum that was announced")
        return Answer()

    def _lfs_verify(self, request: Request) -> Answer:
        if json.loads(request.body)["oid"] not in self.blobs:
            raise Refusal(404, "", "no such object")
        return Answer({})

    def _xet_token(self, request: Request) -> Answer:
        expires, storage = int(time.time()) + 3600, f"local://{self.blobs.xet_folder}"
        headers = {"X-Xet-Cas-Url": storage, "X-Xet-Access-Token": "xet", "X-Xet-Token-Expiration": str(expires)}
        return Answer({"casUrl": storage, "accessToken": "xet", "exp": expires}, headers)

    def _commit(self, request: Request) -> Answer:
        branch = urllib.parse.unquote(request.values["revision"])
        if branch not in self._repository(request).branches:
            raise Refusal(404, "RevisionNotFound", f"Invalid rev id: {branch}")
        head = self._commit_of(request)
        lines = [json.loads(line) for line in request.body.splitlines() if line.strip()]
        header = next(line["value"] for line in lines if line["key"] == "header")
        if header.get("parentCommit") not in (None, head.oid):
            raise Refusal(412, "", "A commit has happened since. Please refresh and try again.")
        added, deleted = {}, []
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                added[value["path"]] = self.blobs.put(base64.b64decode(value["content"]))
            elif line["key"] == "lfsFile":
                added[value["path"]] = value["oid"]
            elif line["key"] in ("deletedFile", "deletedFolder"):
                deleted.append(value["path"])
            elif line["key"] != "header":
                raise Refusal(400, "", f"unknown operation {line['key']}")
        if missing := [path for path, oid in added.items() if oid not in self.blobs]:
            raise Refusal(400, "", f"LFS pointer without an object: {', '.join(missing)}")
        commit = self._repository(request).commit(branch, header["summary"], added, tuple(deleted))
        url = f"{request.url}/{request.values['repo']}/commit/{commit.oid}"
        return Answer({"success": True, "commitOid": commit.oid, "commitUrl": url})

    def _resolve(self, request: Request) -> Answer:
        commit, path = self._commit_of(request), urllib.parse.unquote(request.values["path"])
        headers = {"X-Repo-Commit": commit.oid}
        if path not in commit.files:
            raise Refusal(404, "EntryNotFound", f"{path} does not exist", headers)
        content = self._repository(request).content(commit, path)
        oid = commit.files[path] if is_large(path, len(content)) else git_oid(content)
        headers |= {"ETag": f'"{oid}"', "X-Linked-Etag": f'"{oid}"', "X-Linked-Size": str(len(content))}
        return Answer(content, headers)
