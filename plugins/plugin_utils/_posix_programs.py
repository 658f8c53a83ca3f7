# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""The shell programs that look at, and change, the config and the key file of a POSIX workstation.

The workstation needs a POSIX shell and the POSIX tools C(cat chmod cksum cp dd find id ln ls mkdir mv od rm sync),
and no Python. A third program is the first one with a look at the rest of the workstation after it, by Python if there
is one. All that differs between workstations goes through standard input: the program, its parameters, the
content. So nothing has to be quoted, nothing secret stands on a command line, any login shell will do (tcsh and fish,
too), and because there is standard input the ssh plugin asks for no terminal that would turn line ends into CR LF.

A key file is compared on the workstation, so a key goes there and never comes back.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ansible_collections.budgetguard.techops.plugins.module_utils._workstation import FILE, FOLDER
from ansible_collections.budgetguard.techops.plugins.plugin_utils._workstation_probe import FORMAT as PROBE_FORMAT

if TYPE_CHECKING:
    from collections.abc import Sequence

# A config is some kilobytes. What is larger is not one, and is not read.
LARGEST_CONFIG = 4 * 1024 * 1024
MARKER = "budgetguard-1"

# In both programs: "look" says a path's mode and owner, "sum_of" sets what tells two contents apart.
# Starting a process is what costs on a busy workstation, so facts come from one "ls" each and from the shell itself.
COMMON_PROGRAM = r"""
LC_ALL=C
export LC_ALL
set -f
umask 077
name=@FILE@
say() {
    printf '%s\n' "$*"
}
look() {
    if [ -e "$2" ] || [ -h "$2" ]; then
        label=$1
        set -- $(ls -ldn "$2")
        bytes=$5
        say "$label $1 $3"
    fi
}
sum_of() {
    if [ "$2" -gt @LARGEST@ ]; then
        sum="large $2"
    else
        sum=$(cksum < "$1")
    fi
}
case $(command -v printf) in
    /*)
        say @MARKER@
        say "failed printf"
        exit 1
        ;;
esac
"""

READ_PROGRAM = (
    COMMON_PROGRAM
    + r"""
expand() {
    expanded=$1
    case $1 in
        '~'|'~/'*) who=$user; home=$HOME ;;
        '~'*) who=${1#?}; who=${who%%/*}; home="~$who" ;;
        *) return ;;
    esac
    case $1 in
        */*) rest=/${1#*/} ;;
        *) rest= ;;
    esac
    case $who in
        *[!A-Za-z0-9._-]*) ;;
        *) eval "home=~$who" ;;
    esac
    expanded=$home$rest
}
nearest() {
    near=$1
    while [ -n "$near" ] && [ ! -d "$near" ]; do
        case $near in
            */*) near=${near%/*} ;;
            *) near= ;;
        esac
    done
    near=${near:-/}
}
index_of() {
    line=$1
    shift
    index=0
    for candidate in "$@"; do
        if [ "$candidate" = "$line" ]; then
            say "key_line $index"
            return
        fi
        index=$((index + 1))
    done
    say "key_line other"
}
say @MARKER@
IFS= read -r base && IFS= read -r key && IFS= read -r count || exit 1
while [ "$count" -gt 0 ]; do
    IFS= read -r line || exit 1
    set -- "$@" "$line"
    count=$((count - 1))
done
ids=$(id)
me=${ids#uid=}
me=${me%%[!0-9]*}
user=${ids#*'('}
user=${user%%')'*}
say "user_id $me"
say "user_name $user"
expand "$base"
base=$expanded
say "base $base"
if [ -n "$key" ]; then
    expand "$key"
    key=$expanded
    folder=${key%/*}
    folder=${folder:-/}
    say "key $key"
    look key_folder "$folder"
    look key_file "$key"
    nearest "$folder"
    if cd -P "$near"; then
        say "key_near $PWD"
    fi
    if [ -w "$near" ] && [ -x "$near" ]; then
        say key_near_writable
    fi
    if [ -f "$key" ] && [ ! -h "$key" ] && [ -r "$key" ]; then
        say key_readable
        lines=0
        while [ "$lines" -lt 20 ] && { IFS= read -r line || [ -n "$line" ]; }; do
            index_of "$line" "$@"
            lines=$((lines + 1))
        done < "$key"
    fi
fi
owner=
third() {
    third=$3
}
if [ -d "$base" ]; then
    third $(ls -ldnL "$base")
    owner=$third
    say "base_owner_id $owner"
    if [ "$owner" != "$me" ]; then
        third $(ls -ldL "$base")
        user=$third
    fi
    say "base_owner_name $user"
else
    nearest "$base"
    if [ ! -x "$near" ]; then
        say base_hidden
    fi
fi
if [ "$owner" = "$me" ] && cd -P "$base"; then
    say "base_real $PWD"
    if [ -f main.py ]; then
        say "has main.py"
    fi
    if [ -d models ]; then
        say "has models"
    fi
    if [ -d custom_nodes ]; then
        say "has custom_nodes"
    fi
    look folder @FOLDER@
    if [ ! -h @FOLDER@ ] && [ -d @FOLDER@ ] && cd ./@FOLDER@; then
        look file "$name"
        if [ ! -h "$name" ] && [ -f "$name" ] && [ -r "$name" ]; then
            sum_of "$name" "$bytes"
            say "sum $sum"
            case $sum in
                large*) ;;
                *)
                    say data
                    od -A n -t x1 -v "$name"
                    ;;
            esac
        fi
    fi
fi
say end
"""
)

# After the look, the rest of standard input goes to a Python: the one that was named, ComfyUI's own, or the system's.
# One that is too old, or does not start, leaves the rest to the next one.
#
# Whoever runs this, root above all, must start no program that somebody else has put there. An artist can move the base
# folder away, or make it a link to a folder of root's. So the folder is entered, which a link cannot change any more,
# and must be this user's own; an environment in or beside it counts if it is this user's or root's. A Python that was
# named is the inventory's choice; it must be this user's or root's for root, and where links lead to the base folder.
PROBE_PROGRAM = (
    READ_PROGRAM
    + r"""
IFS= read -r python || exit 1
of_others() {
    ls -ldn "$@" | while read -r mode links uid rest; do
        case $uid in
            "$me"|0) ;;
            *) say "$uid" ;;
        esac
    done
}
start() {
    say "python $1"
    "$2" -ISB -c '@BOOT@' "$base"
    code=$?
    say "python_ended $code"
    case $code in
        3|126|127) return 1 ;;
    esac
}
own() {
    cd -P "$mine/" && cd -P "$1" && [ -f "$2/bin/python" ] && [ -x "$2/bin/python" ] || return 1
    [ -z "$(of_others "$2")" ] && start "${PWD%/}/$2/bin/python" "./$2/bin/python"
}
named() {
    case $python in
        '') return 1 ;;
        */*) ;;
        *)
            installed "$python"
            return
            ;;
    esac
    program=./${python##*/}
    [ -n "$mine" ] && cd -P "${python%/*}/" 2> /dev/null && [ -f "$program" ] && [ -x "$program" ] || return 1
    if [ "$me" = 0 ] || [ "$mine" != "${base%/}" ]; then
        [ -z "$(of_others . "$program")" ] || return 1
    fi
    start "$python" "$program"
}
installed() {
    command -v "$1" > /dev/null 2>&1 && start "$1" "$1"
}
mine=
if cd -P "$base" 2> /dev/null; then
    third $(ls -ldn .)
    [ "$third" != "$me" ] || mine=$PWD
fi
named || { [ -n "$mine" ] && { own . venv || own . .venv || own .. venv; }; } ||
    installed python3 || installed /usr/libexec/platform-python || installed python
say done
"""
)

# The exit code by which an interpreter says that it is older than the probe needs.
TOO_OLD = 3

# Ends with 3 before anything is read when the Python is older than the probe needs. Python 2 understands it, too.
BOOT = (
    "import sys; sys.version_info < (3, 8) and sys.exit(3); "
    "r = sys.stdin.buffer; o = r.readline(); "
    'exec(compile(r.read(), "probe", "exec"), {"__name__": "__main__", "OPTIONS": o})'
)

WRITE_PROGRAM = (
    COMMON_PROGRAM
    + r"""
made=
trap '[ -z "$made" ] || rm -f "$made"' EXIT
trap 'exit 1' HUP INT TERM PIPE
die() {
    say "failed $*"
    exit 1
}
flush() {
    sync "$1" 2>/dev/null || sync
}
stand_in_own_folder() {
    cd -P "$1" || die "$2 missing"
    set -- "$2" $(ls -ldn .)
    [ "$4" = "$me" ] || die "$1 owner"
}
sweep() {
    set +f
    for leftover in ."$1".*.new; do
        if [ -e "$leftover" ]; then
            find . ! -name . -prune -name ".$1.*.new" -type f -mtime +0 -exec rm -f {} +
            break
        fi
    done
    set -f
}
measure() {
    permissions=$1
    bytes=$5
}
save() {
    target=./$1
    temporary=./.$1.$token.new
    if [ -e "$temporary" ] || [ -h "$temporary" ]; then
        die "$4 temporary"
    fi
    made=$temporary
    (
        set -C
        "$3" > "$temporary"
    ) || die "$4 write"
    measure $(ls -ldn "$temporary")
    if [ "$3" = config_content ] && [ "$bytes" != "$size" ]; then
        die "$4 torn"
    fi
    case $permissions in
        "$2"*) ;;
        *) chmod "$5" "$temporary" || die "$4 mode" ;;
    esac
    flush "$temporary"
    if [ -h "$target" ] || [ -d "$target" ]; then
        die "$4 type"
    fi
    mv -f "$temporary" "$target" || die "$4 rename"
    made=
    sweep "$1"
}
config_content() {
    cat
}
key_with_others() {
    printf '%s\n' "$line"
    if [ -e "./$keyname" ]; then
        while IFS= read -r other || [ -n "$other" ]; do
            if [ -n "$other" ] && [ "$other" != "$line" ]; then
                printf '%s\n' "$other"
            fi
        done < "./$keyname"
    fi
}
key_alone() {
    printf '%s\n' "$line"
}
enter_config_folder() {
    stand_in_own_folder "$base" base
    if [ -h @FOLDER@ ]; then
        die "folder type"
    fi
    [ -d @FOLDER@ ] || mkdir @FOLDER@ || die "folder create"
    stand_in_own_folder ./@FOLDER@ folder
    [ "$PWD" = "${base%/}/@FOLDER@" ] || die "folder type"
}
check_not_raced() {
    sum=missing
    if [ -h "$name" ]; then
        die "config type"
    fi
    if [ -e "$name" ]; then
        measure $(ls -ldn "$name")
        sum_of "$name" "$bytes"
    fi
    if [ "$sum" != "$expected" ]; then
        say raced
        exit 0
    fi
}
enter_key_folder() {
    folder=${key%/*}
    folder=${folder:-/}
    keyname=${key##*/}
    [ -d "$folder" ] || mkdir -p "$folder" || die "key_folder create"
    if [ -h "$folder" ]; then
        die "key_folder type"
    fi
    stand_in_own_folder "$folder" key_folder
    if [ -h "./$keyname" ] || [ -d "./$keyname" ]; then
        die "key type"
    fi
}
do_step() {
    case $1 in
        folder)
            enter_config_folder
            chmod go-w . || die "folder mode"
            ;;
        aside)
            enter_config_folder
            check_not_raced
            chmod 0600 "$name" || die "config mode"
            if [ ! -e "$aside" ] && [ ! -h "$aside" ]; then
                ln "$name" "$aside" 2>/dev/null || cp -p "$name" "$aside" || die "aside write"
            fi
            ;;
        key_keep)
            enter_key_folder
            save "$keyname" -r-------- key_with_others key 0400
            ;;
        config)
            enter_config_folder
            check_not_raced
            save "$name" -rw------- config_content config 0600
            ;;
        config_mode)
            enter_config_folder
            check_not_raced
            chmod 0600 "$name" || die "config mode"
            ;;
        key_final)
            enter_key_folder
            save "$keyname" -r-------- key_alone key 0400
            ;;
        config_remove)
            enter_config_folder
            check_not_raced
            rm -f "$name" || die "config remove"
            ;;
        key_remove)
            enter_key_folder
            rm -f "./$keyname" || die "key remove"
            ;;
        *)
            die "step $1"
            ;;
    esac
    say "did $1"
}
say @MARKER@
for variable in base token steps expected aside size key line; do
    IFS= read -r "$variable" || die "input torn"
done
me=$(id -u)
for step in $steps; do
    do_step "$step"
done
say end
"""
)

# What a word of the write program means. {config} and {key} are the paths.
FAILURES = {
    "printf": "its /bin/sh has no printf built in, so a key would show among the processes; make /bin/sh dash or bash",
    "base missing": "ComfyUI's base folder went away while the config was being written",
    "base owner": "ComfyUI's base folder got another owner while the config was being written",
    "folder type": "the folder of {config} is a symbolic link; remove it",
    "folder create": "the folder of {config} cannot be created",
    "folder owner": "the folder of {config} belongs to another user",
    "folder missing": "the folder of {config} cannot be entered",
    "folder mode": "the mode of the folder of {config} cannot be changed",
    "aside write": "a copy of the found {config} cannot be kept beside it, so it was not replaced",
    "config type": "{config} became a symbolic link or a folder; remove it",
    "config temporary": "the name of the temporary file beside {config} is taken already; someone may be interfering",
    "config write": "the temporary file beside {config} cannot be written (disk full, or read-only?)",
    "config torn": "the new content of {config} arrived incomplete, so the old one stays",
    "config mode": "the mode of {config} cannot be changed",
    "config rename": "the new file cannot be moved over {config}",
    "config remove": "{config} cannot be removed",
    "key_folder create": "the folder of {key} cannot be created",
    "key_folder missing": "the folder of {key} cannot be entered",
    "key_folder type": "the folder of {key} is a symbolic link; give the real path",
    "key_folder owner": "the folder of {key} belongs to another user",
    "key type": "{key} is a symbolic link or a folder; remove it",
    "key temporary": "the name of the temporary file beside {key} is taken already; someone may be interfering",
    "key write": "the temporary file beside {key} cannot be written (disk full, or read-only?)",
    "key mode": "the mode of the temporary file beside {key} cannot be changed",
    "key rename": "the new file cannot be moved over {key}",
    "key remove": "{key} cannot be removed",
    "input torn": "the connection ended before everything had arrived; nothing was changed",
}

# What the system says of a disk, with LC_ALL=C, and what that is in a sentence.
DISK_TROUBLE = {
    "No space left on device": "the disk is full",
    "Disk quota exceeded": "the user's disk quota is used up",
    "Read-only file system": "the file system is read-only",
}


def program_text(program: str) -> str:
    """Return a program as it is sent: constants filled in, indentation left out."""
    values = {"FILE": FILE, "FOLDER": FOLDER, "LARGEST": str(LARGEST_CONFIG), "MARKER": MARKER, "BOOT": BOOT}
    for name, value in values.items():
        program = program.replace(f"@{name}@", value)
    return "\n".join(line.strip() for line in program.strip().split("\n")) + "\n"


def program_input(program: str, parameters: Sequence[str], content: bytes = b"") -> bytes:
    """Return all that goes to standard input: the program, one line for each parameter, then the content."""
    lines = "".join(f"{parameter}\n" for parameter in parameters)
    return (program_text(program) + lines).encode("utf-8", "surrogateescape") + content


def command(purpose: str, program: str) -> str:
    """Return the command line: it reads the program, byte by byte so as not to read further, and runs it."""
    return f': {purpose}; eval "$(dd bs=1 count={len(program_text(program))} 2>/dev/null)"'


def output_lines(stdout: str) -> list[str] | None:
    """Return the lines between the program's marker and its end, or None when it did not run to its end.

    What login scripts print before is not ours. Line ends may be CR LF, when there is a terminal in between.
    """
    lines = [line.rstrip("\r") for line in stdout.split("\n")]
    if MARKER not in lines:
        return None
    lines = lines[lines.index(MARKER) + 1 :]
    return lines[: lines.index("end")] if "end" in lines else None


def probe_lines(stdout: str) -> list[str]:
    """Return the lines after the end of the look: which Python was found, what it printed, how it ended."""
    lines = [line.rstrip("\r") for line in stdout.split("\n")]
    after = lines[lines.index(MARKER) + 1 :] if MARKER in lines else []
    return [line for line in after[after.index("end") + 1 :] if line] if "end" in after else []


def probe_answer(told: Sequence[str], complaint: str) -> dict[str, Any] | str:
    """Return the probe's answer, or why there is none."""
    tried = [line.partition(" ")[2] for line in told if line.startswith("python ")]
    ends = [int(line.partition(" ")[2]) for line in told if line.startswith("python_ended ")]
    for line in told:
        answer = _answer(line)
        if answer is not None:
            return answer
    if not tried:
        return "There is no Python on it."
    if ends and all(code == TOO_OLD for code in ends):
        return f"Its Python is older than 3.8: {', '.join(tried)}."
    if len(ends) < len(tried):
        return f"The look was cut off while {tried[-1]} worked."
    return f"{tried[-1]} ended with the code {ends[-1]}. It said: {complaint or 'nothing'}"


def _answer(line: str) -> dict[str, Any] | None:
    if not line.startswith("{"):
        return None
    try:
        answer = json.loads(line)
    except (ValueError, RecursionError):
        return None
    is_ours = isinstance(answer, dict) and answer.get("format") == PROBE_FORMAT
    return answer if is_ours else None
