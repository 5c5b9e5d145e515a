"""A package index on loopback (PEP 503 and PEP 691), and wheels made by hand to fill it."""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import io
import json
import re
import tarfile
import zipfile
from collections.abc import Mapping, Sequence

from trainload.testing.server import FaultServer, Reply

_JSON = "application/vnd.pypi.simple.v1+json"


def wheel(
    name: str,
    version: str,
    *,
    tag: str = "py3-none-any",
    requires: Sequence[str] = (),
    requires_python: str | None = None,
    files: Mapping[str, bytes] | None = None,
) -> tuple[str, bytes]:
    """A wheel's file name and bytes: a module and its metadata; the same arguments give the same bytes."""
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    metadata = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"]
    metadata += [f"Requires-Dist: {requirement}\n" for requirement in requires]
    extras = sorted({name for one in requires for name in re.findall(r"extra == [\"'](.+?)[\"']", one)})
    metadata += [f"Provides-Extra: {name}\n" for name in extras]
    metadata += [f"Requires-Python: {requires_python}\n"] if requires_python else []
    tags = "".join(f"Tag: {one}\n" for one in _expanded(tag))
    purelib = "true" if tag.endswith("-any") else "false"
    members = {
        f"{module}/__init__.py": f"__version__ = {version!r}\n".encode(),
        **(files or {}),
        f"{info}/METADATA": "".join(metadata).encode(),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: {purelib}\n{tags}".encode(),
    }
    record = [f"{path},sha256={_urlsafe(data)},{len(data)}\n" for path, data in members.items()]
    members[f"{info}/RECORD"] = ("".join(record) + f"{info}/RECORD,,\n").encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in members.items():
            entry = zipfile.ZipInfo(path)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, data)
    return f"{module}-{version}-{tag}.whl", buffer.getvalue()


HARMFUL = "open('HARMED', 'w').close()\nraise SystemExit('ran')\n"
"""A ``setup.py`` that must never run here: it would say so by a file named ``HARMED``."""


def sdist(name: str, version: str, files: Mapping[str, str] | None = None) -> tuple[str, bytes]:
    """An sdist's file name and bytes; without ``files`` it has a ``setup.py`` that must never run."""
    folder = f"{name.replace('-', '_')}-{version}"
    members = {
        "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        **({"setup.py": HARMFUL} if files is None else files),
    }
    buffer = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        for path, text in members.items():
            member = tarfile.TarInfo(f"{folder}/{path}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return f"{folder}.tar.gz", buffer.getvalue()


def _expanded(tag: str) -> list[str]:
    python, abi, platform = tag.split("-")
    return [f"{p}-{a}-{o}" for p in python.split(".") for a in abi.split(".") for o in platform.split(".")]


def _urlsafe(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


class PackageIndex:
    """Serves files under ``/simple/`` of a :class:`FaultServer`, laid out as the public index lays them out.

    ``sizes``: speak JSON (PEP 691), which tells sizes; else HTML (PEP 503), which does not. ``hashes``: tell them.
    """

    def __init__(self, server: FaultServer, *, sizes: bool = True, hashes: bool = True, prefix: str = "") -> None:
        self._server = server
        self._hashes = hashes
        self._sizes = sizes
        self._prefix = prefix
        self._files: dict[str, dict[str, bytes]] = {}

    @property
    def url(self) -> str:
        return f"{self._server.url}{self._prefix}/simple"

    def add(self, *files: tuple[str, bytes]) -> None:
        """Publish files, each as (file name, bytes)."""
        for name, data in files:
            project = name.split("-")[0].replace("_", "-").lower()
            self._files.setdefault(project, {})[name] = data
            self._server.serve(self.path(name, data), data)
            self._publish(project)

    def path(self, name: str, data: bytes) -> str:
        """Where a file lies: ``/packages/`` and its hash, as the public index does."""
        digest = hashlib.sha256(data).hexdigest()
        return f"{self._prefix}/packages/{digest[:2]}/{digest[2:4]}/{digest[4:]}/{name.replace('+', '%2B')}"

    def _publish(self, project: str) -> None:
        files = self._files[project]
        address = f"{self._prefix}/simple/{project}/"
        if self._sizes:
            document = {
                "meta": {"api-version": "1.1"},
                "name": project,
                "versions": sorted({name.removesuffix(".tar.gz").split("-")[1] for name in files}),
                "files": [
                    {
                        "filename": name,
                        "url": self._server.url + self.path(name, data),
                        "hashes": {"sha256": hashlib.sha256(data).hexdigest()} if self._hashes else {},
                        "size": len(data),
                    }
                    for name, data in files.items()
                ],
            }
            reply = Reply(json.dumps(document).encode(), headers={"Content-Type": _JSON})
        else:
            links = [
                f'<a href="{self._server.url}{self.path(name, data)}#sha256={hashlib.sha256(data).hexdigest()}">'
                f"{html.escape(name)}</a>"
                for name, data in files.items()
            ]
            page = f"<!DOCTYPE html><html><body>{''.join(links)}</body></html>"
            reply = Reply(page.encode(), headers={"Content-Type": "text/html"})
        self._server.serve(address, reply)
