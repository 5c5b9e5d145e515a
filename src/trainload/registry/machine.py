"""What this machine and its user say about registries: variables, Docker's daemon file, folders of certificates."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from trainload.errors import ConfigError, ImageError, Place, Text
from trainload.image.strict_json import parse_object
from trainload.reference import DOCKER_HUB
from trainload.registry.hosts import Hosts, Plain

MIRRORS = "TRAINLOAD_MIRRORS_REGISTRY"
"""``docker.io=https://mirror.example``, several with commas between them."""
INSECURE = "TRAINLOAD_INSECURE_REGISTRIES"
"""As ``--insecure-registry``, with commas between them."""
_DAEMON = (Path("/etc/docker/daemon.json"),)
_SMALL = 1 << 20


def hosts_here(
    environ: Mapping[str, str],
    mirrors: Mapping[str, Sequence[str]],
    insecure: Iterable[str] = (),
    authorities: Iterable[str] = (),
    daemon: Sequence[Path] = _DAEMON,
) -> Hosts:
    """``mirrors``: the project's. Asked first are those of the environment, then the project's, then Docker's own.

    Raises :class:`ConfigError` for a variable or a name that says nothing.
    """
    plain = Plain(frozenset(_names((*insecure, *_words(environ.get(INSECURE, ""))))))
    found: dict[str, list[str]] = {}
    for registry, url in (*_variable(environ), *_flat(mirrors), *((DOCKER_HUB, url) for url in _daemon(daemon))):
        known = found.setdefault(registry, [])
        if url not in known:
            known.append(url)
    for url in (url for urls in found.values() for url in urls):
        if not url.startswith("https://") and not plain.allows(urlsplit(url).netloc):
            raise ConfigError(
                Text("the mirror {url} is not protected by TLS", url=url), want="https://…",
                hints=[Text("if you trust the way there: --insecure-registry {host}", host=urlsplit(url).netloc)],
            )  # fmt: skip
    return Hosts(found, plain, tuple(authorities), tuple(_certificates(environ)))


def _variable(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for word in _words(environ.get(MIRRORS, "")):
        registry, _, url = word.partition("=")
        if not registry or not url.startswith(("https://", "http://")) or not _is_server(url):
            raise ConfigError(
                Text("this value cannot be used"), place=Place("environment", MIRRORS), got=word,
                want="docker.io=https://mirror.example", hints=[Text("several have commas between them")],
            )  # fmt: skip
        yield registry, url


def _is_server(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0 and not re.search(r"\s", url)
    except ValueError:  # a port that is no number
        return False


def _flat(mirrors: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, str]]:
    for registry, urls in mirrors.items():
        yield from ((registry, url) for url in urls)


def _daemon(files: Sequence[Path]) -> Iterator[str]:
    """``registry-mirrors`` of the Docker daemon here; a file that cannot be read has none, it is not ours."""
    for file in files:
        try:
            urls = parse_object(file.read_bytes(), str(file), limit=_SMALL).get("registry-mirrors")
        except (OSError, ImageError):
            continue
        for url in urls if isinstance(urls, list) else ():
            if isinstance(url, str) and url.startswith("https://") and urlsplit(url).hostname:
                yield url


def _names(names: Iterable[str]) -> Iterator[str]:
    for name in names:
        parts = urlsplit(f"//{name}")
        if "/" in name or "@" in name or not parts.hostname:
            raise ConfigError(Text("{name} is not the name of a registry", name=name), want="HOST or HOST:PORT")
        yield name


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _certificates(environ: Mapping[str, str]) -> Iterator[Path]:
    """Podman's folders and Docker's."""
    if environ.get("HOME"):
        yield Path(environ["HOME"]) / ".config" / "containers" / "certs.d"
    yield Path("/etc/containers/certs.d")
    yield Path("/etc/docker/certs.d")
