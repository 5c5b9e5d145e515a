"""Look-alikes of the public images that tutorials start from, made of the distribution's packages by ourselves.

They have what a build sees of the real ones: where Python lies and who it belongs to, the config, the accounts, the
entry points. Their Python is this machine's, moved to where upstream's lies, with packages in ``site-packages``.
"""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

from tests.conda_python import minor, python_spec

from trainload.testing.conda import PLACEHOLDER

DEBIAN = """\
FROM {system}
CMD ["bash"]
"""
PYTHON = """\
FROM {system}
ADD python.tar.gz /usr/local
COPY pip-24.0-py3-none-any.whl /tmp/
RUN /usr/local/bin/python3.11 /tmp/pip-24.0-py3-none-any.whl/pip install -q \\
        --no-index --no-cache-dir --no-compile \\
        /tmp/pip-24.0-py3-none-any.whl && rm /tmp/pip-24.0-py3-none-any.whl \\
    && for user in $(sed -n 's/^\\([^:]*\\):x:1000:.*/\\1/p' /etc/passwd); do userdel "$user"; done \\
    && ln -s pip3 /usr/local/bin/pip-3 && ln -sf python3.11 /usr/local/bin/python3
ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ENV LANG=C.UTF-8
ENV GPG_KEY=A035C8C19219BA821ECEA86B64E628F8D684696D
ENV PYTHON_VERSION=3.11.9
ENV PYTHON_PIP_VERSION=24.0
ENV PIP_INDEX_URL={index}
CMD ["python3"]
"""
CUDA = """\
FROM {jammy}
ENV NVARCH=x86_64
ENV NVIDIA_REQUIRE_CUDA="cuda>=12.1 brand=tesla,driver>=470,driver<471"
RUN mkdir -p /usr/local/cuda-12.1/lib64 /opt/nvidia/entrypoint.d && ln -s cuda-12.1 /usr/local/cuda \
    && echo /usr/local/cuda/lib64 > /etc/ld.so.conf.d/nvidia.conf && echo 12.1.1 > /usr/local/cuda/version.txt
COPY --chmod=755 nvidia_entrypoint.sh add-apt-repository /opt/nvidia/
RUN mv /opt/nvidia/add-apt-repository /usr/local/bin/
ENV CUDA_VERSION=12.1.1
ENV PATH=/usr/local/nvidia/bin:/usr/local/cuda/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ENV LD_LIBRARY_PATH=/usr/local/nvidia/lib:/usr/local/nvidia/lib64
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
ENV PIP_INDEX_URL={index}
LABEL maintainer="someone <someone@vendor.example>"
ENTRYPOINT ["/opt/nvidia/nvidia_entrypoint.sh"]
"""
UBUNTU = """\
FROM {jammy}
ENV PIP_INDEX_URL={index}
LABEL org.opencontainers.image.ref.name=ubuntu org.opencontainers.image.version=22.04
CMD ["/bin/bash"]
"""
CONDA = """\
FROM {system}
ADD python.tar.gz /opt/conda
ADD rattler.tar.gz /opt/conda/lib/python3.11/site-packages
COPY pip-24.0-py3-none-any.whl /tmp/
RUN /opt/conda/bin/python3.11 /tmp/pip-24.0-py3-none-any.whl/pip install -q\\
    --no-index --no-cache-dir --no-compile  \\
    /tmp/pip-24.0-py3-none-any.whl && rm /tmp/pip-24.0-py3-none-any.whl
COPY --chmod=755 conda /opt/conda/bin/conda
RUN mkdir -p /opt/conda/envs /opt/conda/conda-meta && touch /opt/conda/conda-meta/history \
    && echo 'channels: [conda-forge]' > /opt/conda/.condarc
ENV LANG=C.UTF-8 LC_ALL=C.UTF-8
ENV PATH=/opt/conda/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ENV CONDA_CHANNEL_ALIAS={channels}
ENV PIP_INDEX_URL={index}
CMD ["/bin/bash"]
"""
PYTORCH = """\
FROM miniconda
RUN pip install --no-cache-dir --no-compile torch==2.1.0
ENV NVIDIA_VISIBLE_DEVICES=all
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility
ENV LD_LIBRARY_PATH=/usr/local/nvidia/lib:/usr/local/nvidia/lib64
ENV PYTORCH_VERSION=2.1.0
WORKDIR /workspace
"""
TORCHSERVE = """\
FROM python
RUN useradd -m model-server && mkdir -p /home/model-server/tmp /home/model-server/model-store \
    && echo inference_address=http://0.0.0.0:8080 > /home/model-server/config.properties \
    && chown -R model-server /home/model-server
COPY --chmod=755 torchserve torch-model-archiver dockerd-entrypoint.sh /usr/local/bin/
EXPOSE 8080 8081 8082 7070 7071
USER model-server
WORKDIR /home/model-server
ENV TEMP=/home/model-server/tmp
ENTRYPOINT ["/usr/local/bin/dockerd-entrypoint.sh"]
CMD ["serve"]
"""
SERVING = """\
FROM python
COPY --chmod=755 tensorflow_model_server tf_serving_entrypoint.sh /usr/bin/
ENV MODEL_BASE_PATH=/models
RUN mkdir -p /models
ENV MODEL_NAME=model
EXPOSE 8500
EXPOSE 8501
CMD []
ENTRYPOINT ["/usr/bin/tf_serving_entrypoint.sh"]
"""
PROGRAMS: Mapping[str, str] = {
    "nvidia_entrypoint.sh": '#!/bin/bash\necho "== CUDA ==" >&2\nexec "$@"\n',
    "dockerd-entrypoint.sh": '#!/bin/bash\nset -e\nif [[ "$1" = "serve" ]]; then\n    shift 1\n'
    '    exec torchserve --start --ncs\nelse\n    exec "$@"\nfi\n',
    "tf_serving_entrypoint.sh": "#!/bin/bash \n\ntensorflow_model_server --port=8500 --rest_api_port=8501 "
    '--model_name=${MODEL_NAME} --model_base_path=${MODEL_BASE_PATH}/${MODEL_NAME} "$@"\n',
    "add-apt-repository": """#!/bin/sh
# What the real one does, without asking the PPAs' owner for the address
case "$*" in *ppa:deadsnakes/ppa*) ;; *) exit 1;; esac
echo "deb [trusted=yes] ARCHIVE/deadsnakes/ppa/ubuntu jammy main" \\
    > /etc/apt/sources.list.d/deadsnakes-ubuntu-ppa-jammy.list
apt-get update -q
""",
    "torch-model-archiver": """#!/usr/local/bin/python3
import argparse, zipfile
parser = argparse.ArgumentParser()
for name in ("--model-name", "--version", "--serialized-file", "--handler", "--export-path"):
    parser.add_argument(name, required=True)
given = parser.parse_args()
with zipfile.ZipFile(f"{given.export_path}/{given.model_name}.mar", "w") as archive:
    for path in (given.serialized_file, given.handler):
        archive.writestr(zipfile.ZipInfo(path.rpartition("/")[2]), open(path, "rb").read())
""",
    "torchserve": """#!/usr/local/bin/python3
# Its ports, its paths, and that it ends when it is told to
import http.server, json, os, signal, sys, threading, zipfile
given = dict(zip(sys.argv, sys.argv[1:]))
name, _, file = given["--models"].partition("=")
names = zipfile.ZipFile(os.path.join(given["--model-store"], file)).namelist()
answers = {
    (8080, "/ping"): {"status": "Healthy"},
    (8080, f"/predictions/{name}"): [names, os.getuid(), os.environ["HOME"]],
    (8081, "/models"): {"models": [{"modelName": name, "modelUrl": file}]},
}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        answer = answers.get((self.server.server_port, self.path))
        body = json.dumps(answer or {"code": 404, "type": "ResourceNotFoundException"}).encode()
        self.send_response(200 if answer else 404)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body)


signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
print(open("config.properties").read(), flush=True)
manages = http.server.ThreadingHTTPServer(("127.0.0.1", 8081), Handler)
threading.Thread(target=manages.serve_forever, daemon=True).start()
http.server.ThreadingHTTPServer(("0.0.0.0", 8080), Handler).serve_forever()
""",
    "tensorflow_model_server": """#!/usr/local/bin/python3
# Its REST port and paths; it needs a folder whose name is a number
import http.server, json, os, sys
given = dict(word.lstrip("-").split("=", 1) for word in sys.argv[1:])
path = f"/v1/models/{given['model_name']}"
(version,) = [name for name in os.listdir(given["model_base_path"]) if name.isdigit()]
open(os.path.join(given["model_base_path"], version, "saved_model.pb")).close()
status = {"error_code": "OK", "error_message": ""}
state = {"model_version_status": [{"version": str(int(version)), "state": "AVAILABLE", "status": status}]}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        found = self.path == path
        body = json.dumps(state if found else {"error": f"Malformed request: GET {self.path}"}).encode()
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body)


http.server.ThreadingHTTPServer(("0.0.0.0", int(given["rest_api_port"])), Handler).serve_forever()
""",
    "conda": """#!/opt/conda/bin/python3.11
# The part of conda's command line that Dockerfiles use, over rattler's solver and installer
import asyncio, os, pathlib, sys
import rattler

BASE = pathlib.Path("/opt/conda")
alias = os.environ["CONDA_CHANNEL_ALIAS"]


def install(prefix, channels, specs):
    addresses = [f"{alias}/{name}" for name in channels]
    found = rattler.VirtualPackage.detect()
    records = asyncio.run(rattler.solve(addresses, specs, platforms=["linux-64", "noarch"], virtual_packages=found,
                                        add_pip_as_python_dependency=True))
    asyncio.run(rattler.install(records, prefix, cache_dir=BASE / "pkgs", show_progress=False))
    known = pathlib.Path.home() / ".conda" / "environments.txt"
    known.parent.mkdir(exist_ok=True)
    with known.open("a") as file:
        print(prefix, file=file)


def option(words, *names, default=None):
    for name, value in zip(words, words[1:]):
        if name in names:
            return value
    return default


words = sys.argv[1:]
match words:
    case ["--version"]:
        print("conda 24.1.2")
    case ["clean", *_]:
        import shutil
        shutil.rmtree(BASE / "pkgs", ignore_errors=True)
    case ["env", "create", *rest]:
        lists, here, name = {"channels": [], "dependencies": []}, None, None
        for line in open(option(rest, "-f", "--file")):
            if line.startswith("name:"):
                name = line.split()[1]
            elif line.strip().rstrip(":") in lists:
                here = lists[line.strip().rstrip(":")]
            elif line.strip().startswith("- "):
                here.append(line.strip()[2:].replace("python=3.11", "python 3.11.*"))
        install(BASE / "envs" / option(rest, "-n", "--name", default=name), *lists.values())
    case ["install", *rest]:
        install(BASE, [option(rest, "-c")], [rest[-1]])
    case ["run", *rest]:
        prefix = BASE / "envs" / option(rest, "-n")
        at = rest.index("-n") + 2
        environ = {**os.environ, "PATH": f"{prefix}/bin:{os.environ['PATH']}", "CONDA_PREFIX": str(prefix),
                   "CONDA_DEFAULT_ENV": prefix.name}
        os.execvpe(rest[at], rest[at:], environ)
    case _:
        sys.exit(f"conda: {words}")
""",
}


_ENSUREPIP = b"""\
import os, pathlib, subprocess, sys

BUNDLED = pathlib.Path(__file__).parent / "_bundled"


def version():
    return "24.0"


def main():
    (wheel,) = BUNDLED.glob("pip-*.whl")
    words = ["install", "--no-cache-dir", "--no-index", "--find-links", str(BUNDLED), "--upgrade", "pip"]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    sys.exit(subprocess.run([sys.executable, str(wheel / "pip"), *words], env=environ).returncode)
"""
"""What ``python -m venv`` calls: Debian has it in another package, with a wheel of its own."""


def python_tree(prefix: str, pip: bytes) -> bytes:
    """``bin`` and ``lib`` of a Python below ``prefix``, packed. ``pip``: the wheel that it bundles."""
    out = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=out, mode="wb", compresslevel=1, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        for path, content in python_spec().files.items():
            info = tarfile.TarInfo(path)
            info.mode = content.mode
            data = (
                content.data.replace(PLACEHOLDER.encode(), prefix.encode()) if content.placeholder else content.data
            )
            if path.endswith("/sysconfig.py"):  # Debian's own layout
                data = data.replace(b"prefix_scheme = 'posix_local'", b"prefix_scheme = 'posix_prefix'")
            if content.link is not None:
                info.type, info.linkname = tarfile.SYMTYPE, content.link
            info.size = len(data) if content.link is None else 0
            archive.addfile(info, io.BytesIO(data) if info.size else None)
        for name, data in (
            ("__init__.py", _ENSUREPIP),
            ("__main__.py", b"import ensurepip\n\nensurepip.main()\n"),
            ("_bundled/pip-24.0-py3-none-any.whl", pip),
        ):
            info = tarfile.TarInfo(f"lib/python{minor()}/ensurepip/{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def rattler_tree() -> bytes:
    """rattler as it is installed here: its stable ABI fits any Python."""
    import rattler

    folder = Path(rattler.__file__).parent
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", compresslevel=1) as archive:
        archive.add(folder, "rattler", filter=_owned)
    return out.getvalue()


def _owned(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
    if info.name.endswith("__pycache__"):
        return None
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    info.mtime = 0
    return info
