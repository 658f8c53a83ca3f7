# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""NVIDIA Cloud Functions: functions, versions, deployments, their life by the clock, and the organisation's images.

Rules and texts of refusals are those of NVIDIA/nvcf, FunctionDeploymentService and FunctionManagementService.
"""

from __future__ import annotations

import datetime
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from werkzeug.wrappers import Request, Response

from tests.sandbox.calls import CallLog, Interferences
from tests.sandbox.ecs_runtime import Outcome
from tests.sandbox.nvidia import bodies
from tests.sandbox.nvidia.account import CLOUD_FUNCTIONS, PRIVATE_REGISTRY, NvidiaAccount
from tests.sandbox.rest import ApiError, PathValues, RestService, Route, json_response
from tests.sandbox.state import DEFAULTS, clock

Json = dict[str, Any]
Handler = Callable[[Request, PathValues], Response]

#: Kinds of instance by GPU. The first of each is its default.
INSTANCE_TYPES = {
    "L40": ("DGX-CLOUD.GPU.L40_1x", "DGX-CLOUD.GPU.L40_2x"),
    "L40S": ("NCP.GPU.L40S_1x", "NCP.GPU.L40S_4x"),
    "H100": ("NCP.GPU.H100_1x", "NCP.GPU.H100_2x", "NCP.GPU.H100_8x"),
    "A100_80GB": ("OCI.GPU.A100_80GB_1x", "OCI.GPU.A100_80GB_2x"),
}
#: Who may be reached only from an organisation's own registry.
STOCK = "nvcr.io/nim/"
#: What NVIDIA says of a container that cannot be had, or does not live.
FAILURES = {
    "pull_refused": "Failed to pull the container image: unauthorized",
    "unhealthy": "The container did not become healthy in time",
    "exits": "The container exited with code 1",
    "does_not_fit": "The container was killed because it ran out of memory",
    "quota": "The account's quota of instances is used up",
}


@dataclass
class Deployment:
    """Where a version runs, from its creation on. `leaves_at` is set once it is being taken down gracefully."""

    specification: Json
    began: float
    deployment_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    specification_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    leaves_at: float | None = None


@dataclass
class Version:
    """A version of a function."""

    function_id: str
    body: Json
    secrets: Json
    created_at: str
    version_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    deployment: Deployment | None = None

    @property
    def name(self) -> str:
        """The name of the function."""
        return str(self.body["name"])


class CloudFunctions(RestService):
    """The management API, with and without the organisation in the path."""

    def __init__(self, account: NvidiaAccount, calls: CallLog, interferences: Interferences) -> None:
        self._account = account
        self._versions: dict[str, Version] = {}
        self._outcomes: dict[str, Outcome] = {}
        #: Images in the organisation's registry: repository -> tags.
        self.images: dict[str, set[str]] = {}
        super().__init__("nvcf", calls, interferences)

    def routes(self) -> list[Route]:
        """Return the operations."""
        version = "functions/{function}/versions/{version}"
        operations: list[tuple[str, str, str, Handler]] = [
            ("POST", "functions", "CreateFunction", self._create_function),
            ("GET", "functions", "ListFunctions", self._list_functions),
            ("POST", "functions/{function}/versions", "CreateFunctionVersion", self._create_version),
            ("GET", version, "GetFunctionVersion", self._get_version),
            ("DELETE", version, "DeleteFunctionVersion", self._delete_version),
            ("POST", f"deployments/{version}", "CreateDeployment", self._deploy),
            ("GET", f"deployments/{version}", "GetDeployment", self._get_deployment),
            ("DELETE", f"deployments/{version}", "DeleteDeployment", self._undeploy),
            ("PATCH", "deployments/{deployment}/gpu-specifications/{spec}", "UpdateGpuSpecification", self._scale),
            ("PUT", f"secrets/{version}", "UpdateSecrets", self._put_secrets),
            ("PUT", f"metadata/{version}", "UpdateMetadata", self._put_metadata),
            ("GET", "clusterGroups", "ListClusterGroups", self._cluster_groups),
        ]
        prefixes = ("/v2/nvcf", "/v2/orgs/{org}/nvcf", "/v2/orgs/{org}/teams/{team}/nvcf")
        found = [
            Route(verb, f"{prefix}/{path}", action, handler)
            for prefix in prefixes
            for verb, path, action, handler in operations
        ]
        repositories = ("/v2/org/{org}/repos/{repo}", "/v2/org/{org}/team/{team}/repos/{repo}")
        return [*found, *(Route("GET", path, "GetRepository", self._get_repository) for path in repositories)]

    def check(self, request: Request, values: PathValues) -> None:
        """Every call needs a key with the right product, and the organisation to be its own."""
        is_registry = request.path.startswith("/v2/org/")
        self._account.check(request, PRIVATE_REGISTRY if is_registry else CLOUD_FUNCTIONS)
        if values.get("org", self._account.org) != self._account.org:
            raise ApiError(403, "Forbidden", f"The caller is not a member of the organisation {values['org']}.")

    def error_response(self, error: ApiError) -> Response:
        """Return an error in the form of RFC 7807."""
        body = {"type": "about:blank", "title": error.code, "status": error.status, "detail": error.message}
        return json_response(body, error.status, {"Content-Type": "application/problem+json"})

    # -- what tests and the rest of the sandbox ask for --

    def set_outcome(self, name: str, outcome: Outcome) -> None:
        """Say what becomes of the function of a name, from now on."""
        self._outcomes[name] = outcome

    def add_image(self, repository: str, *tags: str) -> None:
        """Put an image into the organisation's registry, as `docker push` does. `repository` may have a team."""
        self.images.setdefault(repository, set()).update(tags)

    def resources(self) -> dict[str, list[str]]:
        """Return the names of what exists."""
        self._advance()
        found = self._versions.values()
        return {
            "functions": sorted({item.name for item in found}),
            "versions": sorted(item.name for item in found),
            "deployments": sorted(item.name for item in found if item.deployment),
        }

    def running_image(self, function_id: str) -> str | None:
        """Return the image behind a function that can be called now."""
        self._advance()
        for version in self._versions.values():
            if version.function_id == function_id and self._status(version) == "ACTIVE":
                return str(version.body["containerImage"])
        return None

    def is_function(self, function_id: str) -> bool:
        """Whether there is such a function, called or not."""
        return any(version.function_id == function_id for version in self._versions.values())

    def secrets_of(self, name: str) -> list[Json]:
        """Return the secrets of each version of a function, for tests: no call of the API shows them."""
        return [version.secrets for version in self._versions.values() if version.name == name]

    def reset(self) -> None:
        """Forget all functions, outcomes and images."""
        self._versions.clear()
        self._outcomes.clear()
        self.images.clear()

    # -- functions --

    def _create_function(self, request: Request, _values: PathValues) -> Response:
        return self._new_version(str(uuid.uuid4()), request)

    def _create_version(self, request: Request, values: PathValues) -> Response:
        others = [item for item in self._versions.values() if item.function_id == values["function"]]
        if not others:
            raise ApiError(404, "Not Found", f"Function id '{values['function']}': Not found")
        return self._new_version(values["function"], request)

    def _new_version(self, function_id: str, request: Request) -> Response:
        body = bodies.function(_body(request))
        if body["containerImage"].startswith(STOCK):
            raise bodies.bad(f"Container image {body['containerImage']} is not in a registry of the account.")
        if body["containerImage"].partition("/")[2].count(":") > 1:
            # As NVIDIA's client of the registry does: a tag or a digest, not both.
            raise bodies.bad(f"Container image {body['containerImage']} is malformed.")
        secrets = {entry["name"]: entry["value"] for entry in body.pop("secrets", [])}
        now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z")
        version = Version(function_id, body, secrets, now)
        self._versions[version.version_id] = version
        return json_response({"function": self._shown(version)})

    def _list_functions(self, request: Request, _values: PathValues) -> Response:
        if request.args.to_dict() not in ({}, {"visibility": "private"}):
            raise ApiError(
                400, "Bad Request", f"The sandbox lists private functions only, not {request.args}", refused=True
            )
        self._advance()
        return json_response({"functions": [self._shown(version) for version in self._versions.values()]})

    def _get_version(self, _request: Request, values: PathValues) -> Response:
        return json_response({"function": self._shown(self._find(values))})

    def _delete_version(self, _request: Request, values: PathValues) -> Response:
        del self._versions[self._find(values).version_id]
        return Response(status=204)

    def _put_secrets(self, request: Request, values: PathValues) -> Response:
        version = self._find(values)
        if not version.secrets:
            raise bodies.bad("Secrets can only be updated where they were specified upon creation.")
        version.secrets = bodies.secrets(_body(request))
        return json_response({"function": self._shown(version)})

    def _put_metadata(self, request: Request, values: PathValues) -> Response:
        version = self._find(values)
        version.body.update(bodies.metadata(_body(request)))
        return json_response({"function": self._shown(version)})

    # -- deployments --

    def _deploy(self, request: Request, values: PathValues) -> Response:
        version = self._find(values)
        where = f"Function id '{version.function_id}', version '{version.version_id}'"
        status = self._status(version)
        if version.deployment is not None and status == "INACTIVE":
            raise bodies.bad(
                f"{where}: Function deployment found for INACTIVE function. "
                "Wait for current deployment to be gracefully completed and removed."
            )
        if status == "ERROR":
            raise bodies.bad(f"{where}: Function already has a deployment with errors")
        if version.deployment is not None:
            raise bodies.bad(f"{where}: Status {status}, use PATCH endpoint to update gpu-specification")
        specification = bodies.deployment(_body(request))
        if specification["instanceType"] not in INSTANCE_TYPES.get(specification["gpu"], ()):
            raise bodies.bad(f"Instance type {specification['instanceType']} not found for gpu {specification['gpu']}")
        version.deployment = Deployment(specification, clock())
        return json_response({"deployment": self._shown_deployment(version)})

    def _get_deployment(self, _request: Request, values: PathValues) -> Response:
        version = self._find(values)
        if version.deployment is None:
            raise ApiError(404, "Not Found", f"Function version '{version.version_id}': No deployment found")
        return json_response({"deployment": self._shown_deployment(version)})

    def _undeploy(self, request: Request, values: PathValues) -> Response:
        version = self._find(values)
        if version.deployment is None:
            raise ApiError(404, "Not Found", f"Function version '{version.version_id}': No deployment found")
        if request.args.get("graceful") == "true":
            version.deployment.leaves_at = clock() + DEFAULTS.drain_seconds
        else:
            version.deployment = None
        return json_response({"function": self._shown(version)})

    def _scale(self, request: Request, values: PathValues) -> Response:
        self._advance()
        for version in self._versions.values():
            deployment = version.deployment
            if deployment is None or deployment.leaves_at is not None:
                continue
            if (deployment.deployment_id, deployment.specification_id) == (values["deployment"], values["spec"]):
                was_off = deployment.specification["minInstances"] == 0
                deployment.specification = bodies.scale(_body(request), deployment.specification)
                if was_off:
                    deployment.began = clock()
                return json_response({"gpuSpecification": self._shown_specification(deployment)})
        raise ApiError(404, "Not Found", f"Deployment id '{values['deployment']}': Not found")

    def _cluster_groups(self, _request: Request, _values: PathValues) -> Response:
        gpus = [
            {
                "name": gpu,
                "instanceTypes": [{"name": name, "default": number == 0} for number, name in enumerate(names)],
            }
            for gpu, names in INSTANCE_TYPES.items()
        ]
        group = {"id": "sandbox", "name": "sandbox", "gpus": gpus, "clusters": [{"name": "sandbox-1"}]}
        return json_response({"clusterGroups": [group]})

    # -- images --

    def _get_repository(self, _request: Request, values: PathValues) -> Response:
        name = "/".join(filter(None, [values.get("team"), values["repo"]]))
        if name not in self.images:
            raise ApiError(404, "Not Found", f"Repository {name} not found")
        return json_response({"name": name, "tags": sorted(self.images[name])})

    # -- by the clock --

    def _find(self, values: PathValues) -> Version:
        self._advance()
        version = self._versions.get(values["version"])
        if version is None or version.function_id != values["function"]:
            message = f"Function id '{values['function']}', version '{values['version']}': Not found in account"
            raise ApiError(404, "Not Found", message)
        return version

    def _advance(self) -> None:
        """Take away deployments whose last request has been answered."""
        for version in self._versions.values():
            deployment = version.deployment
            if deployment is not None and deployment.leaves_at is not None and deployment.leaves_at <= clock():
                version.deployment = None

    def _status(self, version: Version) -> str:
        deployment = version.deployment
        if deployment is None or deployment.leaves_at is not None:
            return "INACTIVE"
        outcome = self._outcomes.get(version.name, Outcome())
        if deployment.specification["minInstances"] == 0:
            return "ACTIVE"
        if outcome.name in FAILURES:
            return "ERROR"
        seconds = DEFAULTS.startup_seconds if outcome.delay_seconds is None else outcome.delay_seconds
        is_up = outcome.name == "ready" and clock() >= deployment.began + seconds
        return "ACTIVE" if is_up else "DEPLOYING"

    def _shown(self, version: Version) -> Json:
        status = self._status(version)
        up = version.deployment.specification["minInstances"] if version.deployment and status == "ACTIVE" else 0
        return {
            **version.body,
            "id": version.function_id,
            "versionId": version.version_id,
            "ncaId": self._account.account_id,
            "status": status,
            "createdAt": version.created_at,
            "healthUri": version.body.get("health", {}).get("uri"),
            "secrets": sorted(version.secrets),
            "activeInstances": [{"instanceId": str(number), "instanceStatus": "ACTIVE"} for number in range(up)],
        }

    def _shown_deployment(self, version: Version) -> Json:
        deployment = version.deployment
        if deployment is None:
            raise LookupError(f"{version.name} has no deployment")
        status = self._status(version)
        outcome = self._outcomes.get(version.name, Outcome())
        shown: Json = {
            "functionId": version.function_id,
            "functionVersionId": version.version_id,
            "deploymentId": deployment.deployment_id,
            "functionName": version.name,
            "ncaId": self._account.account_id,
            "functionStatus": status,
            "deploymentSpecifications": [self._shown_specification(deployment)],
            "createdAt": version.created_at,
        }
        if status == "ERROR":
            error = " ".join([FAILURES[outcome.name], *(outcome.log_lines or [])])
            shown["healthInfo"] = [{"gpu": deployment.specification["gpu"], "error": error}]
        return shown

    def _shown_specification(self, deployment: Deployment) -> Json:
        return {"gpuSpecificationId": deployment.specification_id, **deployment.specification}


def _body(request: Request) -> Any:
    try:
        return json.loads(request.get_data(as_text=True))
    except ValueError as error:
        raise bodies.bad(f"The body is no JSON: {error}") from error
