# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""The one place that talks to boto3: sessions, roles to assume, retries, and errors in our own words."""

from __future__ import annotations

import threading
import time
import traceback
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils._provider import (
    UNREADABLE,
    ConflictError,
    MissingLibraryError,
    ProviderError,
)

try:
    import boto3
    import botocore.config
    import botocore.exceptions
    import botocore.parsers
except ImportError:
    BOTO3_IMPORT_ERROR: str | None = traceback.format_exc()
else:
    BOTO3_IMPORT_ERROR = None

ATTEMPTS = 8
"""Tries per call when AWS throttles or fails in passing. botocore's own default of 3 gives up in a few seconds."""

Conflicts = t.Sequence[str]


class AwsSession:
    """Calls one account and region. Clients are made once per service and used by all threads."""

    def __init__(self, options: t.Mapping[str, t.Any]) -> None:
        if BOTO3_IMPORT_ERROR is not None:
            raise MissingLibraryError("boto3", BOTO3_IMPORT_ERROR)
        self.region: str = options["region"]
        self._endpoint_url: str | None = options.get("endpoint_url")
        self._verify: str | bool | None = self._verification(options)
        self._clients: dict[str, t.Any] = {}
        self._lock = threading.Lock()
        try:
            self._session = self._open(options)
        except botocore.exceptions.BotoCoreError as exc:
            raise ProviderError(f"AWS credentials cannot be used: {exc}") from exc

    @staticmethod
    def _verification(options: t.Mapping[str, t.Any]) -> str | bool | None:
        if not options.get("validate_certs", True):
            return False
        return options.get("ca_bundle")

    def _open(self, options: t.Mapping[str, t.Any]) -> t.Any:
        session = boto3.session.Session(
            region_name=self.region,
            profile_name=options.get("profile"),
            aws_access_key_id=options.get("access_key"),
            aws_secret_access_key=options.get("secret_key"),
            aws_session_token=options.get("session_token"),
        )
        role = options.get("assume_role_arn")
        if not role:
            return session
        self._session = session
        request = {"RoleArn": role, "RoleSessionName": "budgetguard-techops"}
        if options.get("assume_role_external_id"):
            request["ExternalId"] = options["assume_role_external_id"]
        answer = self.call("sts", "assume_role", f"assume the role {role}", **request)
        temporary = answer["Credentials"]
        self._clients.clear()
        return boto3.session.Session(
            region_name=self.region,
            aws_access_key_id=temporary["AccessKeyId"],
            aws_secret_access_key=temporary["SecretAccessKey"],
            aws_session_token=temporary["SessionToken"],
        )

    @property
    def partition(self) -> str:
        """The region's partition, for example ``aws`` or ``aws-cn``."""
        return str(self._session.get_partition_for_region(self.region))

    def client(self, service: str) -> t.Any:
        """Return the client of a service."""
        with self._lock:
            if service not in self._clients:
                config = botocore.config.Config(retries={"mode": "standard", "total_max_attempts": ATTEMPTS})
                self._clients[service] = self._session.client(
                    service, endpoint_url=self._endpoint_url, verify=self._verify, config=config
                )
            return self._clients[service]

    def call(
        self,
        service: str,
        operation: str,
        doing: str,
        /,
        missing: Conflicts = (),
        conflicts: Conflicts = (),
        **request: t.Any,
    ) -> t.Any:
        """Make one call.

        ``missing`` and ``conflicts`` are error codes, or parts of error messages. The first give None, the second
        :class:`ConflictError`. Any other error is a :class:`ProviderError` that says what was being done.
        """
        try:
            return getattr(self.client(service), operation)(**request)
        except botocore.exceptions.ClientError as exc:
            text = str(exc)
            if _is_one_of(exc, missing):
                return None
            if _is_one_of(exc, conflicts):
                raise ConflictError(f"cannot {doing}: {text}") from exc
            raise ProviderError(f"cannot {doing}: {text}") from exc
        except botocore.exceptions.BotoCoreError as exc:
            raise ProviderError(f"cannot {doing}: {exc}") from exc
        except botocore.parsers.ResponseParserError as exc:
            raise ProviderError(f"cannot {doing}: {UNREADABLE}") from exc

    def pages(self, service: str, operation: str, doing: str, key: str, /, **request: t.Any) -> list[t.Any]:
        """Return the items of all pages of a list call."""
        try:
            paginator = self.client(service).get_paginator(operation)
            return [item for page in paginator.paginate(**request) for item in page.get(key, [])]
        except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as exc:
            raise ProviderError(f"cannot {doing}: {exc}") from exc
        except botocore.parsers.ResponseParserError as exc:
            raise ProviderError(f"cannot {doing}: {UNREADABLE}") from exc

    def call_until(
        self,
        timeout: float,
        service: str,
        operation: str,
        doing: str,
        /,
        passing: Conflicts,
        missing: Conflicts = (),
        conflicts: Conflicts = (),
        **request: t.Any,
    ) -> t.Any:
        """Make one call again while AWS answers with one of the ``passing`` errors, for ``timeout`` seconds at most."""
        deadline = time.monotonic() + timeout
        delay = 1.0
        while True:
            try:
                return self.call(service, operation, doing, missing, (*conflicts, *passing), **request)
            except ConflictError as exc:
                cause = exc.__cause__
                if _is_one_of(cause, conflicts) or time.monotonic() + delay > deadline:
                    raise
            time.sleep(delay)
            delay = min(delay * 1.5, 10.0)


def _is_one_of(exc: BaseException | None, marks: Conflicts) -> bool:
    if exc is None or not marks:
        return False
    error = getattr(exc, "response", {}).get("Error", {})
    code, message = error.get("Code", ""), error.get("Message", "")
    return any(mark == code or (" " in mark and mark in message) for mark in marks)
