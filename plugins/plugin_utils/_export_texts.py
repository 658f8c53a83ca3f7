# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""What an exported folder holds for those who carry it: a README, and examples that are ready to be adapted."""

from __future__ import annotations

README = r"""BudgetGuard: endpoints and credentials for ComfyUI on artist workstations
=========================================================================

This folder was written by the playbook budgetguard.techops.export, and can be put on a file share as it is. Run the
playbook again instead of editing it.

  install_credentials.py                installs it on a workstation: Python 3.8 or newer, nothing else
  budgetguard_artists_config.json       the endpoints; nothing secret
  workstations/NAME/...config.json      the config of each workstation, its credentials sealed with its own key
  examples/                             a loop over ssh, a startup script for Group Policy, PsExec
  export.json                           which files are the playbook's

On a workstation, as the user that ComfyUI runs as:

  python3 install_credentials.py --comfyui-path ~/ComfyUI --workstation ws-01 --studio-key-file ws-01.key

On Windows, with the Python of ComfyUI's portable version, in a command prompt:

  C:\ComfyUI_windows_portable\python_embeded\python.exe \\files\budgetguard\install_credentials.py ^
    --comfyui-path C:\ComfyUI_windows_portable\ComfyUI --workstation ws-01 --studio-key-file D:\ws-01.key

THE KEY IS NOT IN THIS FOLDER, and must never be put here: without it nobody can open a config. Each workstation has a
key of its own, which opens its own config only. The playbook writes these key files elsewhere when it is run with
-e export_keys=true; carry each one to its workstation by a way that nobody else can read, and delete it afterwards. The
program keeps it in ~/.config/budgetguard/studio.key, on Windows in ~\AppData\Local\BudgetGuard\studio.key. The next
time, no --studio-key-file is needed, until the studio key is changed.

Artists may read this folder. Nobody but TechOps may write to it: whoever can change the program or an address here
decides what runs on the workstations, and who gets their requests.

  --check              only say what would be done
  --verify             only compare; exit code 5 if something differs
  --remove             remove config and key from the workstation; this revokes nothing
  --non-interactive    never ask

Exit codes: 0 done, whether or not anything changed; 1 failed on the way, run it again; 2 wrong options; 3 the files
that were given are refused; 4 the workstation is refused; 5 --verify found a difference.
"""

SSH_LOOP = r"""#!/bin/sh
# Install over ssh, one workstation after the other. For many of them, the playbook workstations is the better way.
#
#   KEYS=/safe/place/keys sh examples/ssh-loop.sh              all workstations of this folder
#   KEYS=/safe/place/keys sh examples/ssh-loop.sh ws-01 ws-02  these two
#
# KEYS is where the playbook has put the key files (-e export_keys=true). Leave it out when the keys are there already.
# A key goes through the connection only: it is in no temporary file and on no command line.

SSH=${SSH:-ssh}                    # with options, if you need some: SSH="ssh -p 2222"
LOGIN=${LOGIN:-artist}             # the user that ComfyUI runs as
COMFYUI=${COMFYUI:-'~/ComfyUI'}    # on the workstation
PYTHON=${PYTHON:-python3}          # on the workstation; Python 3.8 or newer
OPTIONS=${OPTIONS:-}               # more options of install_credentials.py, such as --check

share=$(cd "$(dirname "$0")/.." && pwd) || exit 1
[ $# -gt 0 ] || set -- $(cd "$share/workstations" && ls)
failed=
for name in "$@"; do
    echo "== $name"
    key=/dev/null
    key_option=
    if [ -n "${KEYS:-}" ]; then
        key=$KEYS/$name.key
        key_option='--studio-key-file -'
    fi
    if folder=$($SSH "$LOGIN@$name" 'mktemp -d' < /dev/null) &&
        tar -C "$share" -cf - install_credentials.py budgetguard_artists_config.json "workstations/$name" |
            $SSH "$LOGIN@$name" "tar -C '$folder' -xf -" &&
        $SSH "$LOGIN@$name" "'$PYTHON' '$folder/install_credentials.py' --comfyui-path '$COMFYUI' \
            --workstation '$name' --non-interactive $key_option $OPTIONS
            code=\$?; rm -rf '$folder'; exit \$code" < "$key"
    then
        :
    else
        failed="$failed $name"
    fi
done
[ -z "$failed" ] || { echo "Failed:$failed" >&2; exit 1; }
"""

GROUP_POLICY = r"""@echo off
rem A computer startup script: Computer Configuration, Policies, Windows Settings, Scripts, Startup. It runs as SYSTEM.
rem
rem The group Domain Computers must be able to read this folder. KEYS is another, hidden share with the key files of the
rem playbook (-e export_keys=true): NTFS rights on each file so that only its own computer account, such as
rem STUDIO\WS-01$, may read it. Take KEYS away when all workstations have their keys.
rem
rem ARTIST is the account that ComfyUI runs as. Only it, Administrators and SYSTEM get access to config and key.
rem
rem PYTHON runs as SYSTEM, so it must be one that only administrators can change. ComfyUI's own mostly is not.

set "PYTHON=%ProgramFiles%\Python312\python.exe"
set "COMFYUI=C:\ComfyUI_windows_portable\ComfyUI"
set "ARTIST=STUDIO\artist"
set "KEY_PATH=C:\ProgramData\BudgetGuard\studio.key"
set "KEYS=\\files\budgetguard-keys$"
set "LOG=%SystemRoot%\Temp\budgetguard.log"

set "KEY_OPTION="
if exist "%KEYS%\%COMPUTERNAME%.key" set "KEY_OPTION=--studio-key-file "%KEYS%\%COMPUTERNAME%.key""

"%PYTHON%" "%~dp0..\install_credentials.py" --comfyui-path "%COMFYUI%" --comfyui-user "%ARTIST%" ^
  --workstation "%COMPUTERNAME%" --key-path "%KEY_PATH%" %KEY_OPTION% --non-interactive > "%LOG%" 2>&1
exit /b %ERRORLEVEL%
"""

PSEXEC = r"""@echo off
rem Install on all Windows workstations of this folder, as an administrator of them, by PsExec from Sysinternals:
rem https://learn.microsoft.com/en-us/sysinternals/downloads/psexec
rem
rem SHARE is this folder as the workstations see it. PsExec runs it as SYSTEM (-s), which reads shares as the computer
rem account. The settings are those in group-policy-startup.cmd. -n: seconds to wait for a workstation that is off.

set "SHARE=\\files\budgetguard"
set "FAILED="

for /d %%w in ("%~dp0..\workstations\*") do (
  echo == %%~nxw
  psexec \\%%~nxw -accepteula -nobanner -n 10 -s cmd /c "%SHARE%\examples\group-policy-startup.cmd"
  if errorlevel 1 call set "FAILED=%%FAILED%% %%~nxw"
)
if defined FAILED echo Failed:%FAILED%& exit /b 1
exit /b 0
"""

FILES = {
    "README.txt": (README, 0o644),
    "examples/ssh-loop.sh": (SSH_LOOP, 0o755),
    "examples/group-policy-startup.cmd": (GROUP_POLICY, 0o644),
    "examples/psexec.cmd": (PSEXEC, 0o644),
}


def content(name: str) -> bytes:
    """Return the bytes of one of the files. cmd.exe and old editors of Windows want CR LF."""
    text = FILES[name][0]
    return (text if name.endswith(".sh") else text.replace("\n", "\r\n")).encode("ascii")


__all__ = ("FILES", "content")
