# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""The gateway in front of NIMs, as a configuration for HAProxy 2.6 or newer. Pure, makes no calls.

The first part of a request's path names the NIM. In a cluster and on a Docker host it is the name of a Service or a
container, which HAProxy asks the DNS for: a new NIM needs neither a new configuration nor a restart, and two runs
cannot overwrite each other's routes. Where the gateway stands in the NIM's own task, the addresses are given.

Who asks is told by a token, a JWT that is signed with ES256 (RFC 7515, RFC 7519). The gateway has public keys only.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import re
import typing as t

IMAGE = (
    "docker.io/library/haproxy:3.2.24-alpine3.24"
    "@sha256:686211da34aba401814bb109c813db6a579491bc8753bfd81b78cce7d1e02f7c"
)
"""HAProxy's official image. The digest is that of the index for all platforms, as docker-library/repo-info lists it in
``repos/haproxy/remote/3.2-alpine3.24.md`` (commit 0ed0a0ed36758e850c095b6380c2517baff81896)."""

USER_ID = 99
"""The user ``haproxy`` of the official image."""

PORT = 8080
"""Requests for NIMs."""

HEALTH_PORT = 8081
"""Questions about the gateway itself and about health, without a token. Only what watches the gateway may reach it."""

HEALTH_PATH = "/healthz"
"""Answers 200 while the gateway takes requests."""

RESOLVE_PATH = "/livez"
"""Answers 200 while the gateway can find NIMs by their names, else 503."""

NIM_HEALTH_PATH = "/v1/health/ready"
"""The one path of a NIM that the health port passes on, where the NIMs' addresses are given."""

REQUEST_SECONDS = 900
"""How long a NIM may work on a request without sending anything. Pictures on a small GPU take minutes."""

LONGEST_NAME = 59
"""A Service's name has at most 63 characters, and ``nim-`` comes before the name in the path."""

MIB = 1024 * 1024

METHODS = ("GET", "HEAD", "POST")
"""A NIM needs no others."""

AUDIENCE = "budgetguard-gateway"
"""What a token is for, so that nothing else that the studio may sign opens a NIM."""

AUTH = "gateway"
"""What is published of a NIM whose gateway asks for a workstation's token."""

CLOCK_SECONDS = 60
"""By so much the clocks of the controller and of the gateway may differ."""

USAGE_FIELDS = (
    "time",
    "workstation",
    "node",
    "target",
    "method",
    "path",
    "status",
    "seconds",
    "bytes",
    "request_bytes",
    "tsc",
)
"""The keys of a line of the usage log, in their order. ``time`` is when the request ended; ``tsc`` are HAProxy's four
letters for how it ended. What is not known is ``-``; a line of a request that was no HTTP has no path."""

_PATH_IN_LOG = 200
_NAME = re.compile(r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?\Z")
_ADDRESS = re.compile(r"^[A-Za-z0-9.-]+:\d{1,5}\Z")
_LISTEN = re.compile(r"^(\*|[A-Za-z0-9.:-]+)(:\d{1,5})?\Z")
_PATH = re.compile(r"^/[A-Za-z0-9._/-]+\Z")
WORD = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")
"""A name of a workstation, target, studio or token: nothing in it means something in a configuration or in JSON."""
_DENIED = re.compile(r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}\Z")
"""A name of a workstation, or a token's id, which is base64 and may begin with any of its letters."""

_STRIPPED = (
    "authorization",
    "cookie",
    "forwarded",
    "proxy",
    "proxy-authorization",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-url",
    "x-real-ip",
    "x-rewrite-url",
)
"""Headers that a NIM neither needs nor may believe. All that begin with ``x-forwarded-`` go, too."""


@dataclasses.dataclass(frozen=True)
class NamedRoutes:
    """NIMs that are found by name: the path ``/NAME/...`` goes to the host ``nim-NAME`` of the ``domain``.

    ``nameservers`` are addresses with a port; without any, HAProxy takes those of its /etc/resolv.conf. ``itself`` is a
    name that always exists there, to try the DNS with.

    ``balancer`` is the one host behind which all NIMs are, where there is one: it gets the whole path.
    """

    domain: str | None = None
    itself: str = "gateway"
    nameservers: tuple[str, ...] = ()
    nim_port: int = 8000
    balancer: str | None = None

    @classmethod
    def in_cluster(cls, namespace: str, **options: t.Any) -> NamedRoutes:
        """Return the routes to the Services of a namespace."""
        return cls(domain=f"{namespace}.svc.cluster.local", **options)

    def host(self, name: str) -> str:
        """Return what the DNS is asked for."""
        if self.balancer:
            return self.balancer
        return f"{name}.{self.domain}" if self.domain else name


@dataclasses.dataclass(frozen=True)
class FixedRoutes:
    """NIMs whose addresses are known: pairs of the name in the path and ``host:port``.

    If the load balancer before it takes the name out of the path, ``in_path`` is false, and there is one route.
    """

    routes: tuple[tuple[str, str], ...]
    in_path: bool = True


@dataclasses.dataclass(frozen=True)
class Login:
    """Who may ask. Without public keys everybody may, as far as the network lets them.

    ``public_keys`` are paths of PEM files, two while one takes over from the other. ``studio`` is the issuer of the
    tokens. ``denied`` is the path of a file as :func:`denied_file` writes it.
    """

    public_keys: tuple[str, ...] = ()
    studio: str = ""
    denied: str | None = None


@dataclasses.dataclass(frozen=True)
class Limits:
    """What one request, and one workstation, may take. None is no limit.

    A client that stops in its body is cut off after ``body_stall_seconds`` as long as less than one buffer (16 KiB)
    has arrived; later, and only with a good token, it can stay for ``request_seconds``.

    The last two hold for one copy of the gateway; behind a load balancer with several, each counts by itself.
    """

    request_seconds: int = REQUEST_SECONDS
    header_seconds: int = 10
    body_stall_seconds: int = 60
    body_bytes: int = 64 * MIB
    connections: int = 2000
    requests_per_minute: int | None = None
    concurrent_requests: int | None = None


_TEMPLATE = """\
# Written by the collection budgetguard.techops; changes made here are lost.
global
    log {log} len 4096 format raw local0 info
    maxconn {connections}
    # When two threads write to standard output at the same time, one of the lines is dropped, and a use with it.
    nbthread 1
    hard-stop-after {stop_seconds}s
{tls_defaults}
defaults
    mode http
    log global
    option dontlognull
    # In HTTP/2 a body may come without a length and not be in chunks, so that its limit could not be kept.
    option disable-h2-upgrade
    # A NIM is asked for minutes of work, so a connection of its own costs nothing and is never a stale one.
    option http-server-close
    retries 1
    timeout connect 5s
    timeout queue 5s
    timeout http-request {header_seconds}s
    timeout http-keep-alive 60s
    # It does not run while the NIM works.
    timeout client {body_stall_seconds}s
    timeout server {request_seconds}s
    # Clouds' load balancers forget connections that are silent for some minutes, as one is while a NIM works.
    option clitcpka
    clitcpka-idle 60s
    clitcpka-intvl 60s
    http-error {not_http}
    http-error {too_late}
    http-error {broke_off}
    http-error {not_running}
    http-error {too_slow}
{resolvers}
frontend gateway
    bind {listen}{tls}
    {log_format}
    http-request set-var(txn.method) method
    # Without the query, which may hold what nobody should read in a log.
    http-request set-var(txn.path) path,bytes(0,{path_in_log}),json(ascii)
{node}
{checks}
{routes}

frontend health
    bind {health_listen}
    timeout client 10s
    # Probes come every few seconds, and are nobody's use.
    no log
    http-request return {ok} if {{ path {health_path} }}
{health}
{backends}"""


def haproxy_config(
    routes: NamedRoutes | FixedRoutes,
    *,
    target: str,
    mark: str = "",
    listen: str = f"*:{PORT}",
    health_listen: str = f"*:{HEALTH_PORT}",
    certificate: str | None = None,
    login: Login | None = None,
    limits: Limits | None = None,
    log: str = "stdout",
) -> str:
    """Return the whole configuration file.

    ``certificate`` is the path of a PEM file with certificate, chain and key; without one the gateway speaks plain
    HTTP. ``mark`` comes back from the health port, to see which configuration runs. ``log`` is ``stdout`` or the
    address of a syslog server, as ``127.0.0.1:514``; each request gives one line of JSON there, without any prefix.

    Raises ValueError for what would not be a configuration.
    """
    login, limits = login or Login(), limits or Limits()
    paths = [path for path in (certificate, login.denied, *login.public_keys) if path is not None]
    _check([target, *([mark] if mark else [])], log, [listen, health_listen], paths)
    problems = _login_problems(login, limits) + _limit_problems(limits) + _route_problems(routes)
    if problems:
        raise ValueError("; ".join(problems))
    parts = _by_name(routes) if isinstance(routes, NamedRoutes) else _by_address(routes)
    table = _workstations_table() if _per_workstation(limits) else []
    return _TEMPLATE.format(
        log=log,
        connections=limits.connections,
        request_seconds=limits.request_seconds,
        stop_seconds=limits.request_seconds + 30,
        header_seconds=limits.header_seconds,
        body_stall_seconds=limits.body_stall_seconds,
        tls_defaults=_TLS_DEFAULTS if certificate else "",
        tls=f" ssl crt {certificate} alpn http/1.1" if certificate else "",
        listen=listen,
        health_listen=health_listen,
        health_path=HEALTH_PATH,
        ok=f'status 200 content-type text/plain string "ok {mark}"' if mark else _OK,
        log_format=_log_format(target),
        path_in_log=_PATH_IN_LOG,
        node=_indented(parts.node),
        not_http=_answer(400, "This is not HTTP as the gateway takes it: the request is malformed, or too large"),
        too_late=_answer(408, "The request did not arrive in time"),
        broke_off=_answer(502, "The NIM broke the connection off: it was stopped, or the request was too much for it"),
        not_running=_answer(503, NOT_RUNNING),
        too_slow=_answer(504, "The NIM did not answer in time"),
        resolvers="\n".join(parts.resolvers),
        checks=_indented(_checks(login, limits)),
        routes=_indented(parts.routes),
        health=_indented(parts.health),
        backends="\n".join([*parts.backends, *table]),
    )


def _indented(lines: t.Sequence[str]) -> str:
    return "\n".join(f"    {line}" for line in lines)


CONFIG_FILE, DENIED_FILE, CERTIFICATE_FILE = "haproxy.cfg", "denied.map", "certificate.pem"

_PUBLIC_KEY = re.compile(r"^-----BEGIN PUBLIC KEY-----\n[A-Za-z0-9+/=\n]+\n-----END PUBLIC KEY-----$")
_CERTIFICATE = "-----BEGIN CERTIFICATE-----"
_PRIVATE_KEY = re.compile(r"^-----BEGIN ([A-Z]+ )?PRIVATE KEY-----\n")


def would_open(place: str, remove: str) -> str:
    """Return why a run that would take the login away is refused, and how it is taken away on purpose."""
    return (
        f"{place} has a gateway with a login, and this run has no public_keys in the option gateway: it would open the "
        f"NIMs to everybody on the network. Give the option, or remove the gateway first: {remove}"
    )


@dataclasses.dataclass(frozen=True)
class Front:
    """What one target's gateway is to be, with everything that goes into files. Raises ValueError.

    Without ``public_keys`` there is no login, and without a ``certificate`` no TLS.
    """

    target: str = "target"
    studio: str = ""
    public_keys: tuple[str, ...] = ()
    denied: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    certificate: str | None = None
    private_key: str | None = dataclasses.field(default=None, repr=False)
    limits: Limits = dataclasses.field(default_factory=Limits)

    def __post_init__(self) -> None:
        for number, key in enumerate(self.public_keys):
            if not _PUBLIC_KEY.match(key.strip()):
                raise ValueError(
                    f"gateway.public_keys[{number}] must be a public key as PEM (BEGIN PUBLIC KEY), and nothing else"
                )
        if (self.certificate is None) != (self.private_key is None):
            raise ValueError("gateway.certificate and gateway.private_key go together; give both or none")
        if self.certificate is not None and _CERTIFICATE not in self.certificate:
            raise ValueError("gateway.certificate must be PEM (BEGIN CERTIFICATE), the server's certificate first")
        if self.private_key is not None and not _PRIVATE_KEY.match(self.private_key.strip()):
            raise ValueError("gateway.private_key must be PEM (BEGIN PRIVATE KEY), without a password")
        # It tells what is wrong with the rest before anything is made.
        self.files(NamedRoutes(), "/etc/haproxy", "/etc/haproxy")

    @classmethod
    def from_options(cls, options: t.Mapping[str, t.Any] | None, target: str) -> Front:
        """Read the option ``gateway`` of a module; ``target`` is the name where the option gives none."""
        given = {name: value for name, value in (options or {}).items() if value not in (None, "", [], {})}
        limits = Limits(
            body_bytes=given.get("body_mib", 64) * MIB,
            requests_per_minute=given.get("requests_per_minute"),
            concurrent_requests=given.get("concurrent_requests"),
        )
        return cls(
            target=str(given.get("target", target)),
            studio=str(given.get("studio", "")),
            public_keys=tuple(str(key).strip() for key in given.get("public_keys", ())),
            denied=given.get("denied", {}),
            certificate=given.get("certificate"),
            private_key=given.get("private_key"),
            limits=limits,
        )

    @property
    def tls(self) -> bool:
        """Whether it speaks HTTPS."""
        return self.certificate is not None

    @property
    def login(self) -> bool:
        """Whether it wants tokens."""
        return bool(self.public_keys)

    def files(
        self, routes: NamedRoutes | FixedRoutes, folder: str, secret_folder: str, **options: t.Any
    ) -> dict[str, str]:
        """Return the content of each file that goes into ``folder``; the certificate is in ``secret_folder``."""
        keys = {f"public{number}.pem": f"{key.strip()}\n" for number, key in enumerate(self.public_keys)}
        login = Login(tuple(f"{folder}/{name}" for name in keys), self.studio, f"{folder}/{DENIED_FILE}")
        config = haproxy_config(
            routes,
            target=self.target,
            certificate=f"{secret_folder}/{CERTIFICATE_FILE}" if self.tls else None,
            login=login if keys else None,
            limits=self.limits,
            **options,
        )
        return {CONFIG_FILE: config, **({**keys, DENIED_FILE: denied_file(self.denied)} if keys else {})}

    def secret_files(self) -> dict[str, str]:
        """Return the content of each file that holds a key."""
        if self.certificate is None or self.private_key is None:
            return {}
        return {CERTIFICATE_FILE: f"{self.certificate.strip()}\n{self.private_key.strip()}\n"}


NOT_RUNNING = "This NIM does not run: it is stopped, still starting, or not deployed here"
NO_PATH = "There is no NIM under this path; it starts with the name of one, as /flux-dev-l4/v1"

_TLS_DEFAULTS = """\
    ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets
    ssl-default-bind-ciphers ECDHE+AESGCM:ECDHE+CHACHA20
"""


def denied_file(denied: t.Mapping[str, t.Any] | None) -> str:
    """Return the deny list as HAProxy reads it.

    ``denied`` are names of workstations, or ids of single tokens, and the time before which their tokens were issued
    that are refused: so a workstation that was found again works with a new token. Raises ValueError.
    """
    lines = []
    for name, moment in sorted((denied or {}).items()):
        if not _DENIED.match(str(name)):
            raise ValueError(f"nim_gateway_denied has {name!r}; it must be the name of a workstation or a token's id")
        seconds = unix_time(f"nim_gateway_denied[{name!r}]", moment)
        lines += [f"sub:{name} {seconds}\n", f"jti:{name} {seconds}\n"]
    return "".join(lines)


def unix_time(where: str, moment: t.Any) -> int:
    """Return seconds since 1970 for a time in ISO 8601, as YAML gives it. Raises ValueError."""
    if isinstance(moment, datetime.datetime):
        found = moment
    else:
        try:
            # Before Python 3.11 fromisoformat does not know the Z.
            found = datetime.datetime.fromisoformat(re.sub(r"[Zz]$", "+00:00", str(moment)))
        except ValueError:
            raise ValueError(f"{where} is {moment!r}; it must be a time such as 2026-11-28T15:00:00Z") from None
    if found.tzinfo is None:
        found = found.replace(tzinfo=datetime.timezone.utc)
    return int(found.timestamp())


# ---- the ways to the NIMs --------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Parts:
    """What depends on how NIMs are found, in lines."""

    resolvers: list[str]
    node: list[str]
    routes: list[str]
    health: list[str]
    backends: list[str]


def _by_name(routes: NamedRoutes) -> _Parts:
    asked = [f"nameserver dns{number} {address}" for number, address in enumerate(routes.nameservers)]
    resolvers = [
        "",
        "resolvers names",
        *(f"    {line}" for line in asked or ["parse-resolv-conf"]),
        "    accepted_payload_size 1232",
        "    resolve_retries 3",
        "    timeout resolve 1s",
        "    timeout retry 1s",
        "",
    ]
    after = f",.{routes.domain}" if routes.domain else ""
    ways = [
        *_node_in_path(),
        (
            f"http-request set-var(txn.service) str({routes.balancer})"
            if routes.balancer
            else f"http-request set-var(txn.service) str(nim-),concat(,txn.node{after})"
        ),
        "http-request do-resolve(txn.address,names,ipv4) var(txn.service)",
        f"http-request return {_answer(503, NOT_RUNNING)} unless {{ var(txn.address) -m found }}",
        "http-request set-dst var(txn.address)",
        "default_backend nims",
    ]
    health = [
        # Some networks tie HAProxy to one DNS server that may go away. This tells, and Kubernetes then starts it anew.
        f"acl asks_for_names path {RESOLVE_PATH}",
        f"http-request do-resolve(txn.self,names,ipv4) str({routes.host(routes.itself)}) if asks_for_names",
        f"http-request return {_OK} if asks_for_names {{ var(txn.self) -m found }}",
        "http-request return status 503 if asks_for_names",
        f"http-request return {_NO_HEALTH}",
    ]
    # The address is the one that was looked up.
    path = [] if routes.balancer else [f"    {_WITHOUT_NODE}"]
    backend = ["", "backend nims", *path, f"    server nim 0.0.0.0:{routes.nim_port}", ""]
    return _Parts(resolvers, _NODE_IN_PATH, ways, health, backend)


def _by_address(routes: FixedRoutes) -> _Parts:
    names = [name for name, _address in routes.routes]
    if routes.in_path:
        node = _NODE_IN_PATH
        ways = [
            *_node_in_path(),
            f"http-request return {_answer(503, NOT_RUNNING)} unless {{ var(txn.node) -m str {' '.join(names)} }}",
        ]
    else:
        node, ways = [f"http-request set-var(txn.node) str({names[0]})"], _plain_path("^")
    health_paths = {name: f"/{name}{NIM_HEALTH_PATH}" if routes.in_path else NIM_HEALTH_PATH for name in names}
    health = [
        f"http-request return {_OK} if {{ path {RESOLVE_PATH} }}",
        f"http-request return {_NO_HEALTH} unless {{ method GET }} {{ path {' '.join(health_paths.values())} }}",
    ]
    backends = []
    for name, address in routes.routes:
        ways.append(f"use_backend nim-{name} if {{ var(txn.node) -m str {name} }}")
        health.append(f"use_backend nim-{name} if {{ path {health_paths[name]} }}")
        backends += ["", f"backend nim-{name}", *([f"    {_WITHOUT_NODE}"] if routes.in_path else [])]
        backends += [f"    server nim {address} init-addr last,libc,none", ""]
    return _Parts([], node, ways, health, backends)


_WITHOUT_NODE = r"http-request replace-path ^/[^/]+(/.*)$ \1"


_NODE_IN_PATH = [
    f"acl names_a_nim path -m reg ^/[a-z0-9-]{{1,{LONGEST_NAME}}}/",
    "http-request set-var(txn.node) path,field(2,/) if names_a_nim",
]
"""Known before anything is refused, for the log."""


def _node_in_path() -> list[str]:
    return [
        f"http-request return {_answer(404, NO_PATH)} unless names_a_nim",
        *_plain_path("^/[a-z0-9-]+"),
    ]


def _plain_path(start: str) -> list[str]:
    """Refuse what one program may read otherwise than the next: encoded characters, empty parts, parts of dots."""
    sentence = "The path may have letters, digits and -._~:@+, and no part of it may be empty or begin with a dot"
    plain = f"{start}(/[A-Za-z0-9_~:@+-][A-Za-z0-9._~:@+-]*)*/?$"
    return [f"http-request return {_answer(400, sentence)} unless {{ path -m reg {plain} }}"]


# ---- who may ask, and for how much -----------------------------------------------------------------------------------


def _checks(login: Login, limits: Limits) -> list[str]:
    allowed = ", ".join(METHODS)
    refused = _answer(405, f"A NIM is asked with {allowed}", Allow=allowed)
    upgrade = _answer(400, "A connection to a NIM cannot be turned into another kind of connection")
    # Without a length the limit could not be kept: the body is passed on as it comes.
    unmeasured = _answer(411, "Say how long the body is, in Content-Length; it cannot be sent in chunks")
    too_long = _answer(413, f"The body may have {limits.body_bytes // MIB} MiB at most")
    return [
        f"http-request return {refused} unless {{ method {' '.join(METHODS)} }}",
        f"http-request return {upgrade} if {{ req.hdr(upgrade) -m found }}",
        *(_login_checks(login) if login.public_keys else []),
        f"http-request return {unmeasured} if {{ req.hdr(transfer-encoding) -m found }}",
        f"http-request return {too_long} if {{ req.body_size gt {limits.body_bytes} }}",
        *_limit_checks(limits),
        f"http-request wait-for-body time {limits.body_stall_seconds}s if {{ req.body_size gt 0 }}",
        *(f"http-request del-header {name}" for name in _STRIPPED),
        "http-request del-header x-forwarded- -m beg",
    ]


def _login_checks(login: Login) -> list[str]:
    """Return the checks of the token. The algorithm is ours, never the token's: it could name one that is no secret."""
    claims = ("workstation", "id", *_TIMES)
    found = " ".join(f"{{ var(txn.{name}) -m found }}" for name in claims)
    # Any other result of it is an error, so it is compared and not taken for yes or no.
    signed = [f'acl is_signed {_BEARER},jwt_verify(ES256,"{path}") -m int 1' for path in login.public_keys]
    started = " ".join(f"{{ var(txn.{name}),sub(txn.now) -m int le {CLOCK_SECONDS} }}" for name in ("nbf", "iat"))
    lines = [
        _return(_answer(400, "There is more than one header Authorization"), "if { req.fhdr_cnt(authorization) gt 1 }"),
        "http-request set-var(txn.bearer) http_auth_bearer",
        _return(_no_token(), f"unless {{ {_BEARER} -m found }}"),
        _return(
            _bad_token("is not signed with ES256"), f"unless {{ {_BEARER},jwt_header_query('$.alg') -m str ES256 }}"
        ),
        *signed,
        _return(_bad_token("was not signed with a key of this studio"), "unless is_signed"),
        _return(_bad_token("is of another studio"), f"unless {{ {_claim('iss')} -m str {login.studio} }}"),
        _return(_bad_token("is for something else"), f"unless {{ {_claim('aud')} -m str {AUDIENCE} }}"),
        f"http-request set-var(txn.workstation) {_claim('sub')},json(ascii)",
        f"http-request set-var(txn.id) {_claim('jti')}",
        "http-request set-var(txn.now) date()",
        *(f"http-request set-var(txn.{name}) {_BEARER},jwt_payload_query('$.{name}','int')" for name in _TIMES),
        _return(_bad_token("lacks sub, jti, iat, nbf or exp"), f"unless {found}"),
        _return(
            _bad_token("has expired; the workstation needs its next one"),
            "unless { var(txn.exp),sub(txn.now) -m int gt 0 }",
        ),
        _return(_bad_token("is not valid yet; compare the clocks"), f"unless {started}"),
    ]
    if login.denied:
        revoked = _answer(403, "The tokens of this workstation were revoked; ask TechOps")
        for kind, name in (("sub", "workstation"), ("jti", "id")):
            lines += [
                f"http-request set-var(txn.denied) str({kind}:),concat(,txn.{name}),map_str_int({login.denied},0)",
                f"http-request return {revoked} if {{ var(txn.denied),sub(txn.iat) -m int gt 0 }}",
            ]
    return lines


_TIMES = ("iat", "nbf", "exp")
_BEARER = "var(txn.bearer)"


def _claim(name: str) -> str:
    return f"{_BEARER},jwt_payload_query('$.{name}')"


def _return(answer: str, condition: str) -> str:
    return f"http-request return {answer} {condition}"


def _limit_checks(limits: Limits) -> list[str]:
    if not _per_workstation(limits):
        return []
    lines = [f"http-request track-sc0 var(txn.workstation) table {_TABLE}"]
    if limits.requests_per_minute is not None:
        sentence = f"This workstation may send {limits.requests_per_minute} requests a minute"
        answer = _answer(429, sentence, **{"Retry-After": "60"})
        lines.append(
            f"http-request return {answer} if {{ sc_http_req_rate(0,{_TABLE}) gt {limits.requests_per_minute} }}"
        )
    if limits.concurrent_requests is not None:
        sentence = f"This workstation may have {limits.concurrent_requests} requests under way"
        answer = _answer(429, sentence, **{"Retry-After": "5"})
        lines.append(f"http-request return {answer} if {{ sc_conn_cur(0,{_TABLE}) gt {limits.concurrent_requests} }}")
    return lines


_TABLE = "workstations"


def _per_workstation(limits: Limits) -> bool:
    return limits.requests_per_minute is not None or limits.concurrent_requests is not None


def _workstations_table() -> list[str]:
    stored = "http_req_rate(60s),conn_cur"
    return ["", f"backend {_TABLE}", f"    stick-table type string len 128 size 20k expire 10m store {stored}", ""]


def _no_token() -> str:
    return _answer(401, "A token is needed, as Authorization: Bearer", **{"WWW-Authenticate": 'Bearer realm="nim"'})


def _bad_token(problem: str) -> str:
    challenge = 'Bearer realm="nim", error="invalid_token"'
    return _answer(401, f"The token {problem}", **{"WWW-Authenticate": challenge})


# ---- words of HAProxy ------------------------------------------------------------------------------------------------


def _log_format(target: str) -> str:
    """Return the usage log's line. HAProxy 2.6 has neither a JSON format nor times as fractions of a second."""
    values = {
        # The second and its thousandths are taken of the same moment. What is added keeps leading zeros.
        "time": '"%[date(0),utime(%Y-%m-%dT%H:%M:%S)].%[date(0,ms),mod(1000),add(1000),regsub(^1,)]Z"',
        "workstation": '"%[var(txn.workstation)]"',
        "node": '"%[var(txn.node)]"',
        "target": f'"{target}"',
        "method": '"%[var(txn.method)]"',
        "path": '"%[var(txn.path)]"',
        "status": "%ST",
        # As 1234.0e-3.
        "seconds": "%Ta.0e-3",
        "bytes": "%B",
        "request_bytes": "%U",
        "tsc": '"%tsc"',
    }
    line = ",".join(f'"{field}":{values[field]}' for field in USAGE_FIELDS)
    return f"log-format '{{{line}}}'"


def _answer(status: int, sentence: str, **headers: str) -> str:
    """Return an answer of the gateway's own, as HAProxy's words after ``return`` or ``http-error``."""
    # It stands between single quotes, so an apostrophe is written as JSON allows.
    body = json.dumps({"error": sentence}).replace("'", r"\u0027")
    added = "".join(f" hdr {name} '{value}'" for name, value in headers.items())
    return f"status {status} content-type application/json{added} string '{body}'"


_OK = "status 200 content-type text/plain string ok"
_NO_HEALTH = _answer(404, f"This port answers {HEALTH_PATH}, {RESOLVE_PATH} and health checks")


# ---- what can be wrong -----------------------------------------------------------------------------------------------


def _check(words: t.Sequence[str], log: str, addresses: t.Sequence[str], paths: t.Sequence[str]) -> None:
    """Raise ValueError for a word that would break the configuration, or change its meaning."""
    for word in words:
        if not WORD.match(word):
            raise ValueError(f"target is {word!r}; it must be letters, digits and -._ such as aws-us-east-1")
    if log != "stdout" and not _ADDRESS.match(log):
        raise ValueError(f"log is {log!r}; it must be stdout or host:port of a syslog server")
    for address in addresses:
        if not _LISTEN.match(address):
            raise ValueError(f"{address!r} is no address to listen on")
    for path in paths:
        if not _PATH.match(path):
            raise ValueError(f"{path!r} is no absolute path of plain letters")


def _login_problems(login: Login, limits: Limits) -> list[str]:
    problems = []
    if len(login.public_keys) > 2:
        problems.append(f"there are {len(login.public_keys)} public keys; two at most, while one replaces the other")
    if login.public_keys and not WORD.match(login.studio):
        problems.append(f"studio is {login.studio!r}; it must be letters, digits and -._ such as example-studio")
    if _per_workstation(limits) and not login.public_keys:
        problems.append("limits for each workstation need tokens: without them it is not known who asks")
    return problems


def _limit_problems(limits: Limits) -> list[str]:
    return [
        f"{name} is {value!r}; it must be a whole number, 1 or more"
        for name, value in dataclasses.asdict(limits).items()
        if value is not None and (not isinstance(value, int) or value < 1)
    ]


def _route_problems(routes: NamedRoutes | FixedRoutes) -> list[str]:
    if isinstance(routes, NamedRoutes):
        return []
    names = [name for name, _address in routes.routes]
    problems = [
        f"{name!r} cannot be the first part of a path; it may have {LONGEST_NAME} lower-case letters, digits and -"
        for name in names
        if not _NAME.match(name) or len(name) > LONGEST_NAME
    ]
    problems += [
        f"{name}: {address!r} must be host:port" for name, address in routes.routes if not _ADDRESS.match(address)
    ]
    if not names or len(set(names)) != len(names):
        problems.append("there must be one or more routes, each name once")
    if not routes.in_path and len(names) != 1:
        problems.append("without names in the path there can be one route only")
    return problems
