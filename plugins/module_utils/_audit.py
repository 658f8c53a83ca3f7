# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""What is wrong with a workstation, by one look at it. Pure: no clock, no file, nothing secret in what it returns.

The two comparisons are made where the secrets are, in the look itself. The findings are made of what they return.
"""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils import _unreachable

PROBLEM, WARNING, NOTE = "problem", "warning", "note"
LEVELS = (PROBLEM, WARNING, NOTE)

SAME, DIFFERENT, UNKNOWN, UNCHECKED = "same", "different", "unknown", "unchecked"

ENDPOINT_FIELDS = (
    "url",
    "gpu_tier",
    "infer_url",
    "health_url",
    "region",
    "target",
    "api_style",
    "auth",
    "mode",
    "control",
)
"""What has to be the same. When a NIM was deployed, or what it costs, makes no difference to the one who calls it."""

_OPEN = ("identity", "key_id", "created", "expires", "revoked", "delivered")
"""What of a stored identity may be told."""

Row = dict[str, t.Any]


class AuditError(ValueError):
    """What was given is not what it should be. The text says where, and holds no secret."""


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of finding: how bad it is, what to do, and how to tell that it began or ended, of one and of several."""

    level: str
    cure: str
    began: tuple[str, str]
    ended: tuple[str, str]


_RUN = "Run workstations --limit {name}."
_DELIVER = "Run credentials --limit {name}."

KINDS: dict[str, Kind] = {
    "unreachable": Kind(
        PROBLEM,
        "Switch it on, or see why it does not answer.",
        ("cannot be reached any more", "cannot be reached any more"),
        ("can be reached again", "can be reached again"),
    ),
    "not_looked_at": Kind(
        PROBLEM,
        "Log in to it by hand as Ansible does, and see what it does; messages: docs/audit.md.",
        ("could not be looked at", "could not be looked at"),
        ("can be looked at again", "can be looked at again"),
    ),
    "no_comfyui": Kind(
        PROBLEM,
        "Correct comfyui_path of {name}, or install ComfyUI there.",
        ("lost its ComfyUI folder", "lost their ComfyUI folder"),
        ("has its ComfyUI folder again", "have their ComfyUI folder again"),
    ),
    "config_missing": Kind(
        PROBLEM, _RUN, ("lost its config", "lost their config"), ("has a config again", "have a config again")
    ),
    "config_broken": Kind(
        PROBLEM,
        _RUN + " What is there is kept beside the new one.",
        ("has a broken config", "have a broken config"),
        ("has a sound config again", "have a sound config again"),
    ),
    "config_refused": Kind(
        PROBLEM,
        "Remove what the message names, then run workstations --limit {name}.",
        ("has something in the way of its config", "have something in the way of their config"),
        ("has a free way to its config again", "have a free way to their config again"),
    ),
    "config_wrong_key": Kind(
        PROBLEM,
        _RUN + " If the studio key was changed, give the old one as nim_previous_studio_key.",
        ("has a config that is sealed with a key not known", "have a config that is sealed with a key not known"),
        ("has a config that opens again", "have a config that opens again"),
    ),
    "config_previous_key": Kind(
        WARNING,
        _RUN,
        ("still has the previous studio key", "still have the previous studio key"),
        ("has the current studio key", "have the current studio key"),
    ),
    "config_other_workstation": Kind(
        PROBLEM,
        _RUN + " Then ask who copied it.",
        ("got the config of another workstation", "got the config of another workstation"),
        ("has its own config again", "have their own config again"),
    ),
    "config_mode": Kind(
        WARNING,
        _RUN,
        ("is sealed in another way than asked for", "are sealed in another way than asked for"),
        ("is sealed as asked for", "are sealed as asked for"),
    ),
    "config_exposed": Kind(
        WARNING,
        _RUN,
        ("has a config that others may read", "have a config that others may read"),
        ("has a config that others may not read", "have a config that others may not read"),
    ),
    "key_missing": Kind(
        PROBLEM,
        _RUN,
        ("lost its key", "lost their key"),
        ("has its key again", "have their key again"),
    ),
    "credential_revoked": Kind(
        PROBLEM,
        _RUN + " The key itself does not work any more.",
        ("still has a revoked credential", "still have a revoked credential"),
        ("has no revoked credential any more", "have no revoked credential any more"),
    ),
    "credential_missing": Kind(
        PROBLEM,
        _RUN,
        ("lost a credential", "lost a credential"),
        ("has all its credentials again", "have all their credentials again"),
    ),
    "credential_different": Kind(
        PROBLEM,
        _RUN,
        ("has another credential than the stored one", "have another credential than the stored one"),
        ("has the stored credentials again", "have the stored credentials again"),
    ),
    "credential_undelivered": Kind(
        WARNING,
        _DELIVER,
        ("waits for a new credential", "wait for a new credential"),
        ("has its new credential", "have their new credential"),
    ),
    "credential_unexpected": Kind(
        WARNING,
        _RUN,
        ("has a credential that is stored nowhere", "have a credential that is stored nowhere"),
        ("has stored credentials only", "have stored credentials only"),
    ),
    "credential_due": Kind(
        WARNING,
        "Run rotate, or let its schedule do it.",
        ("has a credential that is due for rotation", "have a credential that is due for rotation"),
        ("has a fresh credential", "have fresh credentials"),
    ),
    "credential_expired": Kind(
        PROBLEM,
        _DELIVER,
        ("has an expired credential", "have an expired credential"),
        ("has a valid credential again", "have a valid credential again"),
    ),
    "credential_refused": Kind(
        PROBLEM,
        "Run credentials --limit {name} -e check_all=true.",
        ("has a credential that its cloud refuses", "have a credential that its cloud refuses"),
        ("has a credential that its cloud takes again", "have a credential that its cloud takes again"),
    ),
    "credential_unknown": Kind(
        WARNING,
        "Correct the message's cause; everything else was looked at.",
        ("cannot be compared with what is stored", "cannot be compared with what is stored"),
        ("can be compared with what is stored again", "can be compared with what is stored again"),
    ),
    "endpoints_different": Kind(
        PROBLEM,
        _RUN,
        ("has other endpoints than what runs", "have other endpoints than what runs"),
        ("has the endpoints of what runs again", "have the endpoints of what runs again"),
    ),
    "endpoints_unknown": Kind(
        NOTE,
        "See why the target cannot be read: status.",
        ("cannot be compared with all targets", "cannot be compared with all targets"),
        ("can be compared with all targets again", "can be compared with all targets again"),
    ),
    "node_without_container": Kind(
        WARNING,
        "Run package_install --limit {name}.",
        ("lost the container of an installed NIM", "lost the container of an installed NIM"),
        ("has the containers of its installed NIMs again", "have the containers of their installed NIMs again"),
    ),
    "docker_silent": Kind(
        WARNING,
        "Start Docker there, or put ComfyUI's user into the group docker.",
        ("has a Docker that does not answer", "have a Docker that does not answer"),
        ("has a Docker that answers again", "have a Docker that answers again"),
    ),
    "gpu_problem": Kind(
        WARNING,
        "Look at the NVIDIA driver; after an update it takes a reboot.",
        ("has trouble with its GPU driver", "have trouble with their GPU driver"),
        ("has a working GPU driver again", "have a working GPU driver again"),
    ),
    "disk_low": Kind(
        WARNING,
        "Make room on that disk.",
        ("is low on disk", "are low on disk"),
        ("has room on its disk again", "have room on their disk again"),
    ),
    "clock_off": Kind(
        WARNING,
        "Switch time synchronization on; clouds refuse requests of clocks that are minutes off.",
        ("has a clock that is off", "have a clock that is off"),
        ("has a clock that is right again", "have a clock that is right again"),
    ),
    "probe_silent": Kind(
        NOTE,
        "Install Python 3.8 or later there, or name one in workstation_audit_python.",
        ("cannot be looked at beyond its config", "cannot be looked at beyond their config"),
        ("can be looked at beyond its config again", "can be looked at beyond their config again"),
    ),
}
"""All kinds of finding."""


@dataclasses.dataclass(frozen=True)
class Limits:
    """From when on something is a finding."""

    disk_free_gib: float = 20
    max_age_days: float = 0
    expires_days: float = 14
    clock_seconds: float = 120


# ---- comparisons -----------------------------------------------------------------------------------------------------


def compare_endpoints(
    found: t.Mapping[str, t.Any] | None,
    running: t.Mapping[str, t.Any] | None,
    unread: t.Iterable[str],
    own_name: str,
) -> Row:
    """Compare the endpoints of a config with what runs now.

    Both are C(nim_endpoints). Nothing is said of targets in C(unread), nor of the own Docker engine, which
    stands in the config under C(own_name). C(state) is C(same), C(different), C(unknown) when there are none to compare
    with, or C(unchecked).
    """
    silent = {str(name) for name in unread}
    told: Row = {"state": UNCHECKED, "missing": [], "gone": [], "changed": [], "unread": sorted(silent)}
    if running is None or found is None:
        return told
    have, want = (_by_identity(endpoints, {*silent, own_name}) for endpoints in (found, running))
    told["missing"] = sorted(_label(key) for key in want.keys() - have.keys())
    told["gone"] = sorted(_label(key) for key in have.keys() - want.keys())
    told["changed"] = sorted(_label(key) for key in want.keys() & have.keys() if want[key] != have[key])
    if told["missing"] or told["gone"] or told["changed"]:
        return {**told, "state": DIFFERENT}
    return {**told, "state": UNKNOWN if silent and not want else SAME}


def _by_identity(endpoints: t.Mapping[str, t.Any], ignored: t.AbstractSet[str]) -> dict[tuple[str, ...], list[Row]]:
    found: dict[tuple[str, ...], list[Row]] = {}
    for node, providers in endpoints.items():
        for provider, entries in providers.items():
            for entry in entries:
                target = str(entry.get("target") or "")
                if target not in ignored:
                    key = (str(node), str(provider), target, str(entry.get("gpu_tier") or ""))
                    # What is not there and what is None is the same: older runs wrote fewer fields.
                    told = {name: entry[name] for name in ENDPOINT_FIELDS if entry.get(name) is not None}
                    found.setdefault(key, []).append(told)
    return {key: sorted(entries, key=repr) for key, entries in found.items()}


def _label(key: tuple[str, ...]) -> str:
    node, provider, target, tier = key
    return f"{node} on {target or provider}" + (f" ({tier})" if tier else "")


def compare_credentials(
    opened: t.Mapping[str, t.Any] | None,
    expected: t.Mapping[str, t.Mapping[str, str]],
    records: t.Mapping[str, t.Any],
) -> dict[str, Row]:
    """Compare what is sealed in a config with what is stored, provider by provider. Only names and times are returned.

    C(opened) is None where the config could not be opened. C(state) is one of C(same), C(different), C(missing),
    C(revoked) (it is in the config still), C(undelivered), C(unexpected), C(unknown), or C(absent): revoked, and gone.
    """
    told = {}
    for provider in sorted({*(opened or ()), *expected, *records}):
        record = records.get(provider)
        record = record if isinstance(record, t.Mapping) else {}
        state = _credential_state(provider, opened, expected, record)
        told[provider] = {"state": state, **{name: record[name] for name in _OPEN if record.get(name) is not None}}
        expires = (expected.get(provider) or {}).get("Expires") if provider == "gateway" else None
        if provider == "gateway" and opened is not None:
            fields = opened.get(provider)
            expires = fields.get("Expires") if isinstance(fields, t.Mapping) else expires
        if expires:
            told[provider]["expires"] = str(expires)
    return told


def _credential_state(
    provider: str,
    opened: t.Mapping[str, t.Any] | None,
    expected: t.Mapping[str, t.Mapping[str, str]],
    record: t.Mapping[str, t.Any],
) -> str:
    if opened is None:
        return UNKNOWN
    has, waits = provider in opened, bool(record.get("key_id")) and record.get("delivered") is False
    checks = (
        (bool(record.get("revoked")), "revoked" if has else "absent"),
        (provider not in expected, "unexpected"),
        (has and opened.get(provider) == expected.get(provider), SAME),
        # The signed token is a new one from time to time; the old one is good for a while.
        (waits or (has and provider == "gateway"), "undelivered"),
        (not has, "missing"),
    )
    return next((state for is_so, state in checks if is_so), DIFFERENT)


# ---- findings --------------------------------------------------------------------------------------------------------


def row_of(name: str, look: t.Any, now: datetime.datetime, limits: Limits, refused: t.Mapping[str, str]) -> Row:
    """Return all that is told of one workstation.

    C(look) is the result of C(workstation_info), or of a task that failed or did not reach it. C(refused) are the
    credentials that their cloud was asked about and refused: provider to what it said.
    """
    result: t.Mapping[str, t.Any] = look if isinstance(look, t.Mapping) else {}
    row: Row = {"workstation": name, "reachable": not result.get("unreachable"), **_facts(result, now)}
    findings = list(_findings(row, result, now, limits, refused))
    row["findings"] = [
        {"id": kind, "level": KINDS[kind].level, "text": text, "cure": KINDS[kind].cure.format(name=name)}
        for kind, text in sorted(findings, key=lambda item: LEVELS.index(KINDS[item[0]].level))
    ]
    levels = {finding["level"] for finding in row["findings"]}
    row["state"] = next((level for level in (PROBLEM, WARNING) if level in levels), "ok")
    return row


def _facts(look: t.Mapping[str, t.Any], now: datetime.datetime) -> Row:
    """Return what is known of a workstation, in the form in which it is written down."""
    config = look.get("config") or {}
    probe = look.get("probe") or {}
    return {
        "config": {
            name: config.get(name)
            for name in (
                "status",
                "path",
                "mode",
                "encryption_version",
                "key_file",
                "key_id",
                "fingerprint",
                "installed_at",
                "credentials_status",
                "endpoint_counts",
                "file_mode",
            )
        },
        "config_age_days": _days(config.get("installed_at"), now),
        "credentials": {
            provider: {**told, "age_days": _days(told.get("created"), now)}
            for provider, told in (look.get("credentials") or {}).items()
        },
        "endpoints": look.get("endpoints") or {"state": UNCHECKED},
        "nodes": _nodes(probe),
        "containers": _part(probe, "containers", "containers"),
        "comfyui": _part(probe, "comfyui"),
        "companion": _part(probe, "companion"),
        "disk": _part(probe, "disk"),
        "gpus": _part(probe, "gpu", "gpus"),
        "system": (_part(probe, "system") or {}).get("name"),
        "python": (probe.get("python") or {}).get("version"),
        "clock_seconds": look.get("clock_seconds"),
    }


def _part(probe: t.Mapping[str, t.Any], name: str, entry: str = "") -> t.Any:
    """Return what a part of the probe has told, or None where it has not."""
    part = probe.get(name)
    if not isinstance(part, t.Mapping) or "problem" in part:
        return None
    return part.get(entry) if entry else dict(part)


def _problem(probe: t.Mapping[str, t.Any], name: str) -> str:
    part = probe.get(name)
    return str(part.get("problem") or "") if isinstance(part, t.Mapping) else ""


def _nodes(probe: t.Mapping[str, t.Any]) -> list[Row] | None:
    """Return the installed nodes, each with the state of its container: None when that is not known."""
    installed = _part(probe, "nodes", "installed")
    if installed is None:
        return None
    states = _part(probe, "containers", "containers")
    by_name = {item["name"]: item.get("state") for item in states or ()}
    return [
        {
            "node": node.get("node") or node.get("folder"),
            "container": node.get("container"),
            "state": None if states is None else by_name.get(node.get("container"), "absent"),
        }
        for node in installed
    ]


Found = t.Iterator[tuple[str, str]]


def _findings(
    row: Row,
    look: t.Mapping[str, t.Any],
    now: datetime.datetime,
    limits: Limits,
    refused: t.Mapping[str, str],
) -> Found:
    if look.get("unreachable"):
        yield "unreachable", _unreachable.reason(str(look.get("msg") or ""))
        return
    if look.get("failed") or "config" not in look:
        yield "not_looked_at", _unreachable.reason(str(look.get("msg") or "There is no result of the look."))
        return
    yield from _config_findings(look["config"], look)
    yield from _credential_findings(row["credentials"], now, limits)
    yield from ((("credential_refused", f"{_cloud(name)}: {text}") for name, text in sorted(refused.items())))
    if look.get("credentials_problem"):
        yield "credential_unknown", str(look["credentials_problem"])
    yield from _endpoint_findings(row["endpoints"])
    yield from _probe_findings(row, look, limits)


_BY_STATUS = {
    "missing": ("config_missing", "It has no config."),
    "broken": ("config_broken", "Its config is broken: {problem}."),
    "refused": ("config_refused", "{problem}."),
    "wrong_key": ("config_wrong_key", "Its config is sealed with a key that is not known here."),
    "previous_key": ("config_previous_key", "Its config is sealed with the previous studio key."),
    "no_key": ("key_missing", "Its config is sound, but ComfyUI cannot open it: {problem}."),
    "no_comfyui": ("no_comfyui", "{problem}."),
    "not_owner": ("not_looked_at", "{problem}."),
}


def _config_findings(config: t.Mapping[str, t.Any], look: t.Mapping[str, t.Any]) -> Found:
    if config.get("status") in _BY_STATUS:
        kind, text = _BY_STATUS[config["status"]]
        yield kind, text.format(problem=str(config.get("problem") or "").rstrip("."))
    mode, wanted = config.get("mode"), look.get("wanted_mode")
    if mode and wanted and mode != wanted:
        both_own = all(str(one).startswith("workstation:") for one in (mode, wanted))
        if both_own:
            yield "config_other_workstation", f"Its config is that of {str(mode).partition(':')[2]}."
        else:
            yield "config_mode", f"Its config says {mode}, and {wanted} is asked for."
    if look.get("exposed"):
        mode = f" (mode {config['file_mode']})" if config.get("file_mode") else ""
        yield "config_exposed", f"Others than ComfyUI's user may read its config{mode}."


_CREDENTIALS = {
    "revoked": ("credential_revoked", "was revoked on {revoked}, and its config still has it"),
    "missing": ("credential_missing", "is stored, and its config does not have it"),
    DIFFERENT: ("credential_different", "is another one in its config than the stored one"),
    "undelivered": ("credential_undelivered", "has a new one, which is not in its config yet"),
    "unexpected": ("credential_unexpected", "is in its config, and stored nowhere"),
}


def _credential_findings(credentials: t.Mapping[str, Row], now: datetime.datetime, limits: Limits) -> Found:
    for provider, told in credentials.items():
        if told["state"] in _CREDENTIALS:
            kind, text = _CREDENTIALS[told["state"]]
            yield kind, f"{_cloud(provider)} {text.format(revoked=told.get('revoked') or 'some day')}."
        if told["state"] in ("revoked", "absent", "unexpected"):
            continue
        left = _days(told.get("expires"), now)
        if left is not None and left >= 0:
            yield "credential_expired", f"{_cloud(provider)} ended on {_day(told['expires'])}."
        elif left is not None and -left <= limits.expires_days:
            yield "credential_due", f"{_cloud(provider)} ends on {_day(told['expires'])}."
        age = told.get("age_days")
        if limits.max_age_days and age is not None and age > limits.max_age_days:
            yield "credential_due", f"{_cloud(provider)} is {age:.0f} days old, {limits.max_age_days:g} are allowed."


def _endpoint_findings(endpoints: t.Mapping[str, t.Any]) -> Found:
    parts = [
        (endpoints.get("missing"), "not in its config"),
        (endpoints.get("gone"), "in its config, and not there any more"),
        (endpoints.get("changed"), "at another address or with other settings"),
    ]
    told = [f"{_several(names)}: {what}" for names, what in parts if names]
    if told:
        yield "endpoints_different", "; ".join(told) + "."
    if endpoints.get("unread") and endpoints.get("state") != UNCHECKED:
        yield "endpoints_unknown", f"What {_several(endpoints['unread'])} runs could not be read."


def _probe_findings(row: Row, look: t.Mapping[str, t.Any], limits: Limits) -> Found:
    probe = look.get("probe") or {}
    if not probe:
        yield "probe_silent", str(look.get("probe_problem") or "The probe gave no answer.")
    nodes = row["nodes"] or []
    lost = [node["node"] for node in nodes if node["state"] == "absent"]
    if lost:
        yield "node_without_container", f"{_several(lost)}: installed, and the container is not there."
    if nodes and row["containers"] is None:
        yield "docker_silent", f"It has installed NIMs, and Docker did not answer: {_problem(probe, 'containers')}."
    trouble = _problem(probe, "gpu")
    if trouble and not trouble.endswith("is not there"):
        yield "gpu_problem", f"nvidia-smi: {trouble.rstrip('.')}."
    disk = row["disk"] or {}
    if disk and disk["free_bytes"] < limits.disk_free_gib * 2**30:
        free, wanted = disk["free_bytes"] / 2**30, limits.disk_free_gib
        yield "disk_low", f"{free:.1f} GiB are free on the disk of {disk['path']}, less than {wanted:g}."
    skew = row["clock_seconds"]
    if skew is not None and abs(skew) > limits.clock_seconds:
        yield "clock_off", f"Its clock is {abs(skew):.0f} seconds {'ahead' if skew > 0 else 'behind'}."


_CLOUDS = {"aws": "AWS", "azure": "Azure", "gcp": "Google Cloud", "nvidia": "NVIDIA", "gateway": "Gateway token"}


def _cloud(provider: str) -> str:
    return _CLOUDS.get(provider, provider)


def _several(names: t.Sequence[str], most: int = 4) -> str:
    shown = ", ".join(str(name) for name in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def parse_time(text: t.Any) -> datetime.datetime | None:
    """Return a time with its zone, or None for what is none."""
    if isinstance(text, datetime.datetime):
        return text if text.tzinfo else text.replace(tzinfo=datetime.timezone.utc)
    try:
        # Python 3.9 and 3.10 do not read the Z
        then = datetime.datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    except ValueError:
        return None
    return then if then.tzinfo else then.replace(tzinfo=datetime.timezone.utc)


def _days(text: t.Any, now: datetime.datetime) -> float | None:
    """Return how many days ago that was; less than nothing for what is still to come."""
    then = parse_time(text) if text else None
    return None if then is None else round((now - then).total_seconds() / 86400, 2)


def _day(text: t.Any) -> str:
    then = parse_time(text)
    return then.strftime("%Y-%m-%d") if then else str(text)


__all__ = (
    "DIFFERENT",
    "KINDS",
    "LEVELS",
    "NOTE",
    "PROBLEM",
    "SAME",
    "UNCHECKED",
    "UNKNOWN",
    "WARNING",
    "AuditError",
    "Kind",
    "Limits",
    "compare_credentials",
    "compare_endpoints",
    "parse_time",
    "row_of",
)
