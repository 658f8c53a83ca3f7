# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Systems Manager parameters."""

from __future__ import annotations

import json
from typing import Any

from moto.ssm.models import Parameter

from tests.sandbox.aws_patches.patching import patches


@patches(Parameter, "response_object")
def response_object(original: Any, self: Parameter, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """Public parameters whose value is a JSON document, such as ``.../gpu/recommended``.

    AWS: JSON.
    moto: the text form of a Python dict.
    """
    answer: dict[str, Any] = original(self, *args, **kwargs)
    if isinstance(answer["Value"], dict):
        answer["Value"] = json.dumps(answer["Value"])
    return answer
