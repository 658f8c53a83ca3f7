# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every part of the sandbox process shares: one lock, one clock, and the adjustable defaults.

moto keeps its state in module globals, so a process is exactly one sandbox and this module may hold globals too.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, fields

#: The account every request belongs to (moto's default).
ACCOUNT_ID = "123456789012"

#: Held while moto's state is read or changed. moto is not thread-safe: it keeps response settings on classes.
STATE_LOCK = threading.RLock()


def clock() -> float:
    """Seconds on a clock that never jumps. Its zero means nothing."""
    return time.monotonic()


def seconds(name: str, value: object) -> float:
    """Return a duration that a test has sent. Raises ValueError if it is not a number >= 0."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
        raise ValueError(f"{name} must be a number of seconds, not negative, got {value!r}")
    return float(value)


@dataclass
class Defaults:
    """Durations of simulated work, in seconds. All may be changed while the sandbox runs."""

    #: From a raised desiredCount to a healthy target. AWS needs 5 to 30 minutes for a NIM.
    startup_seconds: float = 0.0
    #: How long a deleted service stays DRAINING, a target stays draining, and a deleted Auto Scaling group stays
    #: "Delete in progress". AWS: the target group's deregistration delay, 300 s unless changed.
    drain_seconds: float = 0.3
    #: How long an instance without tasks is kept before managed scaling ends it. AWS: about 15 minutes.
    scale_in_seconds: float = 0.0
    #: How long work on a managed Kubernetes cluster takes: to create, change or delete it or one of its pools.
    #: Azure and Google: 3 to 10 minutes.
    cluster_seconds: float = 0.2
    #: How long it takes until all of Entra and Azure knows a new application, service principal or client secret.
    #: Microsoft promises nothing; seconds are usual, half a minute was seen.
    directory_seconds: float = 0.0
    #: How long ago Deployments became what they become, as their conditions say, and ECS services, as their events
    #: say. 0 is the truth.
    condition_age_seconds: float = 0.0

    def change(self, values: dict[str, object]) -> None:
        """Set some durations. Raises ValueError for an unknown name or a value that is not a number >= 0."""
        known = [field.name for field in fields(self)]
        for name in values:
            if name not in known:
                raise ValueError(f"unknown default {name!r}, known are {', '.join(known)}")
        checked = {name: seconds(name, value) for name, value in values.items()}
        for name, value in checked.items():
            setattr(self, name, value)


DEFAULTS = Defaults()
