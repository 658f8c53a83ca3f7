"""Temporary."""
# mypy: ignore-errors
try:
    from tests.sandbox.kube import KubeApplication, NodePool
except ImportError:
    from dataclasses import dataclass
    from typing import Any
    from werkzeug.wrappers import Response
    @dataclass(frozen=True)
    class NodePool:
        name: str; labels: Any; taints: Any; vcpus: int; memory_gib: int; gpus: int; minimum: int; maximum: int; autoscaling: bool; driver: bool; device_plugin: bool
    class KubeApplication:
        PREFIX = "/clusters/"
        def __init__(self, calls, interferences): self._c = {}
        def create_cluster(self, cluster_id, **settings): self._c[cluster_id] = settings
        def delete_cluster(self, cluster_id): self._c.pop(cluster_id)
        def set_running(self, cluster_id, running): pass
        def set_outcome(self, deployment, outcome): pass
        def resources(self, cluster_id=None): return {"kube": {k: {} for k in self._c}}
        def reset(self): self._c.clear()
        def __call__(self, request):
            import json
            c = self._c.get(request.path.split("/")[2])
            if c is None: return Response("none", status=404)
            tok = request.headers.get("Authorization", "").removeprefix("Bearer ") or None
            return Response(json.dumps({"ok": c["authorize"](tok), "pools": [vars(p) for p in c["pools"]()]}, default=str), status=200 if c["authorize"](tok) else 401)
