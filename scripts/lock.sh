#!/usr/bin/env bash
# Writes the two lock files: requirements.txt (the program and the container) and
# requirements-test.txt (the same versions and what the tests need).
#
#   scripts/lock.sh              keep the locked versions, add or drop what pyproject.toml asks for
#   scripts/lock.sh --upgrade    take the newest versions
#
# Locks hold hashes of every file of a release, for every platform; they name no index.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
uv=${UV:-.venv/bin/uv}
[[ -x $uv ]] || uv=$(command -v uv) || { echo "lock.sh: uv is not installed (pip install uv)" >&2; exit 2; }

# A mirror or a folder of wheels that one machine is configured with must not shape a lock that
# every machine uses.
for name in $(compgen -e | grep -E '^(UV|PIP)_' || true); do
  [[ $name == *CERT* ]] || unset "$name"
done

# actions-toolkit asks for these for its GitHub client and its OIDC module; only its `core` is used
# here, which needs none of them, and PyGithub alone is not permissively licensed (LGPL). So locks
# leave them out, and are installed with --no-deps.
unused=(pygithub pynacl cryptography pyjwt cffi pycparser deprecated wrapt)

compile() {
  "$uv" --no-config pip compile pyproject.toml --quiet --universal --python-version 3.11 \
    --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header \
    "${unused[@]/#/--no-emit-package=}" "$@"
}

compile --extra action --output-file requirements.txt "${@}"
compile --extra action --group test --constraint requirements.txt --output-file requirements-test.txt "${@}"

if grep -nE '^ *--?(i|index|extra|find|trusted)|://|\+(local|cpu)' requirements.txt requirements-test.txt; then
  echo "lock.sh: a lock names an index or a local file" >&2
  exit 1
fi
sha256sum requirements.txt requirements-test.txt
