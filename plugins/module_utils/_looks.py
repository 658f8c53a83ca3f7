# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""When NIMs were used, from what they count themselves, seen again and again. Pure.

A counter that is the same in two looks says that no request has ended between them, however far apart they are. One
that has grown says that one has, at some time between; the later look is taken for it, which is the careful side. One
that is smaller, or of another process, says that the NIM was started anew, and nothing is known of the time before.
"""

from __future__ import annotations

import json
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils import _activity, _usage

SOURCE = "nim_metrics"
VERSION = "1.0"

_TIMES = ("first_look_at", "changed_at", "looked_at")

Look = t.Mapping[str, t.Any]


class LooksError(ValueError):
    """What was kept has another form. The text says what to do."""


def parse(stored: t.Any) -> list[dict[str, t.Any]]:
    """Return the looks that were kept, given as a mapping or as the text of the file. Raises LooksError."""
    cure = "so they begin anew"
    if isinstance(stored, (str, bytes)):
        try:
            stored = json.loads(stored) if stored.strip() else None
        except ValueError as error:
            raise LooksError(f"the looks at NIMs are not JSON ({error}); {cure}") from error
    if not stored:
        return []
    looks = stored.get("looks") if isinstance(stored, t.Mapping) else None
    if not isinstance(looks, list) or not all(_is_look(look) for look in looks):
        raise LooksError(f"the looks at NIMs have another form than they should; {cure}")
    return [dict(look) for look in looks]


def _is_look(look: t.Any) -> bool:
    if not isinstance(look, t.Mapping) or not isinstance(look.get("counters"), t.Mapping):
        return False
    times = [_usage.moment(look.get(name)) for name in _TIMES if look.get(name) is not None]
    return None not in times and {"target", "url", "first_look_at", "looked_at"} <= look.keys()


def seen(stored: t.Sequence[Look], endpoints: t.Sequence[Look], now: float) -> list[dict[str, t.Any]]:
    """Return the looks to keep after another one, by target and address.

    ``endpoints`` is what nim_endpoint_info returned. One that does not tell keeps what it told last.
    """
    found = {(str(look["target"]), str(look["url"])): dict(look) for look in stored}
    moment = _usage.iso(now)
    for endpoint in endpoints:
        counters = endpoint.get("counters")
        key = (str(endpoint.get("target")), str(endpoint.get("url")))
        if not counters:
            continue
        before = found.get(key)
        look: dict[str, t.Any] = {"target": key[0], "url": key[1], "counters": dict(counters), "looked_at": moment}
        if before is None or _is_anew(before["counters"], counters):
            look.update(first_look_at=moment, changed_at=None)
        elif str(before["looked_at"]) > str(moment):
            # Another one has looked later.
            continue
        else:
            changed = moment if dict(counters) != dict(before["counters"]) else before.get("changed_at")
            look.update(first_look_at=before["first_look_at"], changed_at=changed)
        # Somebody works now, whose request is not counted yet.
        if endpoint.get("busy"):
            look["changed_at"] = moment
        found[key] = look
    return [found[key] for key in sorted(found)]


def _is_anew(before: t.Mapping[str, float], after: t.Mapping[str, float]) -> bool:
    """Say whether it is another process that counts, or it counts something else."""
    if before.keys() != after.keys() or before.get(_activity.STARTED) != after.get(_activity.STARTED):
        return True
    return any(after[name] < value for name, value in before.items())


def usage_of(looks: t.Iterable[Look], target: str, url: t.Any) -> dict[str, t.Any] | None:
    """Return what the looks tell of one NIM, with times in seconds since 1970. None if it was never seen.

    They hold everything from C(known_since) to C(settled_until).
    """
    for look in looks:
        if look["target"] == target and look["url"] == url:
            return {
                "source": SOURCE,
                "known_since": _usage.moment(look["first_look_at"]),
                "last_use": _usage.moment(look.get("changed_at")),
                "settled_until": _usage.moment(look["looked_at"]),
            }
    return None


__all__ = ("SOURCE", "VERSION", "LooksError", "parse", "seen", "usage_of")
