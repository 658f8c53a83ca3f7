# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""The one place that talks to Google's SDK: credentials, retries, operations, and errors in our own words.

One token serves the Container API, the Compute API and Kubernetes. The Container API's client would otherwise sign
tokens of its own, and wrong credentials would show in two different ways.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import threading
import time
import traceback
import typing as t
from pathlib import Path

from ansible_collections.budgetguard.techops.plugins.module_utils._provider import (
    UNREADABLE,
    ConflictError,
    MissingLibraryError,
    ProviderError,
)

try:
    import google.auth
    import google.auth.exceptions
    import google.auth.transport.requests
    import requests
    from google.api_core import exceptions as api_errors
    from google.cloud import container_v1
    from google.cloud.container_v1.services.cluster_manager.transports.rest import ClusterManagerRestTransport
    from google.oauth2 import service_account
    from google.protobuf import json_format
except ImportError:
    HAS_GOOGLE = False
    GOOGLE_IMPORT_ERROR: str | None = traceback.format_exc()
else:
    HAS_GOOGLE = True
    GOOGLE_IMPORT_ERROR = None

SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)

CONTAINER_HOST = "container.googleapis.com"
COMPUTE_URL = "https://compute.googleapis.com/compute/v1/"
IAM_URL = "https://iam.googleapis.com/"
RESOURCE_MANAGER_URL = "https://cloudresourcemanager.googleapis.com/"
LOGGING_URL = "https://logging.googleapis.com/"
MONITORING_URL = "https://monitoring.googleapis.com/"

ATTEMPTS = 6
"""Tries per call when Google throttles or fails in passing: together about half a minute."""

OPERATION_TIMEOUT = 3600.0
"""Seconds after which waiting for Google is given up. A cluster takes about 10 minutes."""

_CALL_TIMEOUT = 60.0
_PASSING_STATUSES = frozenset({429, 500, 502, 503, 504})

_CODES = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)
"""The names of an operation's error numbers, from google/rpc/code.proto."""

_FALLBACKS = {
    "project": ("GCP_PROJECT", "GOOGLE_CLOUD_PROJECT"),
    "service_account_file": ("GCP_SERVICE_ACCOUNT_FILE",),
    "service_account_contents": ("GCP_SERVICE_ACCOUNT_CONTENTS",),
    "container_endpoint": ("CLOUDSDK_API_ENDPOINT_OVERRIDES_CONTAINER",),
    "compute_endpoint": ("CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE",),
    "iam_endpoint": ("CLOUDSDK_API_ENDPOINT_OVERRIDES_IAM",),
    "resource_manager_endpoint": ("CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDRESOURCEMANAGER",),
    "logging_endpoint": ("CLOUDSDK_API_ENDPOINT_OVERRIDES_LOGGING",),
    "monitoring_endpoint": ("CLOUDSDK_API_ENDPOINT_OVERRIDES_MONITORING",),
}
"""The environment variables that count where an option is not set: those of google.cloud, then those of gcloud."""


class BusyError(ConflictError):
    """The cluster is being changed by another operation, whose name Google often tells."""

    def __init__(self, message: str, operation: str | None) -> None:
        super().__init__(message)
        self.operation = operation


class _Login:
    """What the SDK takes for credentials: one token at a time for all threads.

    google-auth itself would also ask another of Google's services, in the background and with each request, in which
    regions the account may be used. A firewall or proxy of a studio knows nothing of that one.
    """

    def __init__(self, credentials: t.Any) -> None:
        self._credentials = credentials
        self._lock = threading.Lock()
        self.universe_domain = credentials.universe_domain

    def token(self, request: t.Any) -> str:
        """Return a token that is valid now. Asks Google only when the last one is about to expire."""
        with self._lock:
            if not self._credentials.valid:
                self._credentials.refresh(request)
            return str(self._credentials.token)

    def before_request(self, request: t.Any, method: str, url: str, headers: dict[str, str]) -> None:
        """Sign a request, as google-auth's sessions want it."""
        self.token(request)
        self._credentials.apply(headers)

    def refresh(self, request: t.Any) -> None:
        """Replace a token that was refused."""
        with self._lock:
            self._credentials.refresh(request)


class GcpSession:
    """Calls one project with one set of credentials."""

    def __init__(self, options: t.Mapping[str, t.Any], sleep: t.Callable[[float], None] = time.sleep) -> None:
        if not HAS_GOOGLE:
            raise MissingLibraryError("google-cloud-container", GOOGLE_IMPORT_ERROR)
        self._sleep = sleep
        credentials, self.who, own_project = _credentials(options)
        self.project = _setting(options, "project") or own_project or ""
        if not self.project:
            raise ValueError(
                f"project is not set and {self.who} names none; set project or the environment variable GCP_PROJECT"
            )
        self._compute_url = (_setting(options, "compute_endpoint") or COMPUTE_URL).rstrip("/")
        self.iam_url = (_setting(options, "iam_endpoint") or IAM_URL).rstrip("/")
        manager = _setting(options, "resource_manager_endpoint") or RESOURCE_MANAGER_URL
        self.resource_manager_url = manager.rstrip("/")
        self._logging_url = (_setting(options, "logging_endpoint") or LOGGING_URL).rstrip("/")
        self.monitoring_url = (_setting(options, "monitoring_endpoint") or MONITORING_URL).rstrip("/")
        self._login = t.cast(t.Any, _Login(credentials))
        self._http = google.auth.transport.requests.AuthorizedSession(self._login)
        host = (_setting(options, "container_endpoint") or CONTAINER_HOST).rstrip("/")
        transport = ClusterManagerRestTransport(host=host, credentials=self._login)
        self._clusters = container_v1.ClusterManagerClient(transport=transport)

    def token(self) -> str:
        """Return a token that is valid now."""
        request = google.auth.transport.requests.Request()
        return str(self._attempt("log in to Google Cloud", lambda: self._login.token(request)))

    def call(self, doing: str, method: str, request: dict[str, t.Any], missing: bool = False) -> t.Any:
        """Make one call of the Container API.

        ``missing`` allows that there is no such thing and returns None then. Raises :class:`BusyError` while another
        operation changes the cluster, ConflictError if what should be made is there already, and ProviderError.
        """
        function = getattr(self._clusters, method)
        try:
            return self._attempt(doing, lambda: function(request=request, retry=None, timeout=_CALL_TIMEOUT))
        except ProviderError as exc:
            cause = exc.__cause__
            if missing and isinstance(cause, api_errors.NotFound):
                return None
            if isinstance(cause, api_errors.GoogleAPICallError) and _is_busy(cause):
                raise BusyError(str(exc), _operation_in(str(cause.message))) from exc
            if isinstance(cause, (api_errors.Conflict, api_errors.PreconditionFailed)):
                raise ConflictError(str(exc)) from exc
            raise

    def rest(
        self, doing: str, method: str, url: str, body: dict[str, t.Any] | None = None, missing: bool = False
    ) -> dict[str, t.Any] | None:
        """Make one call of an API for which there is no SDK here, and return its JSON.

        ``missing`` allows that there is no such thing and returns None then. Raises ConflictError if somebody else was
        quicker, and ProviderError, both caused by the SDK's error.
        """

        def send() -> t.Any:
            answer = self._http.request(method, url, json=body, timeout=_CALL_TIMEOUT)
            if missing and answer.status_code == 404:
                return None
            if answer.status_code >= 400:
                raise api_errors.from_http_response(answer)
            return answer.json()

        try:
            return t.cast("dict[str, t.Any] | None", self._attempt(doing, send))
        except ProviderError as exc:
            if isinstance(exc.__cause__, (api_errors.Conflict, api_errors.PreconditionFailed)):
                raise ConflictError(str(exc)) from exc.__cause__
            raise

    def cluster(self, name: str) -> dict[str, t.Any] | None:
        """Return a cluster with all its node pools as plain data, or None. ``name`` is the full one."""
        found = self.call(f"read the GKE cluster {name}", "get_cluster", {"name": name}, missing=True)
        if found is None:
            return None
        return dict(container_v1.Cluster.to_dict(found, use_integers_for_enums=False))

    def quotas(self, region: str | None) -> list[dict[str, t.Any]] | None:
        """Return the quotas of a region, or those of the project as a whole; None where these may not be read."""
        path = f"projects/{self.project}" + (f"/regions/{region}" if region else "")

        def fetch() -> t.Any:
            answer = self._http.get(f"{self._compute_url}/{path}", timeout=_CALL_TIMEOUT)
            if answer.status_code in (403, 404):
                return None
            if answer.status_code >= 400:
                raise api_errors.from_http_response(answer)
            return answer.json()

        found = self._attempt(f"read the quotas of {region or self.project}", fetch)
        return None if found is None else list(found.get("quotas", []))

    def log_entries(self, doing: str, request: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        """Return one page of log entries, as ``entries:list`` of Cloud Logging answers."""

        def fetch() -> t.Any:
            answer = self._http.post(f"{self._logging_url}/v2/entries:list", json=request, timeout=_CALL_TIMEOUT)
            if answer.status_code >= 400:
                raise api_errors.from_http_response(answer)
            return answer.json()

        return dict(self._attempt(doing, fetch))

    # ---- operations ----------------------------------------------------------------------------------------------

    def wait(self, doing: str, operation: t.Any, location: str) -> None:
        """Wait until an operation has ended. Raises ProviderError with Google's reason if it failed."""
        name = f"projects/{self.project}/locations/{location}/operations/{operation.name}"
        for _pause in self.pauses(doing):
            if operation.status == container_v1.Operation.Status.DONE:
                break
            operation = self.call(f"look at how far it is to {doing}", "get_operation", {"name": name})
        problem = _operation_problem(operation)
        if problem:
            raise ProviderError(f"cannot {doing}: {problem}")

    def wait_for(self, operation: str, location: str) -> None:
        """Wait until somebody else's operation has ended, however it ends."""
        name = f"projects/{self.project}/locations/{location}/operations/{operation}"
        for _pause in self.pauses(f"wait for {operation}"):
            found = self.call(f"look at {operation}", "get_operation", {"name": name}, missing=True)
            if found is None or found.status == container_v1.Operation.Status.DONE:
                return

    def pauses(self, doing: str) -> t.Iterator[float]:
        """Pause longer and longer between the turns of a loop. Raises ProviderError when an hour is over."""
        waited, pause = 0.0, 0.25
        while waited < OPERATION_TIMEOUT:
            yield waited
            self._sleep(pause)
            waited += pause
            pause = min(pause * 1.4, 10.0)
        raise ProviderError(
            f"cannot {doing}: Google was not done after {OPERATION_TIMEOUT:.0f} s; the next run waits on"
        )

    # ---- one call ------------------------------------------------------------------------------------------------

    def _attempt(self, doing: str, action: t.Callable[[], t.Any]) -> t.Any:
        """Carry out one call, again while it fails in passing. Raises ProviderError, caused by the SDK's error."""
        cause: Exception
        pause = 0.5
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return action()
            except google.auth.exceptions.TransportError as exc:
                problem, cause = f"no connection to Google's login ({exc})", exc
            except google.auth.exceptions.GoogleAuthError as exc:
                raise ProviderError(f"cannot {doing}: Google does not accept {self.who}: {_first_line(exc)}") from exc
            except api_errors.GoogleAPICallError as exc:
                problem, cause = _describe(exc), exc
                if exc.code not in _PASSING_STATUSES or _is_busy(exc) or _is_full(exc):
                    raise ProviderError(f"cannot {doing}: {problem}") from exc
            except (json_format.ParseError, requests.JSONDecodeError) as exc:
                raise ProviderError(f"cannot {doing}: {UNREADABLE}") from exc
            except requests.RequestException as exc:
                problem, cause = f"no connection ({exc})", exc
            if attempt == ATTEMPTS:
                raise ProviderError(f"cannot {doing}: {problem}; tried {ATTEMPTS} times") from cause
            self._sleep(pause * random.uniform(0.7, 1.0))
            pause = min(pause * 2, 10.0)
        raise AssertionError("the last attempt returns or raises")


def _setting(options: t.Mapping[str, t.Any], name: str) -> str | None:
    """Return an option, or else what the environment says."""
    found = [options.get(name), *(os.environ.get(variable) for variable in _FALLBACKS[name])]
    return next((str(value) for value in found if value), None)


def _credentials(options: t.Mapping[str, t.Any]) -> tuple[t.Any, str, str | None]:
    """Return credentials, how to call them in an error, and the project that they name.

    An option counts more than any variable; without either, google-auth looks in its usual places.
    """
    for source in (options, _key_of_environment()):
        if source.get("service_account_contents"):
            return _service_account(source["service_account_contents"], "service_account_contents")
        if source.get("service_account_file"):
            path = str(source["service_account_file"])
            return _service_account(_read(path), path)
    try:
        credentials, project = google.auth.default(scopes=SCOPES)
    except google.auth.exceptions.GoogleAuthError as exc:
        raise ProviderError(
            "there are no Google Cloud credentials: set service_account_file or GOOGLE_APPLICATION_CREDENTIALS, or log "
            f"in with `gcloud auth application-default login` ({_first_line(exc)})"
        ) from exc
    email = getattr(credentials, "service_account_email", None)
    named = f" of {email}" if email and "@" in email else ""
    return credentials, f"the application default credentials{named}", project


def _key_of_environment() -> dict[str, str | None]:
    return {name: _setting({}, name) for name in ("service_account_contents", "service_account_file")}


def _service_account(contents: t.Any, source: str) -> tuple[t.Any, str, str | None]:
    """Read a service account's key. Errors never quote it."""
    wrong = f"{source} is not the JSON key of a Google service account"
    try:
        key = contents if isinstance(contents, dict) else json.loads(contents)
    except ValueError:
        raise ValueError(f"{wrong}: it is not JSON") from None
    if not isinstance(key, dict) or key.get("type") != "service_account":
        raise ValueError(f'{wrong}: it does not say "type": "service_account"')
    try:
        credentials = service_account.Credentials.from_service_account_info(key, scopes=SCOPES)
    except (ValueError, google.auth.exceptions.GoogleAuthError):
        raise ValueError(f"{wrong}: its private key or another field cannot be read") from None
    return credentials, f"the service account {key.get('client_email')} ({source})", key.get("project_id")


def _read(path: str) -> str:
    try:
        return Path(path).expanduser().read_text(encoding="utf-8")
    except OSError as exc:
        raise ValueError(f"service_account_file {path} cannot be read: {exc.strerror}") from exc


def _describe(exc: t.Any) -> str:
    """Write an error of the API in one line, with Google's own word for it."""
    status = ""
    with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
        status = exc.response.json()["error"]["status"]
    # The SDK puts the request's method and address in front of what Google said.
    message = re.sub(r"^(?:GET|POST|PUT|DELETE|PATCH) \S+: ", "", str(exc.message))
    return " ".join(f"{exc.code} {status}".split()) + f": {' '.join(message.split())}"


def _operation_problem(operation: t.Any) -> str | None:
    """Return why an operation failed, or None. ``status_message`` is what Google used before ``error``."""
    if operation.error.code:
        code = operation.error.code
        name = _CODES[code] if code < len(_CODES) else f"error {code}"
        return f"{name}: {' '.join(operation.error.message.split())}"
    return " ".join(operation.status_message.split()) or None


def _is_busy(exc: t.Any) -> bool:
    """Say whether a refusal only means that the cluster is being changed right now."""
    if exc.code not in (400, 409, 429):
        return False
    text = str(exc.message)
    return (
        exc.reason == "CLUSTER_ALREADY_HAS_OPERATION"
        or "concurrent operations quota" in text
        or _operation_in(text) is not None
    )


def _is_full(exc: t.Any) -> bool:
    """Say whether a refusal means that there are as many of something as there may be, which does not pass."""
    return "Maximum number of" in str(exc.message)


def _operation_in(text: str) -> str | None:
    found = re.search(r"\boperation-[0-9a-f][0-9a-f-]*[0-9a-f]\b", text)
    return found[0] if found else None


def _first_line(exc: BaseException) -> str:
    """Return what google-auth says, without the raw answer that it appends."""
    text = str(exc.args[0]) if exc.args else str(exc)
    return text.splitlines()[0] if text else type(exc).__name__
