# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls of AWS that something else answers."""

from __future__ import annotations

import threading
import typing as t
from collections.abc import Iterator

import pytest
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

from ansible_collections.budgetguard.techops.plugins.module_utils._provider import ProviderError
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._aws_session import AwsSession

KEYS = {"access_key": "AKIAIOSFODNN7EXAMPLE", "secret_key": "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY"}


@pytest.fixture
def login_page() -> Iterator[str]:
    """Give the address of a proxy that wants a login before anything else."""

    @Request.application
    def answer(_request: Request) -> Response:
        return Response("<html><br>Sign in & go on</html>", 403, content_type="text/html")

    server = make_server("127.0.0.1", 0, answer, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_page_of_a_proxy_is_no_answer(login_page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    session = AwsSession({"region": "us-east-1", "endpoint_url": login_page, **KEYS})
    calls: list[t.Callable[[], t.Any]] = [
        lambda: session.call("iam", "get_role", "look", RoleName="a"),
        lambda: session.pages("ec2", "describe_subnets", "look", "Subnets"),
    ]
    for call in calls:
        with pytest.raises(
            ProviderError, match=r"^cannot look: the answer is not what this service sends; does a proxy"
        ):
            call()
