# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A stand-in for ComfyUI's server: the real frontend and real custom nodes, without torch and without models.

``python -m tests.companion.comfyui BASE [FILE]`` loads what is in ``BASE/custom_nodes`` as ComfyUI does, serves the
frontend of the package comfyui-frontend-package on a free port of loopback, and prints that port. With a file it ends
when that is gone. It runs no workflow and keeps no files, and logs all that there is to log. What ComfyUI serves:
https://docs.comfy.org/development/comfyui-server/comms_routes
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import logging
import sys
import types
import typing as t
import uuid
from pathlib import Path

from aiohttp import web

VERSION = "0.8.0"

#: What the frontend asks for and can live without. Each is served with and without /api.
FIXED: dict[str, t.Any] = {
    "/users": {"storage": "server", "migrated": True},
    "/features": {},
    "/i18n": {},
    "/global_subgraphs": {},
    "/queue": {"queue_running": [], "queue_pending": []},
    "/history": {},
    "/jobs": {"jobs": [], "pagination": {"offset": 0, "limit": 64, "total": 0, "has_more": False}},
    "/experiment/models": [],
    "/embeddings": [],
    "/userdata": [],
    "/system_stats": {
        "system": {
            "os": "linux",
            "comfyui_version": VERSION,
            "python_version": "3.12",
            "pytorch_version": "none",
            "embedded_python": False,
            "argv": ["main.py"],
            "ram_total": 1,
            "ram_free": 1,
        },
        "devices": [],
    },
}


class ComfyUI:
    """The server, with the custom nodes of one base folder."""

    def __init__(self, base: Path) -> None:
        # What ComfyUI was told to listen on. The stand-in itself never leaves loopback.
        self.arguments = types.SimpleNamespace(listen="127.0.0.1")
        self.routes = web.RouteTableDef()
        self.settings: dict[str, t.Any] = {"Comfy.TutorialCompleted": True}
        self.nodes: dict[str, t.Any] = {}
        self.names: dict[str, str] = {}
        self.web_folders: dict[str, Path] = {}
        self._pretend(base)
        for folder in sorted((base / "custom_nodes").iterdir()):
            if (folder / "__init__.py").is_file():
                self._load(folder)

    def _pretend(self, base: Path) -> None:
        """Offer the modules that custom nodes import."""
        folder_paths = types.ModuleType("folder_paths")
        vars(folder_paths).update(base_path=str(base))
        server = types.ModuleType("server")
        instance = types.SimpleNamespace(routes=self.routes)
        vars(server).update(PromptServer=types.SimpleNamespace(instance=instance))
        arguments = types.ModuleType("comfy.cli_args")
        vars(arguments).update(args=self.arguments)
        sys.modules.update({"folder_paths": folder_paths, "server": server})
        sys.modules.update({"comfy": types.ModuleType("comfy"), "comfy.cli_args": arguments})

    def _load(self, folder: Path) -> None:
        """Import a custom node under the name that ComfyUI gives it: its path, without dots."""
        name = str(folder).replace(".", "_x_")
        spec = importlib.util.spec_from_file_location(name, folder / "__init__.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        for key, node in module.NODE_CLASS_MAPPINGS.items():
            node.RELATIVE_PYTHON_MODULE = f"custom_nodes.{folder.name}"
            self.nodes[key] = node
        self.names.update(getattr(module, "NODE_DISPLAY_NAME_MAPPINGS", {}))
        if getattr(module, "WEB_DIRECTORY", None):
            self.web_folders[folder.name] = (folder / module.WEB_DIRECTORY).resolve()

    def about(self, key: str) -> dict[str, t.Any]:
        """Return what /object_info says of a node."""
        node = self.nodes[key]
        inputs = node.INPUT_TYPES()
        return {
            "input": inputs,
            "input_order": {kind: list(names) for kind, names in inputs.items()},
            "output": list(node.RETURN_TYPES),
            "output_is_list": [False] * len(node.RETURN_TYPES),
            "output_name": list(getattr(node, "RETURN_NAMES", node.RETURN_TYPES)),
            "name": key,
            "display_name": self.names.get(key, key),
            "description": "",
            "python_module": node.RELATIVE_PYTHON_MODULE,
            "category": node.CATEGORY,
            "output_node": False,
        }

    def application(self) -> web.Application:
        """Return all routes as one application."""
        routes = self.routes
        for path, content in FIXED.items():
            routes.get(path)(_constant(content))
        routes.get("/object_info")(self._object_info)
        routes.get("/extensions")(self._extensions)
        routes.get("/settings")(self._settings)
        routes.post("/settings")(self._change_settings)
        routes.post("/settings/{name}")(self._change_settings)
        routes.get("/ws")(_websocket)
        routes.get("/userdata/{file:.*}")(_no_file)
        routes.post("/userdata/{file:.*}")(_constant("saved"))
        routes.get("/")(self._index)
        routes.post("/stand-in/listen")(self._pretend_to_listen)
        application = web.Application()
        for route in list(routes):
            assert isinstance(route, web.RouteDef)
            application.router.add_route(route.method, f"/api{route.path}", route.handler)
        application.add_routes(routes)
        for name, folder in self.web_folders.items():
            application.router.add_static(f"/extensions/{name}", folder)
        application.router.add_static("/", frontend())
        return application

    async def _object_info(self, _request: web.Request) -> web.Response:
        return web.json_response({key: self.about(key) for key in self.nodes})

    async def _extensions(self, _request: web.Request) -> web.Response:
        return web.json_response(
            [
                f"/extensions/{name}/{file.relative_to(folder).as_posix()}"
                for name, folder in self.web_folders.items()
                for file in sorted(folder.rglob("*.js"))
            ]
        )

    async def _settings(self, _request: web.Request) -> web.Response:
        return web.json_response(self.settings)

    async def _change_settings(self, request: web.Request) -> web.Response:
        change = json.loads(await request.text())
        self.settings.update({request.match_info["name"]: change} if "name" in request.match_info else change)
        return web.Response()

    async def _pretend_to_listen(self, request: web.Request) -> web.Response:
        """Stand in for a restart with another --listen."""
        self.arguments.listen = await request.text()
        return web.Response()

    async def _index(self, _request: web.Request) -> web.FileResponse:
        return web.FileResponse(frontend() / "index.html")


def frontend() -> Path:
    """Return the folder with the files of the real frontend."""
    spec = importlib.util.find_spec("comfyui_frontend_package")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "static"


def _constant(content: t.Any) -> t.Callable[[web.Request], t.Awaitable[web.Response]]:
    async def handler(_request: web.Request) -> web.Response:
        return web.json_response(content)

    return handler


async def _no_file(_request: web.Request) -> web.Response:
    return web.Response(status=404)


async def _websocket(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    idle = {"status": {"exec_info": {"queue_remaining": 0}}, "sid": uuid.uuid4().hex}
    await socket.send_json({"type": "status", "data": idle})
    async for _message in socket:
        pass
    return socket


async def serve(base: Path, while_exists: Path | None) -> None:
    """Serve until the process is ended, or the file is gone."""
    runner = web.AppRunner(ComfyUI(base).application())
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    while while_exists is None or while_exists.exists():
        await asyncio.sleep(1)
    await runner.cleanup()


if __name__ == "__main__":
    logging.basicConfig(level=logging.DEBUG)
    asyncio.run(serve(Path(sys.argv[1]).resolve(), Path(sys.argv[2]) if len(sys.argv) > 2 else None))
