# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""A first look at keys that people paste, before they reach a machine that costs money. Never shows a key."""

from __future__ import annotations

import json
import re
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.budgetguard.techops.plugins.module_utils._deployment import Wanted

_KEY = re.compile(r"^[!-~]{16,}$")

_SECRET_FIELDS = ("private_key", "private_key_id")
"""The fields of a service account's key file that are to be hidden. The others are names and addresses of Google."""


class KeyFormatError(ValueError):
    """What was given cannot be a key; the message does not contain it."""


def check_key(option: str, value: str | None) -> str | None:
    """Return the key without a line end at its end, which comes of encrypting a file. None and '' give None.

    Raises :class:`KeyFormatError` for anything with spaces or line ends within, or of fewer than 16 characters.
    """
    key = (value or "").strip()
    if not key:
        return None
    if not _KEY.match(key) or key[0] in "{[":
        raise KeyFormatError(
            f"{option} is not a key: it must be one word of at least 16 printable characters. "
            "Is it a mapping, a path, or an unresolved variable?"
        )
    return key


def hide_json(module: AnsibleModule) -> None:
    """Hide each option of type ``jsonarg`` that must not be logged, in the form that it has in the module's result.

    AnsibleModule looks for secrets in what was given, which ansible-core before 2.19 turns from text into a mapping.
    It writes the mapping back as JSON, where a line end is a backslash and an n, and so no longer finds the key.

    Of a mapping it hides each value, and so would put asterisks into the name of the project and into every new key
    file that the module returns, which says "service_account" as the given one does. Those values are let through.
    """
    for name, option in module.argument_spec.items():
        if option.get("type") == "jsonarg" and option.get("no_log") and module.params[name]:
            for field, value in _fields(module.params[name]).items():
                if field not in _SECRET_FIELDS:
                    module.no_log_values.discard(str(value))
            module.no_log_values.add(module.params[name])


def _fields(text: str) -> dict[str, t.Any]:
    """Return what is in a JSON object, nothing where it is none: who uses it says what is wrong with it."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def missing_keys(
    wanted: t.Sequence[Wanted],
    ngc_api_key: str | None,
    hf_token: str | None,
    stored: t.Container[str] | None,
    hf_field: str = "HF_TOKEN",
) -> list[str]:
    """Say which keys the NIMs need that are neither given nor stored on the target already.

    ``stored`` names the fields of the target's secret; None means that it has no usable one.
    """
    if not wanted:
        return []
    if ngc_api_key is None and stored is None:
        return ["ngc_api_key is not set and there is no secret yet; NVIDIA's registry needs an NGC API key"]
    # A key that is given replaces the whole secret, so what the old one held does not count.
    kept = stored if stored is not None and ngc_api_key is None else ()
    gated = sorted(item.node for item in wanted if item.needs_hf_token)
    if not gated or hf_token is not None or hf_field in kept:
        return []
    what = f"hf_token is not set; {', '.join(gated)} downloads gated weights with a Hugging Face token"
    return [f"{what} whose account has accepted the licences"]
