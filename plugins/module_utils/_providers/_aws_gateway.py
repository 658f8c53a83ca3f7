# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""The changes that make and replace the gateway on ECS: a service on Fargate between two listeners."""

from __future__ import annotations

import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils import _gateway
from ansible_collections.budgetguard.techops.plugins.module_utils._plan import Resource, Step
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import ProviderError
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _aws_objects as objects
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _aws_reasons as reasons
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._aws_write import (
    DRAINING_SECONDS,
    Writer,
)

ROLLOUT_SECONDS = 600
"""Until a new copy has the place of the old one. It takes about two minutes; requests that are under way go on."""


class GatewayWriter(Writer):
    """Carries out steps on one target, those of its gateway among them."""

    def _create_gateway_target_group(self, step: Step) -> None:
        self._make_target_group(
            step,
            objects.shared_tags(self.names),
            drain_seconds=_gateway.REQUEST_SECONDS,
            Port=_gateway.PORT,
            TargetType="ip",
            **objects.gateway_target_group(),
        )

    _update_gateway_target_group = Writer._update_target_group
    _delete_gateway_target_group = Writer._delete_target_group

    def _create_gateway_task_definition(self, step: Step) -> None:
        front = self.settings.gateway
        if front is None:
            raise ProviderError("there is no gateway to make")
        body = objects.gateway_task_definition(
            self.names,
            front,
            self.settings.gateway_image,
            self._fact("load_balancer", self.names.load_balancer, "dns"),
            self._fact("iam_role", self.names.execution_role, "arn"),
        )
        self._register_task_definition(step, body, objects.shared_tags(self.names))

    _update_gateway_task_definition = _create_gateway_task_definition

    def _delete_gateway_task_definition(self, step: Step) -> None:
        self._deregister_task_definitions(step, self.names.gateway_family(""))

    def _create_gateway_service(self, step: Step) -> None:
        subnets = self.network.one_subnet_per_zone()
        # As the GPU machines: a public address where the subnets give one, else the way out is a NAT gateway.
        public = all(item.get("MapPublicIpOnLaunch") for item in self.network.subnets() if item["SubnetId"] in subnets)
        spec = t.cast(Resource, step.want).spec
        answer = self.session.call_until(
            DRAINING_SECONDS,
            "ecs",
            "create_service",
            "create the service of the gateway",
            passing=["is still Draining"],
            conflicts=["not idempotent", "TargetGroupNotFound", "ClusterNotFoundException"],
            cluster=self.names.cluster,
            serviceName=step.name,
            taskDefinition=self._fact("gateway_task_definition", step.name, "arn"),
            desiredCount=spec["replicas"],
            launchType="FARGATE",
            networkConfiguration={
                "awsvpcConfiguration": {
                    "subnets": subnets,
                    "securityGroups": [self._fact("security_group", self.names.gateway_group, "id")],
                    "assignPublicIp": "ENABLED" if public else "DISABLED",
                }
            },
            loadBalancers=[
                {
                    "targetGroupArn": self._fact("gateway_target_group", self.names.gateway_target_group, "arn"),
                    "containerName": objects.GATEWAY,
                    "containerPort": _gateway.PORT,
                }
            ],
            tags=objects.lower_tags({**spec["tags"], **self._balancer_mark()}),
            **objects.gateway_service(),
        )
        self.facts[("gateway_service", step.name)] = {"arn": answer["service"]["serviceArn"]}

    def _balancer_mark(self) -> dict[str, str]:
        return {objects.BALANCER_TAG: self._fact("load_balancer", self.names.load_balancer, "dns")}

    def _update_gateway_service(self, step: Step) -> None:
        """Replace the copies and wait for it, so that a revoked token is refused when the run has ended."""
        want = t.cast(Resource, step.want).spec
        request: dict[str, t.Any] = {
            field: want[field] for field in objects.gateway_service() if step.changes_field(field)
        }
        if step.changes_field("replicas"):
            request["desiredCount"] = want["replicas"]
        if step.changes_field("family") or step.changes_field("balancer"):
            request["taskDefinition"] = self._fact("gateway_task_definition", step.name, "arn")
        doing = "update the service of the gateway"
        if request:
            self.session.call(
                "ecs",
                "update_service",
                doing,
                conflicts=["ServiceNotFoundException", "ServiceNotActiveException"],
                cluster=self.names.cluster,
                service=step.name,
                **request,
            )
        if "taskDefinition" in request or step.changes_field("replaced"):
            wanted = self._fact("gateway_task_definition", step.name, "arn")
            reasons.wait_until(lambda: self._has_taken_over(wanted), ROLLOUT_SECONDS, "the gateway's new copies")
        if step.changes_field("tags") or step.changes_field("balancer"):
            self.session.call(
                "ecs",
                "tag_resource",
                doing,
                resourceArn=self._fact("gateway_service", step.name, "arn"),
                tags=objects.lower_tags({**want["tags"], **self._balancer_mark()}),
            )

    def _has_taken_over(self, task_definition: str) -> bool:
        """Say whether requests go to copies of this task definition alone. Raises ProviderError if it was given up."""
        services = self.reader.services([objects.GATEWAY])
        if not services:
            raise ProviderError("the gateway's service is gone; somebody else removed it meanwhile")
        newest, *older = services[0]["deployments"]
        if newest["rolloutState"] == "FAILED" or newest["taskDefinition"] != task_definition:
            why = next((event["message"] for event in services[0].get("events", [])), "no reason given")
            raise ProviderError(f"the gateway's new copies do not start, so the old ones stay: {why}")
        return newest["runningCount"] >= newest["desiredCount"] and not any(item["desiredCount"] for item in older)

    def _delete_gateway_service(self, step: Step) -> None:
        """Delete the service and wait until its tasks are gone, without letting requests end."""
        doing = "delete the service of the gateway"
        gone = ["ServiceNotFoundException", "ServiceNotActiveException", "ClusterNotFoundException"]
        if ("gateway_target_group", self.names.gateway_target_group) in self.facts:
            self._drain_for("gateway_target_group", self.names.gateway_target_group, 0)
        self.session.call(
            "ecs", "delete_service", doing, gone, cluster=self.names.cluster, service=step.name, force=True
        )
        reasons.wait_until(
            lambda: not self.reader.services([step.name]), DRAINING_SECONDS, "the service of the gateway to drain"
        )
