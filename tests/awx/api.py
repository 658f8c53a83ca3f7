# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A strict stand-in for the part of AWX's API that makes objects, on loopback.

It knows the fields of each kind of object and what they refer to, and refuses everything else: a query that it does not
know, a playbook that is not in the project, a prompt that a job template does not ask for, two credentials of one type.
"""

from __future__ import annotations

import base64
import contextlib
import copy
import json
import re
import threading
import typing as t
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jinja2
import jinja2.meta

from tests.awx import fields

Values = dict[str, t.Any]

TOKEN = "awx-token-CaNaRy81Zr0QmTvX3"
PREFIX = "/api/v2/"
ENCRYPTED = "$encrypted$"
_IDENTIFIER = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_RULE = re.compile(
    r"FREQ=(MINUTELY|HOURLY|DAILY|WEEKLY|MONTHLY|YEARLY)|INTERVAL=[1-9]\d*|BYDAY=((MO|TU|WE|TH|FR|SA|SU),?)+|"
    r"COUNT=[1-9]\d{0,2}"
)
_PROMPTS = {"limit": "limit", "job_slice_count": "job_slice_count", "inventory": "inventory", "job_type": "job_type"}


class RefusedError(Exception):
    """The request is wrong."""

    def __init__(self, status: int, said: t.Any) -> None:
        super().__init__(f"{status} {said}")
        self.status = status
        self.said = said


class Awx:
    """All objects, and what can be done with them."""

    def __init__(self, playbooks: t.Collection[str]) -> None:
        self.playbooks = set(playbooks)
        self.objects: dict[str, dict[int, Values]] = {kind: {} for kind in fields.KINDS}
        self.links: dict[tuple[str, int, str], list[int]] = {}
        self.surveys: dict[int, Values] = {}
        self.writes: list[tuple[str, str]] = []
        self.tokens = 0
        self._last = 0
        for name, (kind, inputs, required) in fields.BUILT_IN.items():
            about = [{"id": one, "label": one, "type": "string", "secret": secret} for one, secret in inputs.items()]
            self._keep(
                "credential_types",
                {"name": name, "kind": kind, "managed": True, "inputs": {"fields": about, "required": list(required)}},
            )
        self._keep(
            "credentials",
            {
                "name": "Ansible Galaxy",
                "credential_type": self.find("credential_types", "Ansible Galaxy/Automation Hub API Token")["id"],
                "inputs": {"url": "https://galaxy.ansible.com/"},
            },
        )

    # --- for tests ---

    def find(self, kind: str, name: str) -> Values:
        """Return the one object of this name."""
        (found,) = (one for one in self.objects[kind].values() if one.get("name", one.get("identifier")) == name)
        return found

    def names(self, kind: str) -> list[str]:
        """Return the names of all objects of a kind that AWX does not have by itself."""
        objects = self.objects[kind].values()
        return sorted(str(one.get("name", one.get("identifier"))) for one in objects if not one.get("managed"))

    def linked(self, kind: str, name: str, link: str) -> list[Values]:
        """Return what is linked to an object."""
        target = fields.ASSOCIATIONS[kind][link]
        return [self.objects[target][one] for one in self.links.get((kind, self.find(kind, name)["id"], link), [])]

    # --- requests ---

    def answer(self, method: str, path: str, query: dict[str, str], body: Values) -> tuple[int, t.Any]:
        """Answer one request."""
        parts = path.removeprefix(PREFIX).strip("/").split("/")
        if method != "GET" and parts[0] != "tokens":
            self.writes.append((method, path))
        if parts == ["tokens"] and method == "POST":
            self.tokens += 1
            return 201, {"id": self.tokens, "token": TOKEN}
        if parts[0] == "tokens" and method == "DELETE":
            return 204, None
        if parts[0] == "project_updates" and method == "GET":
            return 200, {"id": int(parts[1]), "status": "successful"}
        if len(parts) == 1:
            return self._collection(method, parts[0], query, body)
        kind, number = parts[0], int(parts[1])
        if kind not in self.objects or number not in self.objects[kind]:
            raise RefusedError(404, {"detail": "Not found."})
        if len(parts) == 2:
            return self._object(method, kind, number, body)
        return self._part(method, kind, number, parts[2], body)

    def _collection(self, method: str, kind: str, query: dict[str, str], body: Values) -> tuple[int, t.Any]:
        if kind == "unified_job_templates" and method == "GET":
            found = [self.shown(one, value) for one in fields.UNIFIED for value in self.objects[one].values()]
            return 200, _page(found, query)
        if kind not in self.objects or kind == "workflow_approval_templates":
            raise RefusedError(404, {"detail": "Not found."})
        if method == "GET":
            return 200, _page([self.shown(kind, value) for value in self.objects[kind].values()], query)
        if method != "POST":
            raise RefusedError(405, {"detail": f'Method "{method}" not allowed.'})
        self._check(kind, body, new=True)
        return 201, self.shown(kind, self._keep(kind, body))

    def _object(self, method: str, kind: str, number: int, body: Values) -> tuple[int, t.Any]:
        value = self.objects[kind][number]
        if method == "PATCH":
            if value.get("managed"):
                raise RefusedError(403, {"detail": "It is AWX's own."})
            self._check(kind, {**value, **body}, new=False, given=body)
            value.update(self._stored(kind, body, value))
        elif method == "DELETE":
            del self.objects[kind][number]
            if kind in fields.UNIFIED:
                schedules = self.objects["schedules"]
                self.objects["schedules"] = {
                    key: one for key, one in schedules.items() if one["unified_job_template"] != number
                }
            self.links = {
                key: [one for one in linked if one != number or fields.ASSOCIATIONS[key[0]][key[2]] != kind]
                for key, linked in self.links.items()
                if key[:2] != (kind, number)
            }
            return 204, None
        elif method != "GET":
            raise RefusedError(405, {"detail": f'Method "{method}" not allowed.'})
        return 200, self.shown(kind, value)

    def _part(self, method: str, kind: str, number: int, part: str, body: Values) -> tuple[int, t.Any]:
        if part == "survey_spec" and kind in ("job_templates", "workflow_job_templates"):
            if method == "POST":
                _check_survey(body)
                self.surveys[number] = body
            elif method == "DELETE":
                self.surveys.pop(number, None)
            return 200, self.surveys.get(number, {})
        if part == "create_approval_template" and kind == "workflow_job_template_nodes" and method == "POST":
            self._check("workflow_approval_templates", body, new=True)
            made = self._keep("workflow_approval_templates", body)
            self.objects[kind][number]["unified_job_template"] = made["id"]
            return 201, self.shown("workflow_approval_templates", made)
        if part not in fields.ASSOCIATIONS.get(kind, {}):
            raise RefusedError(404, {"detail": "Not found."})
        linked = self.links.setdefault((kind, number, part), [])
        target = fields.ASSOCIATIONS[kind][part]
        if method == "GET":
            return 200, _page([self.shown(target, self.objects[target][one]) for one in linked], {})
        self._link(kind, linked, target, body, part)
        return 204, None

    def _link(self, kind: str, linked: list[int], target: str, body: Values, part: str) -> None:
        if set(body) - {"id", "disassociate"} or body.get("id") not in self.objects[target]:
            raise RefusedError(400, {"detail": f"{body} cannot be linked as {part}"})
        if body.get("disassociate"):
            linked.remove(body["id"])
            return
        if kind == "job_templates" and part == "credentials":
            types = [self.objects[target][one]["credential_type"] for one in (*linked, body["id"])]
            vault = self.find("credential_types", "Vault")["id"]
            if len([one for one in types if one != vault]) != len({one for one in types if one != vault}):
                raise RefusedError(400, {"detail": "Cannot assign multiple credentials of one type."})
        linked.append(body["id"])

    # --- what is kept, and what is shown of it ---

    def _keep(self, kind: str, body: Values) -> Values:
        self._last += 1
        value: Values = {name: copy.deepcopy(field.default) for name, field in fields.KINDS[kind].items()}
        value["id"] = self._last
        value.update(self._stored(kind, body, value))
        self.objects[kind][self._last] = value
        return value

    def _stored(self, kind: str, body: Values, before: Values) -> Values:
        """Return the fields as they are kept: what was hidden by AWX and comes back is what was there before."""
        if kind != "credentials" or "inputs" not in body:
            return copy.deepcopy(body)
        kept = before.get("inputs", {})
        inputs = {name: kept[name] if value == ENCRYPTED else value for name, value in body["inputs"].items()}
        return {**copy.deepcopy(body), "inputs": inputs}

    def shown(self, kind: str, value: Values) -> Values:
        """Return an object as AWX shows it: without secrets, with addresses."""
        url = f"{PREFIX}{kind}/{value['id']}/"
        told = {**copy.deepcopy(value), "url": url, "related": {}, "summary_fields": {}}
        told["type"] = "inventory" if kind == "inventories" else kind.removesuffix("s")
        if kind == "credentials":
            secret = self._secret_inputs(value)
            told["inputs"] = {name: ENCRYPTED if name in secret else one for name, one in value["inputs"].items()}
        elif kind == "notification_templates":
            for name in fields.SECRETS_OF_NOTIFICATIONS & set(told["notification_configuration"]):
                told["notification_configuration"][name] = ENCRYPTED
        elif kind in ("job_templates", "workflow_job_templates"):
            told["related"]["survey_spec"] = f"{url}survey_spec/"
        elif kind == "projects":
            told["scm_revision"] = "0" * 40
            told["summary_fields"]["current_update"] = {"id": value["id"]}
        elif kind == "workflow_job_template_nodes" and value["unified_job_template"]:
            related = self._kind_of(value["unified_job_template"])
            told["related"]["unified_job_template"] = f"{PREFIX}{related}/{value['unified_job_template']}/"
        return told

    def _secret_inputs(self, credential: Values) -> set[str]:
        about = self.objects["credential_types"][credential["credential_type"]]["inputs"]["fields"]
        return {one["id"] for one in about if one.get("secret")}

    def _kind_of(self, number: int) -> str:
        return next(kind for kind in fields.UNIFIED if number in self.objects[kind])

    # --- what is refused ---

    def _check(self, kind: str, body: Values, *, new: bool, given: Values | None = None) -> None:
        known = fields.KINDS[kind]
        wrong: Values = {}
        for name, value in (body if given is None else given).items():
            if name not in known:
                wrong[name] = ["There is no such field."]
            elif value is None:
                if known[name].default is not None:
                    wrong[name] = ["This field may not be null."]
            elif not known[name].check(value):
                wrong[name] = [f"{value!r} is not a valid value."]
            elif known[name].refers_to and not self._is_there(known[name].refers_to, value):
                wrong[name] = [f'Invalid pk "{value}" - object does not exist.']
        wrong.update(
            {name: ["This field is required."] for name, one in known.items() if one.required and not body.get(name)}
        )
        if wrong:
            raise RefusedError(400, wrong)
        meaning = getattr(self, f"_check_{kind}", None)
        if meaning:
            meaning(body)
        if new and kind in ("workflow_job_template_nodes", "schedules"):
            self._check_unique(kind, body)

    def _is_there(self, kind: str, number: int) -> bool:
        if kind == "unified_job_templates":
            return any(number in self.objects[one] for one in fields.UNIFIED)
        return number in self.objects[kind]

    def _check_unique(self, kind: str, body: Values) -> None:
        keys = ("identifier", "workflow_job_template") if kind == "workflow_job_template_nodes" else ("name",)
        if any(all(one[key] == body[key] for key in keys) for one in self.objects[kind].values()):
            raise RefusedError(400, {"__all__": [f"{kind} with this {' and '.join(keys)} already exists."]})

    def _check_credential_types(self, body: Values) -> None:
        known = [one["id"] for one in body["inputs"]["fields"]]
        for one in body["inputs"]["fields"]:
            allowed = {"id", "label", "type", "secret", "multiline", "format", "choices", "help_text", "default"}
            if set(one) - allowed or not {"id", "label"} <= set(one) or not _IDENTIFIER.fullmatch(one["id"]):
                raise RefusedError(400, {"inputs": [f"{one} is no field"]})
        if set(body["inputs"]) - {"fields", "required"} or set(body["inputs"].get("required", [])) - set(known):
            raise RefusedError(400, {"inputs": ["there is no such field"]})
        if set(body["injectors"]) - {"env", "extra_vars", "file"}:
            raise RefusedError(400, {"injectors": ["there is no such injector"]})
        for name, template in body["injectors"].get("extra_vars", {}).items():
            used = jinja2.meta.find_undeclared_variables(jinja2.Environment(autoescape=True).parse(template))
            if not _IDENTIFIER.fullmatch(name) or not used or used - set(known):
                raise RefusedError(400, {"injectors": [f"{name}: {template} uses what is no field"]})

    def _check_credentials(self, body: Values) -> None:
        about = self.objects["credential_types"][body["credential_type"]]["inputs"]
        known = {one["id"] for one in about["fields"]}
        given = body.get("inputs", {})
        if set(given) - known or not all(given.get(name) for name in about.get("required", [])):
            raise RefusedError(
                400, {"inputs": [f"{sorted(given)} given, {sorted(known)} known, {about.get('required')} needed"]}
            )
        if not all(isinstance(value, (str, bool)) for value in given.values()):
            raise RefusedError(400, {"inputs": ["a value is no text"]})

    def _check_job_templates(self, body: Values) -> None:
        project = self.objects["projects"][body["project"]]
        if body.get("organization") != project["organization"]:
            raise RefusedError(400, {"organization": ["It is the project's."]})
        if body["playbook"] not in self.playbooks:
            raise RefusedError(400, {"playbook": ["Playbook not found for project."]})
        if body.get("extra_vars"):
            json.loads(body["extra_vars"])

    def _check_inventory_sources(self, body: Values) -> None:
        if body["source"] == "scm" and not (body.get("source_project") and body.get("source_path")):
            raise RefusedError(400, {"source_project": ["Project required for scm type sources."]})

    def _check_workflow_job_template_nodes(self, body: Values) -> None:
        self._check_prompts(body)

    def _check_schedules(self, body: Values) -> None:
        said = body["rrule"]
        if not re.match(r"DTSTART;TZID=\S+:\d{8}T\d{6} RRULE:", said) or "INTERVAL=" not in said or "SECONDLY" in said:
            raise RefusedError(400, {"rrule": [f"{said!r} is no rule for AWX."]})
        for part in said.partition("RRULE:")[2].split(";"):
            if not _RULE.fullmatch(part):
                raise RefusedError(400, {"rrule": [f"{part!r} is no part of a rule."]})
        self._check_prompts(body)

    def _check_prompts(self, body: Values) -> None:
        """Refuse what the template does not ask for."""
        number = body.get("unified_job_template")
        template = self.objects["job_templates"].get(number) if number else None
        if template is None:
            return
        for name, asked in _PROMPTS.items():
            if body.get(name) and not template[f"ask_{asked}_on_launch"]:
                raise RefusedError(400, {name: ["Field is not configured to prompt on launch."]})
        questions = {one["variable"] for one in self.surveys.get(t.cast(int, number), {}).get("spec", [])}
        unknown = set(body.get("extra_data") or {}) - questions
        if unknown and not template["ask_variables_on_launch"]:
            raise RefusedError(400, {"extra_data": [f"Variables {sorted(unknown)} are not allowed on launch."]})


def _check_survey(body: Values) -> None:
    if set(body) != {"name", "description", "spec"} or not body["spec"]:
        raise RefusedError(400, {"error": "a survey has name, description and spec"})
    allowed = {
        "text": set(),
        "textarea": set(),
        "password": set(),
        "integer": {"min", "max"},
        "multiplechoice": {"choices"},
        "multiselect": {"choices"},
    }
    variables = [one.get("variable") for one in body["spec"]]
    if len(set(variables)) != len(variables):
        raise RefusedError(400, {"error": f"'variable' is duplicated: {variables}"})
    for one in body["spec"]:
        more: set[str] = allowed.get(one.get("type"), set())
        names = {"question_name", "question_description", "variable", "type", "required", "default"} | more
        if (
            one.get("type") not in allowed
            or set(one) - names
            or not {"question_name", "variable", "required"} <= set(one)
        ):
            raise RefusedError(400, {"error": f"{one} is no question"})
        if "choices" in more and (
            not one.get("choices") or one.get("default", one["choices"][0]) not in one["choices"]
        ):
            raise RefusedError(400, {"error": f"{one}: the default is none of the choices"})


def _page(found: list[Values], query: dict[str, str]) -> Values:
    either = {name.removeprefix("or__"): value for name, value in query.items() if name.startswith("or__")}
    for name, value in query.items():
        if name.startswith("or__"):
            continue
        if found and not any(name in one for one in found):
            raise RefusedError(400, {"detail": f"There is no field {name!r} to look for."})
        found = [one for one in found if str(one.get(name)) == value]
    if either:
        found = [one for one in found if any(str(one.get(name)) == value for name, value in either.items())]
    return {"count": len(found), "next": None, "previous": None, "results": found}


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, awx: Awx) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.awx = awx
        self.lock = threading.Lock()

    def answer(self, method: str, address: str, headers: t.Mapping[str, str], sent: bytes) -> tuple[int, t.Any]:
        """Answer one request, if it may be asked."""
        basic = base64.b64encode(f"admin:{TOKEN}".encode()).decode()
        if headers.get("Authorization") not in (f"Bearer {TOKEN}", f"Basic {basic}"):
            return 401, {"detail": "Authentication credentials were not provided."}
        url = urllib.parse.urlsplit(address)
        if not url.path.startswith(PREFIX):
            return 404, {"detail": "Not found."}
        query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        try:
            with self.lock:
                return self.awx.answer(method, url.path, query, json.loads(sent) if sent else {})
        except RefusedError as refused:
            return refused.status, refused.said


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer."""
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        server = t.cast("_Server", self.server)
        status, said = server.answer(self.command, self.path, dict(self.headers), sent)
        content = b"" if said is None else json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("X-API-Product-Name", "AWX")
        self.send_header("X-API-Product-Version", "24.6.1")
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self) -> None:
        """Answer."""
        self.do_GET()

    def do_PATCH(self) -> None:
        """Answer."""
        self.do_GET()

    def do_DELETE(self) -> None:
        """Answer."""
        self.do_GET()

    def log_message(self, *_arguments: t.Any) -> None:
        """Say nothing."""


@contextlib.contextmanager
def serving(awx: Awx) -> t.Iterator[str]:
    """Answer requests on loopback; give the address."""
    server = _Server(awx)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
