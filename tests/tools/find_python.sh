#!/bin/sh
# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Print the path of the first interpreter that can make a virtual environment, in the order asked for:
#     find_python.sh 3.12 3.11
# Looks on PATH and among pyenv's versions. A version manager's stand-in that does not run is passed over.
# Prints nothing and fails when there is none.
set -eu

for version in "$@"; do
    for candidate in "python$version" python3 "${PYENV_ROOT:-${HOME:-/}/.pyenv}/versions/$version".*/bin/python3; do
        found=$("$candidate" -c 'import ensurepip, sys; print("%d.%d %s" % (sys.version_info[:2] + (sys.executable,)))' \
            2>/dev/null) || continue
        if [ "${found%% *}" = "$version" ]; then
            echo "${found#* }"
            exit 0
        fi
    done
done
exit 1
