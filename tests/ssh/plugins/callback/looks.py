# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Write how often Ansible's main process worked out the variables of each host to the file that LOOKS_FILE names."""

from __future__ import annotations

import collections
import json
import os
import typing as t
from pathlib import Path

from ansible.plugins.callback import CallbackBase
from ansible.vars.manager import VariableManager

DOCUMENTATION = r"""
name: looks
type: aggregate
short_description: Count how often variables are worked out
description: For tests only.
"""


class CallbackModule(CallbackBase):
    """Counts in the process that it is loaded in, and not in those of tasks."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "looks"
    CALLBACK_NEEDS_ENABLED = True

    def v2_playbook_on_start(self, playbook: t.Any) -> None:
        """Begin to count."""
        self.looks: collections.Counter[str] = collections.Counter()
        variables: t.Any = VariableManager
        get_vars = variables.get_vars

        def counted(manager: t.Any, *arguments: t.Any, **options: t.Any) -> t.Any:
            if options.get("host") is not None:
                self.looks[options["host"].get_name()] += 1
            return get_vars(manager, *arguments, **options)

        variables.get_vars = counted

    def v2_playbook_on_stats(self, stats: t.Any) -> None:
        """Write the counts."""
        Path(os.environ["LOOKS_FILE"]).write_text(json.dumps(self.looks), encoding="utf-8")
