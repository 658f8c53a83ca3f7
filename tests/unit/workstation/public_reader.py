# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Open a config as a reader of the public format does: written from the format's description, with no code of ours."""

from __future__ import annotations

import base64
import hashlib
import json
import typing as t

from cryptography.fernet import Fernet


def open_config(content: bytes, studio_key: str) -> t.Any:
    """Return the credentials in a studio-wide config. Raise what the libraries raise when that does not work."""
    sealed = json.loads(content)["credentials"]
    if sealed["encrypted"] is not True or sealed["encryption_version"] != 1 or sealed["encryption_method"] != "Fernet":
        raise ValueError("not version 1")
    stretched = hashlib.pbkdf2_hmac("sha256", studio_key.encode(), b"budgetguard_comfyui_salt", 100000, 32)
    token = base64.urlsafe_b64decode(sealed["encrypted_data"])
    return json.loads(Fernet(base64.urlsafe_b64encode(stretched)).decrypt(token))
