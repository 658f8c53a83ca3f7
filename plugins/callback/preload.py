# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: preload
type: aggregate
short_description: Load plugins once per run instead of once per task and host
description:
  - Ansible starts a process for each task on each host, also for a task that is skipped. Each of them loads the
    filters, tests and other plugins that its task needs. This callback loads them before the first task, and all
    processes find them in memory.
  - With the playbooks of this collection, the controller needs about a third less processor time. Nothing else changes,
    and nothing is printed.
  - What cannot be loaded is left to the task that needs it, which says what is wrong.
author:
  - BudgetGuard TechOps contributors (!UNKNOWN)
requirements:
  - It has to be enabled, for instance by C(callbacks_enabled = budgetguard.techops.preload) in C(ansible.cfg).
"""

import contextlib
import gc
import importlib
import typing as t

from ansible.errors import AnsibleError
from ansible.plugins import loader
from ansible.plugins.callback import CallbackBase

_PLUGINS: tuple[tuple[t.Any, str, tuple[str, ...]], ...] = (
    (loader.action_loader, "ansible.builtin", ("assert", "debug", "normal", "set_fact", "validate_argument_spec")),
    (
        loader.action_loader,
        "budgetguard.techops",
        ("comfyui_config", "nim_key_info", "nim_targets_info", "vaulted_vars"),
    ),
    (loader.connection_loader, "ansible.builtin", ("local", "ssh")),
    (loader.lookup_loader, "ansible.builtin", ("env", "file")),
    (loader.shell_loader, "ansible.builtin", ("sh",)),
    # With one filter or test, ansible-core loads all of the same collection.
    (loader.filter_loader, "ansible.builtin", ("bool",)),
    (loader.filter_loader, "budgetguard.techops", ("identity_credentials",)),
    (loader.test_loader, "ansible.builtin", ("failed",)),
)
"""Those that the roles use most, by their loaders and collections."""

_MODULES = ("ansible.executor.module_common", "ansible.utils.encrypt")
"""What ansible-core itself imports in the process of a task."""


class CallbackModule(CallbackBase):
    """The callback budgetguard.techops.preload."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "budgetguard.techops.preload"
    CALLBACK_NEEDS_ENABLED = True

    def v2_playbook_on_start(self, playbook: t.Any) -> None:
        """Load the plugins, and keep the processes of tasks from looking for garbage among them."""
        for plugins, collection, names in _PLUGINS:
            for name in names:
                with contextlib.suppress(AnsibleError, ImportError, KeyError):
                    plugins.get(f"{collection}.{name}", class_only=True)
        for module in _MODULES:
            with contextlib.suppress(ImportError):
                importlib.import_module(module)
        _start_openssl()
        gc.freeze()


def _start_openssl() -> None:
    """Seal and open something: OpenSSL looks up its algorithms, and the processes to come find them there."""
    with contextlib.suppress(ImportError):
        fernet = importlib.import_module("cryptography.fernet").Fernet
        cipher = fernet(fernet.generate_key())
        cipher.decrypt(cipher.encrypt(b""))
