"""What the loopback Hub is asked, by phase, and what it answers with."""

import dataclasses
import re

_API = r"/api/(?P<kind>models|datasets|spaces)/(?P<repo>[^/]+/[^/]+)"
_REVISION = r"/(?P<revision>[^/]+)"
_PLAIN = r"/(?P<kind>(?:datasets|spaces)/)?(?P<repo>[^/]+/[^/]+?)"
# Phase, method, path. The first that fits is taken; phases are what faults are ordered for.
ROUTES = [
    ("whoami", "GET", r"/api/whoami-v2"),
    ("create_repo", "POST", r"/api/repos/create"),
    ("validate_yaml", "POST", r"/api/validate-yaml"),
    ("repo_info", "GET", _API + r"(?:/revision" + _REVISION + ")?"),
    ("auth_check", "GET", _API + r"/auth-check(?:/(?P<access>\w+))?"),
    ("tree", "GET", _API + r"/tree" + _REVISION + r"(?:/(?P<path>.*))?"),
    ("paths_info", "POST", _API + r"/paths-info" + _REVISION),
    ("commits", "GET", _API + r"/commits" + _REVISION),
    ("refs", "GET", _API + r"/refs"),
    ("branch", "POST", _API + r"/branch" + _REVISION),
    ("tag", "POST", _API + r"/tag" + _REVISION),
    ("preupload", "POST", _API + r"/preupload" + _REVISION),
    ("xet_token", "GET", _API + r"/xet-(?P<access>write)-token" + _REVISION),
    ("commit", "POST", _API + r"/commit" + _REVISION),
    ("lfs_batch", "POST", _PLAIN + r"\.git/info/lfs/objects/batch"),
    ("lfs_put", "PUT", r"/lfs/(?P<oid>[0-9a-f]{64})"),
    ("lfs_verify", "POST", r"/lfs/verify"),
    ("resolve", "GET", _PLAIN + r"/resolve" + _REVISION + r"/(?P<path>.+)"),
]


class Refusal(Exception):
    """An answer other than success: status, X-Error-Code, message."""


@dataclasses.dataclass
class Answer:
    body: bytes | dict | list = b""
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    status: int = 200


@dataclasses.dataclass
class Request:
    """What a handler needs of one."""

    phase: str
    values: dict[str, str]  # of the path
    query: dict[str, list[str]]
    body: bytes
    url: str  # of the Hub, as the client calls it
    user: str | None
    role: str | None


def route(method: str, path: str) -> tuple[str | None, dict[str, str]]:
    """Phase and named parts of a path; no phase where nothing is there."""
    for phase, wanted, pattern in ROUTES:
        if ("GET" if method == "HEAD" else method) == wanted and (match := re.fullmatch(pattern, path)):
            return phase, match.groupdict()
    return None, {}
