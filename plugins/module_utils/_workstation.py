# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""What a ComfyUI workstation's config file should say, and whether it says so already.

The file is C(budgetguard/budgetguard_backend_config.json) below ComfyUI's base directory, format version 1.0 of the
public BudgetGuard tools. Everything here is decided from bytes and values: no file is touched and no clock is read.

Top-level fields this collection does not know are kept as they are found, because another tool put them there.
Everything in the fields it knows is replaced, including anything extra inside them.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import typing as t
from urllib.parse import urlsplit

from ansible_collections.budgetguard.techops.plugins.module_utils._envelope import (
    BrokenEnvelopeError,
    Credentials,
    WrongKeyError,
    check_seal,
    check_sealed,
    open_part,
    seal,
    unseal,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._price_export import FIELDS as PRICE_FIELDS
from ansible_collections.budgetguard.techops.plugins.module_utils._price_export import settled as settled_price

FOLDER = "budgetguard"
FILE = "budgetguard_backend_config.json"
FORMAT_VERSION = "1.0"
STUDIO_WIDE_MODE = "studio-wide"
OUR_FIELDS = ("version", "installed_at", "mode", "nim_endpoints", "credentials", "credentials_status")

# The field names of the public credentials export. A provider is complete when each of them has a text.
CREDENTIAL_FIELDS: dict[str, tuple[str, ...]] = {
    "nvidia": ("NVIDIA API Key / NGC API Key",),
    "aws": ("Access Key ID", "Secret Access Key"),
    "azure": (
        "Subscription ID",
        "Tenant ID",
        "Client ID (Application ID)",
        "Client Secret",
        "Resource Group",
        "Region",
    ),
    "gcp": ("Project ID", "Service Account JSON File Path", "Region", "Zone"),
}

# The one field of a workstation that has an identity of its own: its name. There is no key.
KEYLESS_FIELD = "Identity"

# Fields of ours that serve as well as a public one. The content of a key file stays sealed; a path would need the file.
INSTEAD_OF: dict[str, tuple[str, ...]] = {"Service Account JSON File Path": ("Service Account JSON",)}

# What an endpoint may say in a diff. The values of other fields are not ours to show.
ENDPOINT_FIELDS = (
    "url",
    "gpu_tier",
    "infer_url",
    "health_url",
    "region",
    "target",
    "deployed_at",
    "api_style",
    "auth",
    "stale",
    "mode",
    "model",
    *PRICE_FIELDS,
)
URL_FIELDS = ("url", "infer_url", "health_url")
NOT_SHOWN = "(not shown)"

# Texts, because Python 3.8 cannot evaluate them.
Document: t.TypeAlias = "dict[str, t.Any]"
Endpoints: t.TypeAlias = "dict[str, dict[str, list[dict[str, t.Any]]]]"


class ConfigError(Exception):
    """What was asked for cannot be written. The text never holds a credential."""


class BrokenConfigError(Exception):
    """The file on the workstation is not a config. The text says why, and nothing of what is in it."""


@dataclasses.dataclass(frozen=True)
class Sealed:
    """Credentials that were sealed elsewhere, for who has no library to open them: the section, and what is in it."""

    section: Document = dataclasses.field(repr=False)
    credentials_status: dict[str, bool]


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What a workstation's config should say, and the keys to compare it with.

    I(previous_keys) open what an earlier key sealed, so that a rotation is not taken for a stranger's file.
    I(sealed_once) is a C(credentials) part that was sealed for many workstations at once; it is written if it holds
    these credentials under this key. I(sealed) counts instead of I(credentials), and nothing is sealed or opened then:
    seals are checked, and credentials are the same if their keyed fingerprints are.
    """

    nim_endpoints: Endpoints
    credentials: Credentials = dataclasses.field(repr=False)
    key: str = dataclasses.field(repr=False)
    encryption_version: int
    mode: str
    previous_keys: t.Sequence[str] = dataclasses.field(default=(), repr=False)
    unread_targets: t.Sequence[str] = ()
    sealed_once: t.Mapping[str, t.Any] | None = None
    sealed: Sealed | None = None

    @property
    def status(self) -> dict[str, bool]:
        """What the config says of the credentials in clear."""
        return credentials_status(self.credentials) if self.sealed is None else self.sealed.credentials_status

    @property
    def envelope(self) -> Document:
        """The part of the envelope that is the same each time."""
        if self.sealed is None:
            return open_part(self.credentials, self.key, self.encryption_version)
        return {name: value for name, value in self.sealed.section.items() if name != "encrypted_data"}

    def seal(self) -> Document:
        """Return the C(credentials) part to write."""
        if self.sealed is not None:
            return self.sealed.section
        shared, envelope = self.sealed_once, self.envelope
        if shared and "encrypted_data" in shared and all(shared.get(name) == envelope[name] for name in envelope):
            return {**envelope, "encrypted_data": str(shared["encrypted_data"])}
        return seal(self.credentials, self.key, self.encryption_version)


@dataclasses.dataclass(frozen=True)
class Update:
    """What to do with a config file.

    C(found) is C(missing), C(ok), C(previous_key), C(wrong_key) or C(broken).
    C(content) is what should be on the workstation; without C(reasons) it is byte for byte what is there.
    C(before) and C(after) are the parts that may be shown.
    """

    content: bytes = dataclasses.field(repr=False)
    reasons: tuple[str, ...]
    found: str
    problem: str | None
    before: Document
    after: Document
    kept_targets: tuple[str, ...] = ()

    @property
    def keep_aside(self) -> bool:
        """Whether the found file holds something that the new one does not replace."""
        return self.found in ("broken", "wrong_key")


def mode_name(mode: str, workstation_id: str) -> str:
    """Return the C(mode) field: C(studio-wide) or C(workstation:<id>)."""
    return STUDIO_WIDE_MODE if mode == STUDIO_WIDE_MODE else f"workstation:{workstation_id}"


def credentials_status(credentials: Credentials) -> dict[str, bool]:
    """Say for each public provider whether all its fields have a text, or the workstation has an identity of its own.

    A key file's content counts as well as the path of the file.
    """
    return {
        provider: _is_text(_field(credentials, provider, KEYLESS_FIELD))
        or all(_has_field(credentials, provider, field) for field in fields)
        for provider, fields in CREDENTIAL_FIELDS.items()
    }


def _has_field(credentials: Credentials, provider: str, field: str) -> bool:
    names = (field, *INSTEAD_OF.get(field, ()))
    return any(_is_text(_field(credentials, provider, name)) for name in names)


def _field(credentials: Credentials, provider: str, field: str) -> object:
    """Return one field, or None. What another tool sealed may have any shape."""
    fields = credentials.get(provider)
    return fields.get(field) if isinstance(fields, dict) else None


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def check_credentials(credentials: object) -> Credentials:
    """Return the credentials when they are texts by field by provider.

    :raises ConfigError: naming provider and field, never the value.
    """
    if not isinstance(credentials, dict):
        raise ConfigError("credentials must be a mapping: provider -> field -> text.")
    for provider, fields in credentials.items():
        if not isinstance(fields, dict):
            raise ConfigError(f"credentials of {provider!r} must be a mapping: field -> text.")
        for field, value in fields.items():
            if not isinstance(field, str) or not isinstance(value, str):
                raise ConfigError(f"credentials of {provider!r}: the value of {field!r} must be a text.")
    return credentials


def check_endpoints(document: object) -> Endpoints:
    """Return C(nim_endpoints) of an artists' document.

    :raises ConfigError: saying which node, provider and entry is wrong.
    """
    if not isinstance(document, dict) or "nim_endpoints" not in document:
        raise ConfigError(
            "endpoints must be the artists' document (budgetguard_artists_config.json), a mapping with nim_endpoints."
        )
    nim_endpoints = document["nim_endpoints"]
    problem = _shape_problem(nim_endpoints)
    if problem is not None:
        raise ConfigError(f"endpoints: {problem}.")
    for node, provider, entry in _entries(nim_endpoints):
        _check_entry(f"endpoints: {node!r} on {provider!r}", entry)
    return t.cast(Endpoints, nim_endpoints)


def _check_entry(where: str, entry: dict[str, t.Any]) -> None:
    for field in ("url", "gpu_tier"):
        if not _is_text(entry.get(field)):
            raise ConfigError(f"{where}: an entry has no {field}.")
    for field in URL_FIELDS:
        if _has_password(entry.get(field)):
            raise ConfigError(f"{where}: {field} holds a user or password; the endpoints are not sealed.")


def _has_password(url: object) -> bool:
    if not isinstance(url, str) or not url:
        return False
    try:
        return "@" in urlsplit(url).netloc
    except ValueError:
        # not a URL at all: then anything before an @ might be a password
        return "@" in url


def _shape_problem(nim_endpoints: object) -> str | None:
    """Say what keeps this from being node -> provider -> list of mappings, or None."""
    if not isinstance(nim_endpoints, dict):
        return "nim_endpoints is not a mapping"
    for node, providers in nim_endpoints.items():
        if not isinstance(providers, dict):
            return f"{node!r} is not a mapping of providers"
        for provider, entries in providers.items():
            if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
                return f"{node!r} on {provider!r} is not a list of mappings"
    return None


def _entries(nim_endpoints: Endpoints) -> t.Iterator[tuple[str, str, dict[str, t.Any]]]:
    """Walk over all entries as node, provider, entry."""
    for node, providers in nim_endpoints.items():
        for provider, entries in providers.items():
            for entry in entries:
                yield node, provider, entry


def keep_unread(found: Endpoints, wanted: Endpoints, unread_targets: t.Iterable[str]) -> Endpoints:
    """Return the wanted endpoints plus what was known of targets that could not be read this time.

    What a target said last stands until it can be read again, marked C(stale). An entry that the wanted endpoints
    have themselves (same node, provider, target and URL) is not repeated.
    """
    unread = set(unread_targets)
    merged: Endpoints = {
        node: {provider: list(entries) for provider, entries in providers.items()} for node, providers in wanted.items()
    }
    known = {_identity(node, provider, entry) for node, provider, entry in _entries(wanted)}
    for node, provider, entry in _entries(found):
        target = entry.get("target")
        if not isinstance(target, str) or target not in unread:
            continue
        if _identity(node, provider, entry) not in known:
            merged.setdefault(node, {}).setdefault(provider, []).append({**entry, "stale": True})
    return merged


def keep_prices(found: Endpoints, wanted: Endpoints) -> Endpoints:
    """Return the wanted endpoints with the dates of prices that are still the same as those in the config.

    Where nobody keeps what was published before, a price would otherwise have another date each time.
    """
    old = {_identity(node, provider, entry): entry for node, provider, entry in _entries(found)}

    def kept(node: str, provider: str, entry: dict[str, t.Any]) -> dict[str, t.Any]:
        price = {name: entry[name] for name in PRICE_FIELDS if name in entry}
        if not price:
            return entry
        others = {name: value for name, value in entry.items() if name not in price}
        return {**others, **settled_price(price, old.get(_identity(node, provider, entry)))}

    return {
        node: {provider: [kept(node, provider, entry) for entry in entries] for provider, entries in providers.items()}
        for node, providers in wanted.items()
    }


def _identity(node: str, provider: str, entry: dict[str, t.Any]) -> tuple[str, ...]:
    return (node, provider, *(json.dumps(entry.get(field)) for field in ("target", "url", "mode")))


def parse(content: bytes) -> Document:
    """Return the document in a config file that we could have written, or that the public tools could.

    :raises BrokenConfigError: not JSON, cut off, of another version, or not sealed.
    """
    try:
        document = json.loads(content, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise BrokenConfigError("it is not JSON") from None
    if not isinstance(document, dict):
        raise BrokenConfigError("it is not a JSON object")
    if document.get("version") != FORMAT_VERSION:
        raise BrokenConfigError(f"its version is not {FORMAT_VERSION}")
    if _shape_problem(document.get("nim_endpoints")) is not None:
        raise BrokenConfigError("its nim_endpoints are not node -> provider -> list")
    try:
        check_sealed(document.get("credentials"))
    except BrokenEnvelopeError as problem:
        raise BrokenConfigError(str(problem)) from None
    return document


def _refuse_constant(name: str) -> t.NoReturn:
    """NaN and Infinity are no JSON, although the parser would take them."""
    raise ValueError(name)


@dataclasses.dataclass(frozen=True)
class Found:
    """A config file after reading and opening it. C(state) is as in Update.found."""

    state: str
    document: Document = dataclasses.field(default_factory=dict, repr=False)
    credentials: Credentials | None = dataclasses.field(default=None, repr=False)
    problem: str | None = None


def inspect(current: bytes | None, key: str, previous_keys: t.Sequence[str] = (), sealed: bool = False) -> Found:
    """Parse and open a config file with the key, else with one of the previous keys.

    With C(sealed) only the seal is checked, and the credentials stay unknown.
    """
    if current is None:
        return Found("missing")
    try:
        document = parse(current)
    except BrokenConfigError as problem:
        return Found("broken", problem=str(problem))
    for candidate in (key, *previous_keys):
        try:
            credentials = _opened(document["credentials"], candidate, sealed)
        except WrongKeyError:
            continue
        except BrokenEnvelopeError as problem:
            return Found("broken", problem=str(problem))
        return Found("ok" if candidate == key else "previous_key", document, credentials)
    return Found(
        "wrong_key", document, problem="it is sealed with a key that is neither the current nor a previous one"
    )


def _opened(section: Document, key: str, sealed: bool) -> Credentials | None:
    if sealed:
        check_seal(section, key)
        return None
    return unseal(section, key)


def update(current: bytes | None, wanted: Wanted, now: str) -> Update:
    """Decide what a config file should hold.

    The found bytes stay when they already say what is wanted: the open part is compared without C(installed_at), the
    credentials after opening them. Ciphertext is never compared, because sealing is random.

    :arg current: the file's bytes; None when there is no file.
    :arg now: the time for C(installed_at), as C(2026-11-23T10:00:00Z).
    """
    found = inspect(current, wanted.key, wanted.previous_keys, sealed=wanted.sealed is not None)
    old_endpoints = found.document.get("nim_endpoints", {})
    priced = keep_prices(old_endpoints, wanted.nim_endpoints)
    nim_endpoints = keep_unread(old_endpoints, priced, wanted.unread_targets)
    open_fields: Document = {
        "version": FORMAT_VERSION,
        "mode": wanted.mode,
        "nim_endpoints": nim_endpoints,
        "credentials_status": wanted.status,
    }
    envelope = wanted.envelope
    reasons = _differences(found, open_fields, envelope, wanted)
    extras = {name: value for name, value in found.document.items() if name not in OUR_FIELDS}
    content = current
    if reasons or content is None:
        content = _to_bytes({**open_fields, "installed_at": now, "credentials": wanted.seal()}, extras)
    return Update(
        content=content,
        reasons=reasons,
        found=found.state,
        problem=found.problem,
        before=show(found.document) if found.document else {},
        after=show({**open_fields, "credentials": envelope}),
        kept_targets=_kept_targets(nim_endpoints, wanted.unread_targets),
    )


def _differences(found: Found, open_fields: Document, envelope: Document, wanted: Wanted) -> tuple[str, ...]:
    """Name what differs between the file and what is wanted. Empty means: leave the file as it is."""
    if found.state in ("missing", "broken"):
        return (found.state,)
    reasons = []
    if found.state in ("wrong_key", "previous_key"):
        reasons.append(found.state)
    reasons += [name for name, value in open_fields.items() if found.document.get(name) != value]
    sealed = found.document["credentials"]
    if wanted.sealed is not None:
        # A fingerprint says something only beside one of the same key.
        others = found.state == "ok" and sealed.get("fingerprint") != envelope["fingerprint"]
    else:
        others = found.credentials is not None and found.credentials != wanted.credentials
    if others:
        reasons.append("credentials")
    if not reasons and any(sealed.get(name) != value for name, value in envelope.items()):
        reasons.append("envelope")
    return tuple(reasons)


def _kept_targets(nim_endpoints: Endpoints, unread_targets: t.Iterable[str]) -> tuple[str, ...]:
    """Name the unread targets whose entries stand in the config."""
    present = {entry.get("target") for _node, _provider, entry in _entries(nim_endpoints) if entry.get("stale")}
    return tuple(sorted(set(unread_targets) & {name for name in present if isinstance(name, str)}))


def _to_bytes(document: Document, extras: Document) -> bytes:
    """Return the file's bytes: our fields in their usual order, then those that others put there."""
    ordered = {name: document[name] for name in OUR_FIELDS}
    return (json.dumps({**ordered, **extras}, indent=2) + "\n").encode("ascii")


def show(document: Document) -> Document:
    """Return what a diff may show of a config: endpoints and status, and of the credentials only their names.

    The document may be a stranger's, so a field shows only if it has the type it should have.
    """
    sealed = document["credentials"]
    mode = document.get("mode")
    status = document.get("credentials_status")
    return {
        "mode": mode if isinstance(mode, str) else NOT_SHOWN,
        "nim_endpoints": {
            node: {provider: [_show_entry(entry) for entry in entries] for provider, entries in providers.items()}
            for node, providers in document["nim_endpoints"].items()
        },
        "credentials_status": {
            provider: isinstance(status, dict) and status.get(provider) is True for provider in CREDENTIAL_FIELDS
        },
        "credentials": {name: sealed.get(name) for name in ("encryption_version", "key_id", "fingerprint")},
    }


def _show_entry(entry: dict[str, t.Any]) -> dict[str, t.Any]:
    shown = {}
    for name, value in entry.items():
        hidden = name not in ENDPOINT_FIELDS or (name in URL_FIELDS and _has_password(value))
        shown[name] = NOT_SHOWN if hidden else value
    return shown


def describe(current: bytes | None, keys: t.Sequence[str], now: datetime.datetime) -> dict[str, t.Any]:
    """Say what a config file is, for an audit. Nothing secret is in it.

    C(status) is C(missing), C(broken), C(ok), C(previous_key) (only a later key of I(keys) opens it), C(wrong_key),
    or C(unchecked) when no key was given.
    """
    if current is None:
        return {"status": "missing", "decrypts": None}
    try:
        document = parse(current)
    except BrokenConfigError as problem:
        return {"status": "broken", "decrypts": False, "problem": str(problem)}
    found = inspect(current, keys[0], keys[1:]) if keys else Found("unchecked", document)
    sealed = document["credentials"]
    opened = found.credentials
    installed_at = document.get("installed_at")
    return {
        "status": found.state,
        "problem": found.problem,
        "decrypts": (opened is not None) if keys else None,
        "mode": document.get("mode"),
        "encryption_version": sealed.get("encryption_version"),
        "key_id": sealed.get("key_id"),
        "fingerprint": sealed.get("fingerprint"),
        "installed_at": installed_at,
        "age_seconds": _age(installed_at, now),
        "credentials_status": credentials_status(opened) if opened is not None else None,
        "endpoint_counts": _counts(document["nim_endpoints"]),
    }


def _age(installed_at: object, now: datetime.datetime) -> int | None:
    """Return the seconds since then, or None when the text says no time with a time zone."""
    if not isinstance(installed_at, str):
        return None
    try:
        # Python 3.9 and 3.10 do not read the Z
        then = datetime.datetime.fromisoformat(installed_at.replace("Z", "+00:00"))
    except ValueError:
        return None
    if then.tzinfo is None:
        return None
    return int((now - then).total_seconds())


def _counts(nim_endpoints: Endpoints) -> dict[str, t.Any]:
    by_provider: dict[str, int] = {}
    stale = 0
    for _node, provider, entry in _entries(nim_endpoints):
        by_provider[provider] = by_provider.get(provider, 0) + 1
        stale += 1 if entry.get("stale") is True else 0
    return {
        "nodes": sum(1 for providers in nim_endpoints.values() if any(providers.values())),
        "endpoints": sum(by_provider.values()),
        "stale": stale,
        "by_provider": by_provider,
    }


__all__ = (
    "FILE",
    "FOLDER",
    "BrokenConfigError",
    "ConfigError",
    "Found",
    "Sealed",
    "Update",
    "Wanted",
    "check_credentials",
    "check_endpoints",
    "credentials_status",
    "describe",
    "inspect",
    "keep_unread",
    "mode_name",
    "parse",
    "show",
    "update",
)
