"""Stand-ins of the packages that tutorials install: their names, requirements and programs, and little else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.conda_python import minor

from trainload.testing.index import PackageIndex, wheel

_FASTAPI = b"""
import json
__version__ = "0.110.0"


class FastAPI:
    def __init__(self):
        self.routes = {}

    def get(self, path):
        return lambda function: self.routes.setdefault(path, function)
"""
_UVICORN = b"""
import argparse, importlib, json, os, signal, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def main():
    sys.path.insert(0, "")
    parser = argparse.ArgumentParser()
    parser.add_argument("app")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args()
    module, _, name = options.app.partition(":")
    app = getattr(importlib.import_module(module), name)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            route = app.routes.get(self.path)
            body = json.dumps(route() if route else {"detail": "Not Found"}).encode()
            self.send_response(200 if route else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words):
            pass

    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    print("Uvicorn running on", options.port, flush=True)
    ThreadingHTTPServer((options.host, options.port), Handler).serve_forever()
"""
_TRANSFORMERS = b'''
import os
from pathlib import Path
from urllib.request import urlopen
__version__ = "4.40.0"


class _Loader:
    @classmethod
    def from_pretrained(cls, name):
        """As the real one leaves it: blobs by hash, snapshots of links to them."""
        home = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser() / "hub" / f"models--{name}"
        file = home / "snapshots" / "main" / "config.json"
        if not file.exists():
            file.parent.mkdir(parents=True)
            file.write_text('{"model_type": "distilbert"}')
        return f"{cls.__name__} of {name}: {file.read_text()}"


class AutoModel(_Loader):
    pass


class AutoTokenizer(_Loader):
    pass
'''


def _points(name: str, version: str, *lines: str) -> dict[str, bytes]:
    text = "\n".join(["[console_scripts]", *lines]) + "\n"
    return {f"{name}-{version}.dist-info/entry_points.txt": text.encode()}


SERVERS = ("fastapi", "uvicorn[standard]", "flask==3.0.0", "gunicorn==22.0.0")
"""Whose real wheels, and those of all they need, the whole comparison takes instead of stand-ins."""


def publish(index: PackageIndex) -> None:
    """What computes: torch, transformers and the like."""
    library = {"torch/lib/libtorch_cpu.so": b"\x7fELF" + bytes(3000), "torch/bin/protoc": b"#!/bin/sh\n"}
    for version in ("2.1.0", "2.2.0"):
        points = _points("torch", version, "torchrun = torch:main")
        code = f"__version__ = {version!r}\n\ndef main():\n    print('torchrun')\n".encode()
        files = {"torch/__init__.py": code, **library, **points}
        index.add(wheel("torch", version, tag="cp311-cp311-manylinux1_x86_64", requires=["sympy"], files=files))
        index.add(wheel("torch", version, tag="cp310-cp310-manylinux1_x86_64", requires=["sympy"], files=files))
    index.add(
        wheel(
            "sympy",
            "1.12",
            requires=["mpmath>=0.19"],
            files={"sympy-1.12.data/data/share/man/man1/isympy.1": b"page\n"},
        )
    )
    index.add(wheel("mpmath", "1.3.0"), wheel("mpmath", "1.4.0rc1"), wheel("tqdm", "4.66.1"))
    index.add(
        wheel("numpy", "1.26.0", files=_points("numpy", "1.26.0", "f2py = numpy:main")), wheel("numpy", "3.0.0")
    )
    index.add(wheel("accelerate", "0.21.0"))
    needs = ["numpy", 'accelerate>=0.20; extra == "torch"', 'torch; extra == "torch"']
    index.add(wheel("transformers", "4.40.0", requires=needs, files={"transformers/__init__.py": _TRANSFORMERS}))


def publish_servers(index: PackageIndex) -> None:
    """What serves."""
    index.add(wheel("pydantic", "2.7.0", requires=["typing-extensions>=4.8"]), wheel("typing_extensions", "4.9.0"))
    index.add(wheel("fastapi", "0.110.0", requires=["pydantic>=1.7"], files={"fastapi/__init__.py": _FASTAPI}))
    files = {"uvicorn/__init__.py": _UVICORN, **_points("uvicorn", "0.29.0", "uvicorn = uvicorn:main")}
    index.add(wheel("uvicorn", "0.29.0", requires=["click>=7", 'httptools; extra == "standard"'], files=files))
    index.add(wheel("click", "8.1.7"), wheel("httptools", "0.6.1"), wheel("MarkupSafe", "2.1.5"))
    index.add(
        wheel(
            "flask", "3.0.0", requires=["Jinja2>=3", "click"], files=_points("flask", "3.0.0", "flask = flask:main")
        )
    )
    index.add(wheel("Jinja2", "3.1.3", requires=["MarkupSafe>=2"]))


def download(folder: Path, *names: str, whole: bool = False) -> list[Path]:
    """Real wheels of this machine's index: pip itself has to be the real one. ``whole``: and what they need."""
    argv = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "-d", str(folder)]
    more = ["--only-binary", ":all:", "--python-version", minor()] if whole else ["--no-deps"]
    subprocess.run([*argv, *more, *names], check=True)
    return sorted(folder.glob("*.whl"))
