from __future__ import annotations
from tests.docker.packages import *


def test_smoke(desk):
    r = desk.build(*NODES, "Other")
    print(r)
    import subprocess

    print(subprocess.run(["unzip", "-l", str(desk.package)], capture_output=True, text=True).stdout)
    print(desk.build(*NODES, "Other"))
    code, out = desk.program("install", "--package", str(desk.package), keys=True)
    print(code, out)
    code, out = desk.program("install", "--package", str(desk.package), keys=True)
    print(code, out)
    print(desk.install(check=True))
    print(desk.engine.images(), desk.engine.containers())
    print((desk.installed("flux-dev") / "compose.yaml").read_text())
    print((desk.installed("flux-dev") / ".env").read_text())
    code, out = desk.program("uninstall")
    print(code, out)
    assert 0
