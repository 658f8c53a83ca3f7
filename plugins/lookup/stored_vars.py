# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: stored_vars
short_description: Read variables from a secret store
description:
  - Reads what the module M(budgetguard.techops.stored_vars) has written. Nothing is stored yet gives an empty mapping.
  - Each time that a variable with this lookup is used, the store is asked once. The role
    P(budgetguard.techops.workstation_credentials#role) uses it once per workstation and run.
  - What is stored is a JSON mapping, so the lookups of C(community.hashi_vault), C(amazon.aws), C(azure.azcollection)
    and C(google.cloud) can read it as well.
author:
  - BudgetGuard TechOps contributors (!UNKNOWN)
extends_documentation_fragment:
  - budgetguard.techops.secret_store
options:
  _terms:
    description: Names, without the prefix of the store, such as C(workstations/ws-01) or C(studio-key).
    type: list
    elements: str
    required: true
seealso:
  - module: budgetguard.techops.stored_vars
"""

EXAMPLES = r"""
# group_vars/all/main.yml
nim_credential_store:
  type: aws_secretsmanager
  region: us-east-1
nim_studio_key: >-
  {{ lookup("budgetguard.techops.stored_vars", "studio-key", store=nim_credential_store).nim_studio_key }}
"""

RETURN = r"""
_raw:
  description: The variables that are stored under each name.
  type: list
  elements: dict
"""

import json
import os
import time
import typing as t

from ansible.errors import AnsibleLookupError
from ansible.module_utils.basic import missing_required_lib
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.lookup import LookupBase

from ansible_collections.budgetguard.techops.plugins.module_utils._provider import MissingLibraryError, ProviderError
from ansible_collections.budgetguard.techops.plugins.module_utils._stores import (
    STORE,
    Store,
    open_store,
    read_variables,
)
from ansible_collections.budgetguard.techops.plugins.plugin_utils._vault_file import plain

KEPT_OPEN = 60.0
"""Seconds after which a store is opened anew, for logins end."""

_Key = tuple[int, str, frozenset[tuple[str, str]]]
_last: dict[str, tuple[_Key, float, Store]] = {}


class LookupModule(LookupBase):
    """The lookup budgetguard.techops.stored_vars."""

    def run(
        self, terms: list[t.Any], variables: dict[str, t.Any] | None = None, **kwargs: t.Any
    ) -> list[dict[str, t.Any]]:
        """Return what is stored under each name."""
        self.set_options(var_options=variables, direct=kwargs)
        checked = ArgumentSpecValidator({"store": STORE}).validate({"store": plain(self.get_option("store"))})
        if checked.error_messages:
            raise AnsibleLookupError(f"budgetguard.techops.stored_vars: {'; '.join(checked.error_messages)}")
        try:
            store = _opened(checked.validated_parameters["store"])
            return [read_variables(store, str(term))[0] for term in terms]
        except MissingLibraryError as error:
            raise AnsibleLookupError(missing_required_lib(error.package)) from error
        except (ProviderError, ValueError) as error:
            raise AnsibleLookupError(f"budgetguard.techops.stored_vars: {error}") from error


def _opened(options: dict[str, t.Any]) -> Store:
    """Return a store, the one of just before if it is the same: a variable that reads it is evaluated for each host.

    A forked process opens its own, for it must not write into the connection of another one.
    """
    key = (os.getpid(), json.dumps(options, sort_keys=True), frozenset(os.environ.items()))
    if "store" in _last:
        of, since, store = _last["store"]
        if of == key and time.monotonic() - since < KEPT_OPEN:
            return store
    store = open_store(options)
    _last["store"] = (key, time.monotonic(), store)
    return store
