#!/usr/bin/python
# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: report_run
short_description: Note a run on the studio's report page
description:
  - Adds a run to the log of the last runs, a tab of the page that M(budgetguard.techops.report_tab) makes. The
    playbooks V(deploy), V(site), V(start), V(stop) and V(teardown) do so where C(nim_report_file) is set.
  - Each run is a file of its own in the folder C(runs) beside the page's tabs. Two runs that end at a time both stay.
  - What is noted are names, times and messages of failures, never a variable of the run.
  - A run is always something new, so this always changes the page.
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
      - A log is no text that people compare.
  platform:
    support: full
options:
  path:
    description:
      - The page, ending in C(.html). The folder is made if it is missing.
    type: path
    required: true
  playbook:
    description:
      - Name of the playbook.
    type: str
    required: true
  targets:
    description:
      - Name of each target to how it went there, a mapping of C(changed), a boolean, C(reason), the message if it
        failed, and C(deployments), the NIMs as RV(budgetguard.techops.nim_aws#module:deployments) has them, of which
        those with an C(error) are noted. All are optional.
      - An empty mapping is a target that was not reached.
    type: dict
    required: true
  nodes:
    description:
      - The nodes to which the run was narrowed, as a list or as text with commas.
    type: raw
    default: []
  job:
    description:
      - What the run is called elsewhere, such as the number of its job in AWX.
    type: str
    default: ""
  keep:
    description:
      - How many runs are kept.
    type: int
    default: 50
  title:
    description:
      - What stands at the top of the page.
    type: str
    default: BudgetGuard report
  mode:
    default: "0640"
seealso:
  - module: budgetguard.techops.report_tab
"""

EXAMPLES = r"""
- name: Note how it went
  budgetguard.techops.report_run:
    path: /srv/reports/report.html
    playbook: my-deploy
    targets:
      aws-us-east-1: {changed: true}
      azure-eastus: {reason: The subscription has no quota for this GPU.}
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
path:
  description: The page.
  returned: success
  type: str
  sample: /srv/reports/report.html
runs:
  description: The files of the log, the oldest first.
  returned: success, not in check mode
  type: list
  elements: str
  sample: [20261128T180000Z-0f1e2d3c.json]
"""

import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.budgetguard.techops.plugins.module_utils import _matrix, _report_files, _runs


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "playbook": {"type": "str", "required": True},
            "targets": {"type": "dict", "required": True},
            "nodes": {"type": "raw", "default": []},
            "job": {"type": "str", "default": ""},
            "keep": {"type": "int", "default": _runs.KEPT},
            "title": {"type": "str", "default": "BudgetGuard report"},
            "mode": {"type": "raw", "default": "0640"},
        },
        add_file_common_args=True,
        supports_check_mode=True,
    )
    options = module.params
    page = Path(options["path"])
    if page.suffix != ".html":
        module.fail_json(msg=f"path is {str(page)!r}; it must end in .html")
    if options["keep"] < 1:
        module.fail_json(msg=f"keep is {options['keep']}; it must be at least 1")
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    write = _report_files.Writer(module.tmpdir, module.atomic_move)
    try:
        nodes = _matrix.node_names(options["nodes"])
        entry = _runs.entry(options["playbook"], now, options["targets"], nodes, options["job"])
        if module.check_mode:
            module.exit_json(changed=True, path=str(page))
        runs = _report_files.note_run(page, entry, options["title"], write, options["keep"])
    except (ValueError, OSError) as problem:
        module.fail_json(msg=f"The run was not noted on the page {page}: {problem}")
    for path in write.written:
        if path.exists():
            module.set_fs_attributes_if_different(
                module.load_file_common_arguments(options, path=str(path)), changed=True
            )
    module.exit_json(changed=True, path=str(page), runs=runs)


if __name__ == "__main__":
    main()
