# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""The gateway in front of a cluster's NIMs, as a configuration for HAProxy. Pure, makes no calls.

No NIM is named in it. The first part of a request's path is the name of a Service, which HAProxy asks the cluster's DNS
for. So a new NIM needs neither a new configuration nor a restart, and two runs cannot overwrite each other's routes.
"""

from __future__ import annotations

import json
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
HEALTH_PATH = "/healthz"
"""Answers 200 while the gateway takes requests."""

RESOLVE_PATH = "/livez"
"""Answers 200 while the gateway can find Services, else 503."""

REQUEST_SECONDS = 900
"""How long a NIM may work on a request without sending anything. Pictures on a small GPU take minutes."""

LONGEST_NAME = 59
"""A Service's name has at most 63 characters, and ``nim-`` comes before the name in the path."""

_TEMPLATE = """\
# Written by the collection budgetguard.techops; changes made here are lost.
global
    log stdout format raw local0 info
    maxconn 2000
    nbthread 2
    hard-stop-after {request_seconds}s

defaults
    mode http
    log global
    option dontlognull
    # A NIM is asked for minutes of work, so a connection of its own costs nothing and is never a stale one.
    option http-server-close
    retries 1
    timeout connect 5s
    timeout queue 5s
    timeout http-request 30s
    timeout http-keep-alive 60s
    timeout client {request_seconds}s
    timeout server {request_seconds}s
    # Clouds' load balancers forget connections that are silent for some minutes, as one is while a NIM works.
    option clitcpka
    clitcpka-idle 60s
    clitcpka-intvl 60s
    http-error {broke_off}
    http-error {not_running}
    http-error {too_slow}

resolvers cluster
{nameservers}
    accepted_payload_size 1232
    resolve_retries 3
    timeout resolve 1s
    timeout retry 1s

frontend gateway
    bind {listen}
    monitor-uri {health_path}
    # Without the query, which may hold what nobody should read in a log.
    http-request set-var(txn.path) path
    log-format "%ci %HM %[var(txn.path)] %ST %B bytes %Ta ms %tsc"

    # Some networks tie HAProxy to one DNS server that may go away. This tells, and Kubernetes then starts it anew.
    acl asks_for_dns path {resolve_path}
    http-request set-log-level silent if asks_for_dns
    http-request do-resolve(txn.self,cluster,ipv4) str({service}.{domain}) if asks_for_dns
    http-request return status 200 if asks_for_dns {{ var(txn.self) -m found }}
    http-request return status 503 if asks_for_dns

    acl names_a_nim path -m reg ^/[a-z0-9-]{{1,{longest}}}/
    http-request return {no_path} unless names_a_nim
    http-request set-var(txn.name) path,field(2,/)
    http-request set-var(txn.service) str(nim-),concat(,txn.name,.{domain})
    http-request do-resolve(txn.address,cluster,ipv4) var(txn.service)
    http-request return {not_running} unless {{ var(txn.address) -m found }}
    http-request set-dst var(txn.address)
    http-request replace-path ^/[^/]+(/.*)$ \\1
    default_backend nims

backend nims
    # The address is the one that was looked up.
    server nim 0.0.0.0:{nim_port}
"""


def haproxy_config(
    namespace: str,
    *,
    nameservers: t.Sequence[str] = (),
    listen: str = f"*:{PORT}",
    service: str = "gateway",
    nim_port: int = 8000,
    cluster_domain: str = "cluster.local",
) -> str:
    """Return the whole configuration file.

    ``nameservers`` are addresses with a port; without any, HAProxy takes those of its /etc/resolv.conf, which in a
    cluster is the cluster's DNS. ``service`` is a Service in the namespace that always exists, to try the DNS with.
    """
    asked = [f"    nameserver dns{number} {address}" for number, address in enumerate(nameservers)]
    return _TEMPLATE.format(
        nameservers="\n".join(asked or ["    parse-resolv-conf"]),
        listen=listen,
        service=service,
        domain=f"{namespace}.svc.{cluster_domain}",
        nim_port=nim_port,
        request_seconds=REQUEST_SECONDS,
        health_path=HEALTH_PATH,
        resolve_path=RESOLVE_PATH,
        longest=LONGEST_NAME,
        no_path=_answer(404, "There is no NIM under this path; it starts with the name of one, as /flux-dev-l4/v1"),
        not_running=_answer(503, "This NIM does not run: it is stopped, still starting, or not deployed here"),
        broke_off=_answer(502, "The NIM broke the connection off: it was stopped, or the request was too much for it"),
        too_slow=_answer(504, "The NIM did not answer in time"),
    )


def _answer(status: int, sentence: str) -> str:
    """Return an answer of the gateway's own, as HAProxy's words after ``return`` or ``http-error``."""
    # It stands between single quotes, so an apostrophe is written as JSON allows.
    body = json.dumps({"error": sentence}).replace("'", r"\u0027")
    return f"status {status} content-type application/json string '{body}'"
