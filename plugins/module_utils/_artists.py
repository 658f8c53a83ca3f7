# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""The documents that tell artists where the NIMs are, built from what was read of the targets. Pure.

Only what stays the same while NIMs start and stop goes into them, so a start rewrites no workstation.
Both keep what was published before for a target that could not be read, marked as stale, and both keep
C(generated_at), and so their bytes, as long as nothing else changes. A target that the caller does not
hand over at all is no longer in the inventory, and what was published for it goes.
"""

from __future__ import annotations

import json
import typing as t
from urllib.parse import urlsplit, urlunsplit

from ansible_collections.budgetguard.techops.plugins.module_utils import _figures, _price_export
from ansible_collections.budgetguard.techops.plugins.module_utils._catalog import Node

VERSION = "1.0"

PROVIDER_KEYS: t.Mapping[str, str] = {
    "aws": "aws",
    "azure": "azure",
    "gcp": "gcp",
    "nvidia": "nvidia-hosted",
    "local": "local",
}
"""Our provider -> its key in public documents, in the order in which they are written."""

CREDENTIALS = ("nvidia", "aws", "azure", "gcp")
"""The keys of C(credentials_status)."""


Prices = t.Mapping["tuple[str, str]", t.Mapping[str, t.Any]]
"""Rows of nim_price_info by target and name of the deployment."""

START_MINUTES = 30
"""How long we plan with for the start of a NIM: machine, image and model (docs/deploy.md)."""

_PASSING = "__passing"
_REQUEST = "__request"
"""Marks of an entry while the document is built: of its price, and (seconds of requests, copies that are priced),
None where nothing is known of its price."""

_SIZES: t.Mapping[str, tuple[str, ...]] = {"image": ("kind", "steps", "width", "height"), "llm": ("kind", "max_tokens")}
"""What of a request has to be as the node asks for it by itself."""


class ArtistsError(ValueError):
    """What should be published, or what was published, has the wrong form. The text says where."""


def artists_config(
    targets: t.Sequence[t.Mapping[str, t.Any]],
    published: t.Any = None,
    *,
    generated_at: str,
    catalog: t.Mapping[str, Node] | None = None,
    credentials_status: t.Mapping[str, bool] | None = None,
    prices: t.Any = None,
    measured: t.Any = None,
) -> dict[str, t.Any]:
    """Return the artists' document, C(budgetguard_artists_config.json).

    C(targets) are the results of reading every target of the inventory. C(published) is the document
    published before, if there is one. C(generated_at) is the time to write if anything differs from it.
    C(catalog) decides the form of API of each node; without it the kind of the deployment does.
    C(credentials_status) says for which providers the workstations have credentials; default: none.
    C(prices) are the prices that nim_price_info returns. Without them, no endpoint has one. C(measured) is what the
    benchmark has kept; with it, images have prices, too.

    Raises ArtistsError.
    """
    published = _document(published)
    before = _endpoints_of(published)
    priced = _checked_prices(prices)
    figures = _checked_figures(measured)
    found: dict[str, dict[str, list[dict[str, t.Any]]]] = {}
    for target in sorted(_checked_targets(targets), key=lambda item: str(item["target"])):
        entries = _entries(target, catalog or {}, priced, figures) if target["read"] else _kept(before, target)
        for node, key, entry in entries:
            found.setdefault(node, {}).setdefault(key, []).append(entry)
    if priced is not None:
        _keep_prices(found, before)
    document = {
        "version": VERSION,
        "generated_at": generated_at,
        "nim_endpoints": _ordered(found),
        "credentials_status": _credentials_status(credentials_status),
    }
    return _with_old_time(document, published)


def with_own_nims(
    document: t.Any,
    name: str,
    deployments: t.Sequence[t.Mapping[str, t.Any]],
    catalog: t.Mapping[str, Node] | None = None,
) -> dict[str, t.Any]:
    """Return the artists' document with the NIMs of one workstation's own Docker engine, for that workstation alone.

    C(name) is what they stand under as C(target). What the document has under that name gives way. Raises ArtistsError.
    """
    base = _document(document)
    target = {"target": name, "provider": "local", "read": True, "deployments": deployments}
    found: dict[str, dict[str, list[dict[str, t.Any]]]] = {}
    for node, providers in _endpoints_of(base).items():
        for key, entries in providers.items():
            others = [dict(entry) for entry in entries if entry.get("target") != name]
            if others:
                found.setdefault(node, {})[key] = others
    for checked in _checked_targets([target]):
        for node, key, entry in _entries(checked, catalog or {}):
            found.setdefault(node, {}).setdefault(key, []).append(entry)
    return {**base, "nim_endpoints": _ordered(found)}


def provider_endpoints(
    targets: t.Sequence[t.Mapping[str, t.Any]],
    published: t.Any = None,
) -> dict[str, dict[str, t.Any]]:
    """Return the short form: one endpoint per provider, as the public tools export it.

    Of a provider's targets, the first by name with an endpoint is taken, or the first that could not be
    read but was published; of its NIMs, the first by name. C(endpoint) is the base address of the
    load balancer, without the NIM's path. C(deployed_at) is the latest of the NIMs behind it.
    C(published) is what this function returned before. Raises ArtistsError.
    """
    before = _document(published)
    if not isinstance(before, t.Mapping):
        raise ArtistsError("published: must be a mapping of providers")
    found: dict[str, dict[str, t.Any]] = {}
    for target in sorted(_checked_targets(targets), key=lambda item: str(item["target"])):
        if not target["read"]:
            for key, entry in _kept_provider(before, target):
                found.setdefault(key, entry)
        elif _reachable(target):
            found.setdefault(PROVIDER_KEYS[target["provider"]], _provider_entry(target))
    return {key: found[key] for key in PROVIDER_KEYS.values() if key in found}


def _document(published: t.Any) -> t.Any:
    """Return what was published, given as a mapping or as the text of the file. Nothing gives an empty mapping."""
    if not isinstance(published, (str, bytes)):
        return published or {}
    try:
        return json.loads(published) if published.strip() else {}
    except ValueError as error:
        raise ArtistsError(f"published: is not JSON ({error}); repair the published file, or remove it") from error


def _checked_targets(targets: t.Any) -> list[t.Mapping[str, t.Any]]:
    """Return the targets after checking that each one is what it should be and is there once."""
    if not isinstance(targets, (list, tuple)):
        raise ArtistsError("targets: must be a list of targets, as the nim_*_info modules return them")
    names: set[str] = set()
    for number, target in enumerate(targets):
        path = f"targets[{number}]"
        if not isinstance(target, t.Mapping):
            raise ArtistsError(f"{path}: must be a mapping")
        missing = [key for key in ("target", "provider", "read") if key not in target]
        if missing:
            raise ArtistsError(f"{path}: has no {', '.join(missing)}")
        if target["read"] and target["provider"] not in PROVIDER_KEYS:
            raise ArtistsError(f"{path}.provider: must be one of {', '.join(PROVIDER_KEYS)}")
        if target["target"] in names:
            raise ArtistsError(f"{path}: the target '{target['target']}' is there twice")
        names.add(target["target"])
    return list(targets)


def _entries(
    target: t.Mapping[str, t.Any],
    catalog: t.Mapping[str, Node],
    prices: Prices | None = None,
    figures: t.Sequence[_figures.Figure] = (),
) -> t.Iterator[tuple[str, str, dict[str, t.Any]]]:
    """Yield node name, provider key and entry for everything with an endpoint on a target that was read."""
    for deployment in _reachable(target):
        served = deployment.get("serves") or [deployment["node"]]
        variants = deployment.get("variants") or {}
        for node in served:
            entry = {
                "url": deployment["endpoint"],
                "gpu_tier": deployment.get("gpu_tier"),
                "infer_url": deployment.get("infer_url"),
                "health_url": deployment.get("health_url"),
                "region": deployment.get("region") or target.get("region"),
                "target": target["target"],
                "deployed_at": deployment.get("deployed_at"),
                "api_style": _api_style(node, deployment, catalog),
                # NVIDIA's hosted service wants the key; in front of a NIM of our own a gateway may want a token.
                "auth": "bearer" if target["provider"] == "nvidia" else deployment.get("auth") or "none",
            }
            image = catalog[node].image if node in catalog else None
            if target["provider"] == "nvidia" and entry["api_style"] == "openai" and image:
                # Several language models share one address at NVIDIA.
                entry["model"] = "/".join(image.split("/")[-2:])
            if len(served) > 1:
                entry["mode"] = variants.get(node)
            if target.get("control"):
                entry["control"] = {**target["control"], "name": deployment["name"], "start_minutes": START_MINUTES}
            row = (prices or {}).get((str(target["target"]), str(deployment.get("name"))))
            entry.update(_price_export.of_row(row))
            if prices is not None:
                entry[_PASSING] = _price_export.is_passing(row)
                seconds = _request_seconds(figures, target, deployment, str(node), catalog)
                entry[_REQUEST] = None if row is None else (seconds, row.get("replicas"))
            yield str(node), PROVIDER_KEYS[target["provider"]], entry


def _checked_prices(prices: t.Any) -> Prices | None:
    """Return the prices by target and name of the deployment."""
    if prices is None:
        return None
    if not isinstance(prices, (list, tuple)) or not all(isinstance(row, t.Mapping) for row in prices):
        raise ArtistsError("prices: must be a list of mappings, as nim_price_info returns them")
    return {(str(row.get("target")), str(row.get("name"))): row for row in prices}


def _checked_figures(measured: t.Any) -> list[dict[str, t.Any]]:
    try:
        return _figures.parse(measured)
    except _figures.FiguresError as error:
        raise ArtistsError(f"measured: {error}") from error


def _request_seconds(
    figures: t.Sequence[_figures.Figure],
    target: t.Mapping[str, t.Any],
    deployment: t.Mapping[str, t.Any],
    node: str,
    catalog: t.Mapping[str, Node],
) -> dict[str, float | None]:
    """Return how long an image or 1,000 tokens take, by the name of what they cost.

    None where that was not measured of this very NIM and of what its node still asks for.
    """
    nim = {**{name: deployment.get(name) for name in _figures.MEASURED_ON}, "target": target["target"], "node": node}
    known = catalog.get(node)
    if known is not None:
        nim.update({name: getattr(known, name) for name in _SIZES.get(known.kind, ("kind",))})
    figure = _figures.holding(figures, nim)
    return {"usd_per_image": _figures.image_seconds(figure), "usd_per_1k_tokens": _figures.tokens_seconds(figure)}


def _keep_prices(
    found: t.Mapping[str, t.Mapping[str, list[dict[str, t.Any]]]],
    before: t.Mapping[str, t.Mapping[str, t.Sequence[t.Mapping[str, t.Any]]]],
) -> None:
    """Let each endpoint that was read keep the price that was published for it, where that is still good."""
    for node, providers in found.items():
        for key, entries in providers.items():
            old = {_entry_order(entry): entry for entry in before.get(node, {}).get(key, ())}
            for entry in entries:
                if _PASSING not in entry:
                    continue
                passing = bool(entry.pop(_PASSING))
                request = entry.pop(_REQUEST)
                new = {name: entry.pop(name) for name in _price_export.FIELDS if name in entry}
                before = old.get(_entry_order(entry), {})
                # Of both, a request costs what it costs by what was measured, so only an hour's price tells them apart.
                if request is not None:
                    new, before = (_price_export.with_request(price, *request) for price in (new, before))
                entry.update(_price_export.settled(new, before, passing))


def _api_style(node: str, deployment: t.Mapping[str, t.Any], catalog: t.Mapping[str, Node]) -> str:
    if node in catalog:
        is_openai = catalog[node].infer_path == "/v1/chat/completions"
    else:
        is_openai = deployment.get("kind") == "llm"
    return "openai" if is_openai else "nim-infer"


def _reachable(target: t.Mapping[str, t.Any]) -> list[t.Mapping[str, t.Any]]:
    """Return the deployments that have an endpoint, by name."""
    deployments = [item for item in target.get("deployments") or [] if item.get("endpoint")]
    return sorted(deployments, key=lambda item: str(item.get("name")))


def _endpoints_of(published: t.Any) -> dict[str, dict[str, list[dict[str, t.Any]]]]:
    """Return the endpoints of a published document after checking its form."""
    if not published:
        return {}
    hint = "; repair the published file, or remove it to start anew"
    if not isinstance(published, t.Mapping) or not isinstance(published.get("nim_endpoints"), t.Mapping):
        raise ArtistsError(f"published: has no mapping nim_endpoints{hint}")
    endpoints: dict[str, dict[str, list[dict[str, t.Any]]]] = {}
    for node, providers in published["nim_endpoints"].items():
        path = f"published.nim_endpoints[{str(node)!r}]"
        if not isinstance(providers, t.Mapping):
            raise ArtistsError(f"{path}: must be a mapping of providers{hint}")
        for key, entries in providers.items():
            if not isinstance(entries, list) or not all(isinstance(entry, t.Mapping) for entry in entries):
                raise ArtistsError(f"{path}[{str(key)!r}]: must be a list of mappings{hint}")
        endpoints[str(node)] = {str(key): list(entries) for key, entries in providers.items()}
    return endpoints


def _kept(
    before: t.Mapping[str, t.Mapping[str, t.Sequence[t.Mapping[str, t.Any]]]], target: t.Mapping[str, t.Any]
) -> t.Iterator[tuple[str, str, dict[str, t.Any]]]:
    """Yield what was published for a target that cannot be read now."""
    for node, providers in before.items():
        for key, entries in providers.items():
            for entry in entries:
                if entry.get("target") == target["target"]:
                    yield node, key, _as_unread(entry, target)


def _as_unread(entry: t.Mapping[str, t.Any], target: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Mark an entry as stale, unless the target was only switched off: what was published still holds then."""
    return dict(entry) if target.get("asleep") else {**entry, "stale": True}


def _ordered(
    found: t.Mapping[str, t.Mapping[str, list[dict[str, t.Any]]]],
) -> dict[str, dict[str, list[dict[str, t.Any]]]]:
    """Return the same in an order that does not depend on the order of reading."""
    ordered = {}
    for node in sorted(found, key=lambda name: (name.casefold(), name)):
        providers = found[node]
        ordered[node] = {
            key: sorted(providers[key], key=_entry_order) for key in PROVIDER_KEYS.values() if key in providers
        }
    return ordered


def _entry_order(entry: t.Mapping[str, t.Any]) -> tuple[str, ...]:
    return tuple(str(entry.get(key) or "") for key in ("target", "gpu_tier", "url", "mode"))


def _credentials_status(given: t.Any) -> dict[str, bool]:
    status = dict.fromkeys(CREDENTIALS, False)
    if given is None:
        return status
    if not isinstance(given, t.Mapping):
        raise ArtistsError("credentials_status: must be a mapping of providers to true or false")
    for key, value in given.items():
        if key not in status or not isinstance(value, bool):
            raise ArtistsError(f"credentials_status.{key}: must be one of {', '.join(CREDENTIALS)}, with true or false")
        status[str(key)] = value
    return status


def _with_old_time(document: dict[str, t.Any], published: t.Any) -> dict[str, t.Any]:
    """Return the document with the time of the published one if that says the same otherwise."""
    if isinstance(published, t.Mapping) and isinstance(published.get("generated_at"), str):
        as_before = {**document, "generated_at": published["generated_at"]}
        if as_before == published:
            return as_before
    return document


def _provider_entry(target: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return the short form of a target that has at least one endpoint."""
    deployments = _reachable(target)
    base = _base_url(str(deployments[0]["endpoint"]))
    behind = [item for item in deployments if _base_url(str(item["endpoint"])) == base]
    # Times are ISO 8601 in UTC, so the latest one is also the last in the order of texts.
    times = [str(item["deployed_at"]) for item in behind if item.get("deployed_at")]
    return {
        "endpoint": base,
        "region": target.get("region"),
        "deployed_at": max(times, default=None),
        "target": target["target"],
    }


def _kept_provider(
    before: t.Mapping[str, t.Any], target: t.Mapping[str, t.Any]
) -> t.Iterator[tuple[str, dict[str, t.Any]]]:
    """Yield provider key and entry of what was published for a target that cannot be read now."""
    for key, entry in before.items():
        if not isinstance(entry, t.Mapping):
            raise ArtistsError(f"published[{key!r}]: must be a mapping; repair the published file, or remove it")
        if entry.get("target") == target["target"]:
            yield key, _as_unread(entry, target)


def _base_url(endpoint: str) -> str:
    """Return scheme, host and port of an address."""
    parts = urlsplit(endpoint)
    return urlunsplit((parts.scheme, parts.netloc, "", "", ""))


__all__ = (
    "CREDENTIALS",
    "PROVIDER_KEYS",
    "VERSION",
    "ArtistsError",
    "artists_config",
    "provider_endpoints",
    "with_own_nims",
)
