# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What Sphinx is told about the documentation site. ``python -m tests.tools.docs_site`` builds it.

Any reference that leads nowhere is a warning, and a warning fails the build.
"""

from __future__ import annotations

import typing as t

from docutils import nodes
from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

project = "budgetguard.techops"
project_copyright = "BudgetGuard TechOps contributors, GPL-3.0-or-later"
title = html_title = html_short_title = "budgetguard.techops"

extensions = ["myst_parser", "sphinx_antsibull_ext"]
include_patterns = [
    "index.md",
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "tests/sandbox/README.md",
    "tests/sandbox/kube/README.md",
    "docs/*.md",
    "roles/*/README.md",
    "policies/**.md",
    "reference/**.rst",
]

myst_heading_anchors = 4
myst_enable_extensions = ["fieldlist"]
default_role = "any"
nitpicky = True
highlight_language = "YAML+Jinja"
pygments_style = "ansible"

html_theme = "sphinx_ansible_theme"
html_theme_options = {
    "navigation_depth": 2,
    "show_extranav": False,
    "topbar_links": {"Ansible's documentation": "https://docs.ansible.com/"},
}
html_show_sphinx = False
html_copy_source = False
html_use_index = False

_ANSIBLE = "https://docs.ansible.com/ansible/latest/"
_LABELS = {
    "action_plugins": "plugins/action.html",
    "ansible_configuration_settings": "reference_appendices/config.html",
    "callback_plugins": "plugins/callback.html",
    "common_return_values": "reference_appendices/common_return_values.html",
}
"""Places in Ansible's own documentation that the reference leads to. Nothing is asked of the network."""


def _of_ansible(_app: Sphinx, _env: t.Any, node: t.Any, content: t.Any) -> nodes.Node | None:
    place = _LABELS.get(node.get("reftarget"))
    if place is None:
        return None
    return nodes.reference("", "", content, internal=False, refuri=_ANSIBLE + place)


def setup(app: Sphinx) -> dict[str, bool]:
    """Tell Sphinx where Ansible's own places are, and of a language that has no colours."""
    app.connect("missing-reference", _of_ansible)
    app.add_lexer("cron", TextLexer)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
