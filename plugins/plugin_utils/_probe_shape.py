# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Whether the answer of a workstation's probe has the shape that an audit reads. Pure.

The probe is run by ComfyUI's Python, which is the artist's. So anything may come back, and an answer of one workstation
must not end the audit of all the others.
"""

from __future__ import annotations

import typing as t

from ansible_collections.budgetguard.techops.plugins.plugin_utils._workstation_probe import FORMAT, MOST_ENTRIES, PARTS

LONGEST_TEXT = 4096
"""That of a path on Linux."""

LARGEST_NUMBER = 2**63

Check = t.Callable[[object], bool]


def is_sound(answer: t.Mapping[str, t.Any]) -> bool:
    """Say whether each part is as the probe tells it, or says what the problem was."""
    return (
        set(answer) == {"format", "python", "time", *PARTS}
        and answer["format"] == FORMAT
        and _PYTHON(answer["python"])
        and isinstance(answer["time"], float)
        and 0 <= answer["time"] < LARGEST_NUMBER
        and all(_PROBLEM(answer[name]) or _PARTS[name](answer[name]) for name in PARTS)
    )


def _text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= LONGEST_TEXT


def _number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < LARGEST_NUMBER


def _truth(value: object) -> bool:
    return isinstance(value, bool)


def _known(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _several(check: Check) -> Check:
    return lambda value: isinstance(value, list) and len(value) <= MOST_ENTRIES and all(map(check, value))


def _of(needed: t.Mapping[str, Check], other: t.Mapping[str, Check] | None = None) -> Check:
    """Return a check of a mapping with these entries and no others."""
    checks = {**needed, **(other or {})}
    return lambda value: (
        isinstance(value, dict)
        and set(needed) <= set(value) <= set(checks)
        and all(checks[name](entry) for name, entry in value.items())
    )


_PROBLEM = _of({"problem": _text})
_PYTHON = _of({"version": _text, "executable": _text})
_PARTS: dict[str, Check] = {
    "system": _of({"name": _text}),
    "disk": _of({"path": _text, "free_bytes": _number, "total_bytes": _number}),
    "gpu": _of({"gpus": _several(_of({"name": _text, "memory_mib": _known(_number), "driver": _text}))}),
    "comfyui": _of({"version": _known(_text), "commit": _known(_text)}),
    "companion": _of(
        {
            "installed": _truth,
            "version": _known(_text),
            "last_use": _known(_text),
            "requests_today": _known(_number),
        }
    ),
    "nodes": _of({"installed": _several(_of({"folder": _text}, {"node": _text, "container": _text, "image": _text}))}),
    "containers": _of({"containers": _several(_of({"name": _text, "state": _text, "status": _text}))}),
}


__all__ = ("is_sound",)
