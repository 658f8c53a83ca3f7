#!/usr/bin/python
# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: report_tab
short_description: Put a tab on the studio's report page
description:
  - Writes what a tab is made of beside the page, and makes the page of all tabs that are there. Each playbook that
    reports something has a tab of its own and leaves the others as they are.
  - The page is one HTML file without anything else, so it can lie on a share. It needs no network.
  - Both files are replaced at once, so whoever reads one never sees half of it. Two runs at a time lose nothing.
author:
  - BudgetGuard TechOps contributors (!UNKNOWN)
extends_documentation_fragment:
  - ansible.builtin.files
  - budgetguard.techops.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    details:
      - A page is no text that people compare.
  platform:
    support: full
options:
  path:
    description:
      - The page, ending in C(.html). Its tabs are kept in the folder beside it, C(report_data) for C(report.html).
      - The folder is made if it is missing.
    type: path
    required: true
  tab:
    description:
      - The tab, as P(budgetguard.techops.workstation_audit#filter) and P(budgetguard.techops.nim_costs#filter) return
        it in C(tab).
    type: dict
    required: true
  keep_unchanged:
    description:
      - Leave a tab as it is, with its time, if it says the same as before. What differs in values named C(generated_at)
        alone is the same.
    type: bool
    default: false
  title:
    description:
      - What stands at the top of the page.
    type: str
    default: BudgetGuard report
  mode:
    default: "0640"
seealso:
  - plugin: budgetguard.techops.workstation_audit
    plugin_type: filter
  - plugin: budgetguard.techops.nim_costs
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Put the audit on the report page
  budgetguard.techops.report_tab:
    path: /srv/reports/report.html
    tab: "{{ audit.tab }}"
  delegate_to: localhost
"""

RETURN = r"""
path:
  description: The page.
  returned: success
  type: str
  sample: /srv/reports/report.html
data:
  description: The folder with what the tabs are made of.
  returned: success
  type: str
  sample: /srv/reports/report_data
tabs:
  description: The names of all tabs that are on the page.
  returned: success
  type: list
  elements: str
  sample: [audit]
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.budgetguard.techops.plugins.module_utils import _report, _report_files


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "tab": {"type": "dict", "required": True},
            "keep_unchanged": {"type": "bool", "default": False},
            "title": {"type": "str", "default": "BudgetGuard report"},
            "mode": {"type": "raw", "default": "0640"},
        },
        add_file_common_args=True,
        supports_check_mode=True,
    )
    page = Path(module.params["path"])
    if page.suffix != ".html":
        module.fail_json(msg=f"path is {str(page)!r}; it must end in .html")
    write = _report_files.Writer(module.tmpdir, module.atomic_move)
    try:
        changed, tabs = _report_files.put(
            page,
            module.params["tab"],
            module.params["title"],
            write,
            module.check_mode,
            module.params["keep_unchanged"],
        )
    except (_report.ReportError, OSError) as problem:
        module.fail_json(msg=f"The page {page} was not made: {problem}")
    for path in [page, *write.written]:
        if path.exists():
            arguments = module.load_file_common_arguments(module.params, path=str(path))
            changed = module.set_fs_attributes_if_different(arguments, changed)
    module.exit_json(changed=changed, path=str(page), data=str(_report_files.folder_of(page)), tabs=tabs)


if __name__ == "__main__":
    main()
