# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Whether a NIM works at this moment, and what it has counted, from its own metrics. Pure.

The names are those of NVIDIA's pages on observability (NIM for LLMs 1.x; Audio2Face-2D for ``gpu_utilization``), of
vLLM, which NIM for LLMs 2.x hands on, and of Triton. Which of them image NIMs have is not published.
"""

from __future__ import annotations

import math
import re
import typing as t

COUNTS = frozenset(
    (
        "num_requests_running",
        "num_requests_waiting",
        "vllm:num_requests_running",
        "vllm:num_requests_waiting",
        "nv_inference_pending_request_count",
    )
)
"""How many requests there are now."""

SHARES = frozenset(("gpu_utilization", "nv_gpu_utilization"))
"""How much of the GPU's time is used, from 0 to 1. Where there is no count, a GPU at work is taken for a request."""

IDLE_SHARE = 0.02
"""A GPU that does less than this does nothing. Some tell it in percent, where the same number is stricter."""

COUNTERS = frozenset(
    (
        "request_finish_total",
        "request_success_total",
        "request_failure_total",
        "prompt_tokens_total",
        "generation_tokens_total",
        "vllm:request_success_total",
        "vllm:prompt_tokens_total",
        "vllm:generation_tokens_total",
        "nv_inference_request_success",
        "nv_inference_request_failure",
    )
)
"""What only ever grows, and grows with each request that has ended."""

FAILURES = frozenset(("request_failure_total", "nv_inference_request_failure"))
"""Of these, those that do not grow where all is well. They prove nothing alone."""

STARTED = "process_start_time_seconds"
"""When the process began that counts."""

_SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{.*\})?\s+(\S+)(?:\s+-?\d+)?")


def of_metrics(text: str) -> tuple[bool | None, str]:
    """Return whether a NIM works, and by what it is known. None if no metric tells.

    ``text`` is in Prometheus' text format. A count of 0 is believed; that a GPU rests at one moment is not, since a
    request also waits for memory and for the network.
    """
    found: dict[str, float] = {}
    for name, value in _samples(text):
        if name in COUNTS or name in SHARES:
            found[name] = max(found.get(name, 0.0), value)
    for name, value in sorted(found.items()):
        if value > (0 if name in COUNTS else IDLE_SHARE):
            return True, f"{name} is {value:g}"
    counts = sorted(COUNTS & found.keys())
    if counts:
        return False, f"{counts[0]} is 0"
    if found:
        return None, f"{min(found)} is {found[min(found)]:g}, which does not tell whether a request runs"
    return None, "none of its metrics tells how many requests run"


def counters(text: str) -> dict[str, float]:
    """Return what a NIM has counted since it was started, summed up over all labels, and when that was if it tells.

    Empty if none of its metrics counts requests that went well.
    """
    found: dict[str, float] = {}
    started: dict[str, float] = {}
    for name, value in _samples(text):
        if name in COUNTERS:
            found[name] = found.get(name, 0.0) + value
        elif name == STARTED:
            started[name] = max(started.get(name, 0.0), value)
    return {**found, **started} if found.keys() - FAILURES else {}


def _samples(text: str) -> t.Iterator[tuple[str, float]]:
    for line in text.splitlines():
        sample = _SAMPLE.fullmatch(line.strip())
        if sample is None:
            continue
        try:
            value = float(sample[2])
        except ValueError:
            continue
        if not math.isnan(value):
            yield sample[1], value


__all__ = ("COUNTERS", "COUNTS", "SHARES", "STARTED", "counters", "of_metrics")
