"""The Hub's addresses: which request does what.

Written from huggingface_hub 2.4, transformers 5.23 and datasets 5.2, which are the clients; see the docstring of each
function for who asks.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote

from hub.cards import faults_of
from hub.faults import Request
from hub.replies import Refused, Reply, as_json, refused
from hub.repositories import Blob, Commit, MissingContent, Repository, StaleParent, keeps_large

if TYPE_CHECKING:
    from hub.server import LoopbackHub

REPOSITORY = r"/api/(?P<kind>models|datasets)/(?P<name>[^/]+(?:/[^/]+)?)"
FILE = r"/(?P<kind>datasets/)?(?P<name>[^/]+(?:/[^/]+)?)"


def answer(hub: LoopbackHub, request: Request) -> Reply:
    """Find the address and do what it stands for."""
    path, _, query = request.path.partition("?")
    for method, pattern, work in ROUTES:
        found = re.fullmatch(pattern, path)
        if found and request.method in method.split("|"):
            parts = {key: unquote(text or "") for key, text in found.groupdict().items()}
            try:
                return work(hub, request, **parts, **({"query": parse_qs(query)} if "tree" in pattern else {}))
            except Refused as refusal:
                return refusal.reply
    hub.unknown.append(f"{request.method} {request.path}")
    return as_json({"error": f"the loopback hub does not know {request.method} {request.path}"}, 501)


def whoami(hub: LoopbackHub, request: Request) -> Reply:
    """Tell a token's owner: `HfApi.whoami`, `hf auth login`."""
    hub.check_token(request, writes=True)
    return as_json({"type": "user", "name": hub.user, "orgs": []})


def create(hub: LoopbackHub, request: Request) -> Reply:
    """`HfApi.create_repo`."""
    hub.check_token(request, writes=True)
    asked = json.loads(request.body)
    name = f"{asked.get('organization') or hub.user}/{asked['name']}"
    url = {"url": f"{hub.url}/{name}", "name": name}
    if name in hub.repositories["models"]:
        return as_json(url, 409)
    if name.split("/")[0] != hub.user:
        raise refused(403, f"You don't have the rights to create a model under the namespace {name.split('/')[0]}")
    hub.repositories["models"][name] = Repository(
        "models", name, private=asked.get("visibility") == "private" or bool(asked.get("private"))
    )
    return as_json(url)


def validate_yaml(hub: LoopbackHub, request: Request) -> Reply:
    """`HfApi.create_commit` and `RepoCard.validate`, before a README.md goes up."""
    faults = faults_of(json.loads(request.body)["content"])
    return as_json({"errors": [{"message": fault} for fault in faults], "warnings": []}, 400 if faults else 200)


def preupload(hub: LoopbackHub, request: Request, kind: str, name: str, revision: str) -> Reply:
    """`HfApi.preupload_lfs_files`: how each file is to come."""
    hub.check_token(request, writes=True)
    head = _commit(hub.repository(request, kind, name, writes=True), revision)
    files = []
    for file in json.loads(request.body)["files"]:
        known = head.files.get(file["path"])
        large = keeps_large(file["path"], file["size"])
        oid = known and (known.sha256 if large else known.oid)
        mode = "lfs" if large else "regular"
        files.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid or None})
    return as_json({"files": files})


def lfs_batch(hub: LoopbackHub, request: Request, kind: str, name: str) -> Reply:
    """`huggingface_hub.lfs`: where the bytes of large files go."""
    hub.check_token(request, writes=True)
    hub.repository(request, "datasets" if kind else "models", name, writes=True)
    objects = []
    for one in json.loads(request.body)["objects"]:
        upload = {"upload": {"href": f"{hub.url}/lfs/{one['oid']}"}, "verify": {"href": f"{hub.url}/lfs-verify"}}
        known = one["oid"] in hub.storage.uploaded
        objects.append({**one, **({} if known else {"actions": upload})})
    return as_json({"transfer": "basic", "objects": objects})


def lfs_put(hub: LoopbackHub, request: Request, sha256: str) -> Reply:
    """The bytes themselves; what a storage host on another domain does in truth, so no token may come here."""
    if "authorization" in request.headers:
        raise refused(400, "a token was sent to the storage host")
    try:
        hub.storage.put(sha256, request.body)
    except MissingContent as other:
        raise refused(400, str(other)) from other
    return Reply(200)


def lfs_verify(hub: LoopbackHub, request: Request) -> Reply:
    """Whether the bytes came."""
    hub.check_token(request, writes=True)
    asked = json.loads(request.body)
    _uploaded(hub, asked["oid"], asked["size"])
    return Reply(200)


def xet_token(hub: LoopbackHub, request: Request, kind: str, name: str, access: str, revision: str) -> Reply:
    """hf_xet itself, before an upload."""
    hub.check_token(request, writes=access == "write")
    hub.repository(request, kind, name, writes=access == "write")
    values = {"casUrl": hub.storage.xet_url, "accessToken": "xet-token", "exp": 2**33}
    return as_json(
        values,
        X_Xet_Cas_Url=values["casUrl"],
        X_Xet_Access_Token=values["accessToken"],
        X_Xet_Token_Expiration=str(values["exp"]),
    )


def commit(hub: LoopbackHub, request: Request, kind: str, name: str, revision: str) -> Reply:
    """`HfApi.create_commit`: everything in one request, against a parent."""
    hub.check_token(request, writes=True)
    repository = hub.repository(request, kind, name, writes=True)
    _commit(repository, revision)
    lines = [json.loads(line) for line in request.body.splitlines()]
    header = next(line["value"] for line in lines if line["key"] == "header")
    changed: dict[str, Blob] = {}
    removed: list[str] = []
    for line in lines:
        value = line["value"]
        if line["key"] == "file":
            changed[value["path"]] = Blob(base64.b64decode(value["content"]), is_large=False)
        elif line["key"] == "lfsFile":
            changed[value["path"]] = Blob(_uploaded(hub, value["oid"], value["size"]), is_large=True)
        elif line["key"] == "deletedFile":
            removed.append(value["path"])
        elif line["key"] != "header":
            raise refused(400, f"unknown kind of line: {line['key']}")
    try:
        made = repository.commit(
            changed,
            removed=tuple(removed),
            branch=revision,
            parent=header.get("parentCommit"),
            summary=header["summary"],
        )
    except StaleParent as stale:
        raise refused(412, f"A commit has happened since. Please refresh and try again. {stale}") from stale
    except KeyError as missing:
        raise refused(404, f"A file with this name doesn't exist: {missing}", "EntryNotFound") from missing
    return as_json({"success": True, "commitOid": made.sha, "commitUrl": f"{hub.url}/{name}/commit/{made.sha}"})


def create_branch(hub: LoopbackHub, request: Request, kind: str, name: str, revision: str) -> Reply:
    """`HfApi.create_branch`."""
    hub.check_token(request, writes=True)
    repository = hub.repository(request, kind, name, writes=True)
    if revision in repository.branches:
        raise refused(409, "Reference already exists")
    repository.branches[revision] = repository.head.sha
    return Reply(201)


def information(hub: LoopbackHub, request: Request, kind: str, name: str, revision: str = "main") -> Reply:
    """`HfApi.repo_info`; datasets asks for the revision first."""
    repository = hub.repository(request, kind, name)
    at = _commit(repository, revision)
    return as_json(
        {
            "_id": "1",
            "id": name,
            "modelId": name,
            "author": name.split("/")[0],
            "sha": at.sha,
            "private": repository.private,
            "gated": repository.gated,
            "disabled": False,
            "lastModified": "2026-01-01T00:00:00.000Z",
            "createdAt": "2026-01-01T00:00:00.000Z",
            "downloads": 0,
            "likes": 0,
            "tags": [],
            "siblings": [{"rfilename": path} for path in sorted(at.files)],
        }
    )


def tree(
    hub: LoopbackHub,
    request: Request,
    kind: str,
    name: str,
    revision: str,
    query: dict[str, list[str]],
    folder: str = "",
) -> Reply:
    """`HfApi.list_repo_tree`: snapshots, publishing, the finding of data files and of chat templates."""
    at = _commit(hub.repository(request, kind, name), revision)
    inside = f"{folder}/" if folder else ""
    files = {path: blob for path, blob in at.files.items() if path.startswith(inside)}
    if folder and not files:
        raise refused(404, f"{folder} does not exist on {revision}", "EntryNotFound")
    entries = [_file_entry(path, blob) for path, blob in sorted(files.items())]
    folders = sorted({path[: place.start()] for path in files for place in re.finditer("/", path)})
    entries += [{"type": "directory", "path": path, "oid": "0" * 40, "size": 0} for path in folders if path != folder]
    if query.get("recursive", ["false"])[0].lower() != "true":
        entries = [entry for entry in entries if "/" not in entry["path"].removeprefix(inside)]
    return as_json([entry for entry in entries if entry["path"].startswith(inside)])


def paths_information(hub: LoopbackHub, request: Request, kind: str, name: str, revision: str) -> Reply:
    """`HfApi.get_paths_info`: datasets, file by file."""
    at = _commit(hub.repository(request, kind, name), revision)
    text = request.body.decode()
    asked = json.loads(text)["paths"] if text.startswith("{") else parse_qs(text)["paths"]
    return as_json([_file_entry(path, at.files[path]) for path in asked if path in at.files])


def references(hub: LoopbackHub, request: Request, kind: str, name: str) -> Reply:
    """`HfApi.list_repo_refs`."""
    branches = hub.repository(request, kind, name).branches
    named = [{"name": branch, "ref": f"refs/heads/{branch}", "targetCommit": sha} for branch, sha in branches.items()]
    return as_json({"branches": named, "tags": [], "converts": []})


def resolve(hub: LoopbackHub, request: Request, kind: str, name: str, revision: str, path: str) -> Reply:
    """`hf_hub_download` and everything above it: the head of a file, then its bytes."""
    at = _commit(hub.repository(request, "datasets" if kind else "models", name, reads_files=True), revision)
    if path not in at.files:
        missing = refused(404, f"{path} does not exist on {revision}", "EntryNotFound").reply
        return Reply(404, missing.body, {**missing.headers, "X-Repo-Commit": at.sha})
    blob = at.files[path]
    headers = {
        "X-Repo-Commit": at.sha,
        "ETag": f'"{blob.sha256 if blob.is_large else blob.oid}"',
        "Accept-Ranges": "bytes",
        "Content-Type": "application/octet-stream",
    }
    asked = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
    if asked is None:
        return Reply(200, blob.data, headers)
    first, last = int(asked[1]), int(asked[2] or len(blob.data) - 1)
    headers["Content-Range"] = f"bytes {first}-{last}/{len(blob.data)}"
    return Reply(206, blob.data[first : last + 1], headers)


def _commit(repository: Repository, revision: str) -> Commit:
    found = repository.at(revision)
    if found is None:
        raise refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")
    return found


def _uploaded(hub: LoopbackHub, sha256: str, size: int) -> bytes:
    try:
        return hub.storage.get(sha256, size)
    except MissingContent as missing:
        raise refused(400, f"LFS pointer pointed to a file that does not exist: {missing}") from missing


def _file_entry(path: str, blob: Blob) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "file", "path": path, "oid": blob.oid, "size": len(blob.data)}
    if blob.is_large:
        entry["lfs"] = {"oid": blob.sha256, "size": len(blob.data), "pointerSize": len(blob.pointer)}
    return entry


ROUTES: tuple[tuple[str, str, Callable[..., Reply]], ...] = (
    ("GET", r"/api/whoami-v2", whoami),
    ("POST", r"/api/repos/create", create),
    ("POST", r"/api/validate-yaml", validate_yaml),
    ("POST", rf"{REPOSITORY}/preupload/(?P<revision>[^/]+)", preupload),
    ("POST", rf"{FILE}\.git/info/lfs/objects/batch", lfs_batch),
    ("PUT", r"/lfs/(?P<sha256>[0-9a-f]{64})", lfs_put),
    ("POST", r"/lfs-verify", lfs_verify),
    ("GET", rf"{REPOSITORY}/xet-(?P<access>read|write)-token/(?P<revision>[^/]+)", xet_token),
    ("POST", rf"{REPOSITORY}/commit/(?P<revision>[^/]+)", commit),
    ("POST", rf"{REPOSITORY}/branch/(?P<revision>[^/]+)", create_branch),
    ("GET", rf"{REPOSITORY}/revision/(?P<revision>[^/]+)", information),
    ("GET", rf"{REPOSITORY}/tree/(?P<revision>[^/]+)(?:/(?P<folder>.+))?", tree),
    ("POST", rf"{REPOSITORY}/paths-info/(?P<revision>[^/]+)", paths_information),
    ("GET", rf"{REPOSITORY}/refs", references),
    ("GET", REPOSITORY, information),
    ("GET|HEAD", rf"{FILE}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", resolve),
)
