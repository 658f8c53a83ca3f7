# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The endpoints of a config, and which of them a node takes. Pure."""

from __future__ import annotations

import math
import typing as t
from dataclasses import dataclass

MANUAL, LOWEST_PRICE, LOCAL = "MANUAL", "LOWEST PRICE", "LOCAL"
MODES = (MANUAL, LOWEST_PRICE, LOCAL)
PROVIDERS = ("aws", "azure", "gcp", "nvidia-hosted", "local")
IMAGE_API, TEXT_API = "nim-infer", "openai"
_PATHS = {IMAGE_API: "/v1/infer", TEXT_API: "/v1/chat/completions"}


class ChoiceError(Exception):
    """No endpoint can be taken. The text is for the artist."""


@dataclass(frozen=True)
class Endpoint:
    """One place where a node's NIM runs. Prices are None where none was exported."""

    node: str
    provider: str
    url: str
    infer_url: str
    health_url: str | None
    style: str
    auth: str
    target: str
    tier: str
    mode: str | None = None
    model: str | None = None
    stale: bool = False
    hourly_usd: float | None = None
    usd_per_image: float | None = None
    usd_per_1k_tokens: float | None = None
    control: t.Mapping[str, t.Any] | None = None

    def shown(self) -> dict[str, t.Any]:
        """Return what a page may know."""
        return {
            "provider": self.provider,
            "target": self.target,
            "gpu_tier": self.tier,
            "api_style": self.style,
            "price": self.price_text(),
            "stale": self.stale,
        }

    def price_text(self) -> str | None:
        """Return the price as the artist reads it, or None."""
        if self.usd_per_image is not None:
            return f"{self.usd_per_image:.4f} USD per image"
        if self.usd_per_1k_tokens is not None:
            return f"{self.usd_per_1k_tokens:.4f} USD per 1,000 tokens"
        if self.hourly_usd is not None:
            return f"{self.hourly_usd:.2f} USD per hour"
        return None

    def place(self) -> str:
        """Name the endpoint for the artist."""
        return f"{self.provider} ({self.target})" if self.target else self.provider


def endpoints_of(document: t.Mapping[str, t.Any]) -> list[Endpoint]:
    """Return all endpoints of a config; what is not shaped like one is left out."""
    return [
        _endpoint(str(node), str(provider), entry)
        for node, providers in document.get("nim_endpoints", {}).items()
        for provider, entries in (providers.items() if isinstance(providers, dict) else ())
        for entry in (entries if isinstance(entries, list) else ())
        if isinstance(entry, dict) and isinstance(entry.get("url"), str)
    ]


def _endpoint(node: str, provider: str, entry: dict[str, t.Any]) -> Endpoint:
    style = TEXT_API if entry.get("api_style") == TEXT_API else IMAGE_API
    base = entry["url"].rstrip("/")
    hosted = provider == "nvidia-hosted"
    return Endpoint(
        node=node,
        provider=provider,
        url=base,
        infer_url=_text(entry, "infer_url") or base + _PATHS[style],
        health_url=None if hosted else _text(entry, "health_url") or f"{base}/v1/health/ready",
        style=style,
        auth=_text(entry, "auth") or ("bearer" if hosted else "none"),
        target=_text(entry, "target"),
        tier=_text(entry, "gpu_tier"),
        mode=_text(entry, "mode") or None,
        model=_text(entry, "model") or None,
        stale=entry.get("stale") is True,
        hourly_usd=_price(entry.get("hourly_usd")),
        usd_per_image=_price(entry.get("usd_per_image")),
        usd_per_1k_tokens=_price(entry.get("usd_per_1k_tokens")),
        control=entry["control"] if isinstance(entry.get("control"), dict) else None,
    )


def _text(entry: t.Mapping[str, t.Any], name: str) -> str:
    value = entry.get(name)
    return value if isinstance(value, str) else ""


def _price(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
        return None
    return float(value)


def candidates(endpoints: t.Iterable[Endpoint], node: str, style: str, mode: str, provider: str) -> list[Endpoint]:
    """Return the endpoints that a node may take in its mode, the best first, before anybody asks which are ready.

    C(MANUAL) takes the provider that the artist chose. C(LOCAL) takes none but this workstation's or the studio's own
    machines. C(LOWEST PRICE) takes all: those with a price per image or per 1,000 tokens first, as that is what the
    request costs, then those with a price per hour, then those without. Stale ones come last among equals.

    Raises ChoiceError.
    """
    of_node = [one for one in endpoints if one.node == node and one.style == style]
    if not of_node:
        raise ChoiceError(f"There is no endpoint for {node} on this workstation: call your TechOps technician.")
    wanted = {MANUAL: (provider,), LOCAL: ("local",)}.get(mode, PROVIDERS)
    found = [one for one in of_node if one.provider in wanted]
    if not found:
        others = ", ".join(sorted({one.provider for one in of_node}))
        where = "on a machine of the studio" if mode == LOCAL else f"on {provider}"
        raise ChoiceError(f"{node} does not run {where}; it runs on {others}. Choose another mode or provider.")
    return sorted(found, key=_order)


def _order(endpoint: Endpoint) -> tuple[t.Any, ...]:
    # A node makes images or writes texts, so two of one node are never compared by different measures.
    measured = endpoint.usd_per_image if endpoint.style == IMAGE_API else endpoint.usd_per_1k_tokens
    if measured is not None:
        price = (0, measured)
    elif endpoint.hourly_usd is not None:
        price = (1, endpoint.hourly_usd)
    else:
        price = (2, 0.0)
    number = PROVIDERS.index(endpoint.provider) if endpoint.provider in PROVIDERS else len(PROVIDERS)
    return (*price, endpoint.stale, number, endpoint.target, endpoint.url)


def explain(mode: str, taken: Endpoint, candidates_: t.Sequence[Endpoint], down: t.Mapping[str, str]) -> str:
    """Say which endpoint is taken and why.

    :arg down: what is the matter with endpoints that would have come first, by their address.
    """
    price = taken.price_text()
    passed = [f"{one.place()} {down[one.url]}" for one in candidates_ if one.url in down and one is not taken]
    if mode == LOWEST_PRICE:
        reason = f"the lowest price that is ready, {price}" if price else "no price is known, the first that is ready"
    elif mode == LOCAL:
        reason = "a machine of the studio"
    else:
        reason = "your choice" + (f", {price}" if price else "")
    return (
        f"{taken.node} on {taken.place()}: {reason}" + (f". Passed over: {', '.join(passed)}" if passed else "") + "."
    )
