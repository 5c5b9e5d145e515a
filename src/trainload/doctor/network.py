"""Mirrors and registries: one small request each, all at once; and what their clocks say of ours."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from trainload.doctor.finding import Finding, Status
from trainload.doctor.machine import Machine, Reached
from trainload.errors import Text

_NETWORK, _CLOCK, _PROXY = Text("network"), Text("clock"), Text("proxy")
_SKEW = 300
"""Seconds: certificates and signed indexes are not believed long after that."""
_PROXIES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")


@dataclass(frozen=True, slots=True)
class Server:
    """What a build may ask."""

    url: str
    variable: str
    """The setting that names another one."""
    archive: str | None = None
    """Several servers of one archive stand for each other."""


def network(machine: Machine, reached: Mapping[Server, Reached]) -> Iterator[Finding]:
    """``reached``: the answers, in the order of the configuration."""
    found = [(server, answer) for server, answer in reached.items()]
    proxy = next((name for name in _PROXIES if machine.environ.get(name)), None)
    if proxy is not None:
        host = urlsplit(machine.environ[proxy]).hostname or "?"
        yield Finding(_PROXY, Status.OK, Text("{variable} leads through {host}", variable=proxy, host=host), proxy)
    if found and all(answer.status is None for _, answer in found):
        text = Text(
            "offline: nobody answers ({reason}); what is in the store still runs", reason=found[0][1].reason
        )
        mend = (f"unset {proxy}",) if proxy else ("ip route", "resolvectl status")
        yield Finding(_NETWORK, Status.WARNING, text, ", ".join(_host(server) for server, _ in found), mend)
        return
    for server, answer in _chosen(found):
        yield _answered(machine, server, answer)
    yield from _clock(machine, [answer for _, answer in found])


def _host(server: Server) -> str:
    return urlsplit(server.url).netloc.rpartition("@")[2]


def _chosen(found: Sequence[tuple[Server, Reached]]) -> Iterator[tuple[Server, Reached]]:
    """Of an archive's servers the first that can be used, as a build would; else the first."""
    best: dict[str, tuple[Server, Reached]] = {}
    for server, answer in found:
        if server.archive is not None and _usable(answer):
            best.setdefault(server.archive, (server, answer))
    told: set[str] = set()
    for server, answer in found:
        if server.archive is None:
            yield server, answer
        elif server.archive not in told:
            told.add(server.archive)
            yield best.get(server.archive, (server, answer))


def _usable(answer: Reached) -> bool:
    return answer.status is not None and (answer.status < 400 or answer.status in (401, 403, 405))


def _answered(machine: Machine, server: Server, answer: Reached) -> Finding:
    host = _host(server)
    if _usable(answer):
        text = Text("{host} answers in {seconds} s", host=host, seconds=f"{answer.seconds:.1f}")
        return Finding(_NETWORK, Status.OK, text, f"{host}")
    reason = answer.reason if answer.status is None else f"HTTP {answer.status}"
    text = Text("{host} cannot be used: {reason}", host=host, reason=reason)
    name = server.variable.partition("=")[0]
    mend = (f"unset {name}",) if machine.environ.get(name) else ()
    return Finding(_NETWORK, Status.WARNING, text, host, (*mend, f"export {server.variable}"))


def _clock(machine: Machine, answers: Sequence[Reached]) -> Iterator[Finding]:
    skews = [(machine.now - answer.date).total_seconds() for answer in answers if answer.date is not None]
    if not skews:
        return
    skew = statistics.median(skews)
    if abs(skew) > _SKEW:
        text = Text("it is {seconds} s away from that of others: certificates and signatures will not hold",
                    seconds=round(abs(skew)))  # fmt: skip
        yield Finding(_CLOCK, Status.WARNING, text, "Date", ("sudo timedatectl set-ntp true",))
    else:
        yield Finding(_CLOCK, Status.OK, Text("as that of others"), "Date")
