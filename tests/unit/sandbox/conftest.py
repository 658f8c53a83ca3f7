# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One sandbox process for all tests here, emptied before each test."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.config import Config

from tests.sandbox import Sandbox, SandboxControl
from tests.unit.sandbox.ecs_deployment import REGION, Deployment


@pytest.fixture
def sandbox(running_sandbox: Sandbox) -> Sandbox:
    """Give an empty sandbox."""
    running_sandbox.control.reset()
    return running_sandbox


@pytest.fixture
def control(sandbox: Sandbox) -> SandboxControl:
    """Give the control API of an empty sandbox."""
    return sandbox.control


@pytest.fixture(scope="session")
def session_client(running_sandbox: Sandbox) -> Callable[..., Any]:
    """Give a function that makes boto3 clients; each is made once, for that takes longer than most tests."""
    env = running_sandbox.env
    session: Any = boto3.Session(
        aws_access_key_id=env["AWS_ACCESS_KEY_ID"], aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"]
    )

    @functools.cache
    def make(service: str, region: str = REGION, attempts: int = 1) -> Any:
        return session.client(
            service,
            region_name=region,
            endpoint_url=env["AWS_ENDPOINT_URL"],
            verify=env["AWS_CA_BUNDLE"],
            config=Config(retries={"mode": "standard", "total_max_attempts": attempts}, proxies={}),
        )

    return make


@pytest.fixture
def client(session_client: Callable[..., Any], sandbox: Sandbox) -> Callable[..., Any]:
    """Give a function that makes boto3 clients of an empty sandbox, which by default never try again."""
    del sandbox
    return session_client


@pytest.fixture
def deployment(client: Callable[..., Any]) -> Deployment:
    """Give a NIM that is not made yet."""
    return Deployment(client)
