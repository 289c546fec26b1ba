#!/usr/bin/env bash
# Runs MCP Orchestrator from a checkout: checks what the machine has, makes an environment of its
# own with the locked dependencies, and starts. See --help.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=${MCP_ORCHESTRATOR_VENV:-$root/.venv}
total=3

usage() {
  cat <<'END'
Usage: scripts/run_mcp_orchestrator.sh [--repo OWNER/NAME] [--retries N] [OPTION…]
       scripts/run_mcp_orchestrator.sh --test [PYTEST OPTION…]
       scripts/run_mcp_orchestrator.sh COMMAND [ARGUMENT…]

With GITHUB_TOKEN and a repository, looks at the repository's failed runs once and heals what can be
healed. Without either, shows the whole way on a small repository that it makes for the purpose: no
GitHub, no token. COMMAND is one of the orchestrator's own (diagnose, heal, monitor, audit, rules …).

  --repo OWNER/NAME  the repository to look after; instead of it, GITHUB_REPOSITORY_OWNER and
                     GITHUB_REPOSITORY_NAME may name it
  --retries N        attempts for one failure before it is left to a person
  --test             run the project's tests; leaves mcp_orchestrator_test_report.json
  --help             this text

Every other option is passed on. Environment: GITHUB_TOKEN; MCP_ORCHESTRATOR_VENV, the folder of the
Python environment (default: .venv beside the project); NO_COLOR.
END
}

if [[ -t 2 && -z ${NO_COLOR:-} && ${TERM:-dumb} != dumb ]]; then
  bold=$'\e[1m' dim=$'\e[2m' red=$'\e[31m' green=$'\e[32m' yellow=$'\e[33m' plain=$'\e[0m' live=1
else
  bold='' dim='' red='' green='' yellow='' plain='' live=''
fi

# Progress goes to stderr, so that stdout holds only what the program answers.
step() { printf '%s[%s/%s]%s %s\n' "$bold" "$1" "$total" "$plain" "$2" >&2; }
good() { printf '  %s✔%s %s\n' "$green" "$plain" "$1" >&2; }
note() { printf '  %s!%s %s\n' "$yellow" "$plain" "$1" >&2; }
die() {
  printf '%serror:%s %s\n' "$red" "$plain" "$1" >&2
  exit "${2:-2}"
}

# Runs a command with its output kept aside; shows the end of it only when the command fails.
quietly() {
  local what=$1 log status=0 frame=0
  shift
  log=$(mktemp)
  "$@" >"$log" 2>&1 &
  local child=$!
  # A command in the background ignores Ctrl-C, so the script passes it on.
  trap 'kill "$child" 2>/dev/null; rm -f "$log"; exit 130' INT TERM
  while [[ -n $live ]] && kill -0 "$child" 2>/dev/null; do
    local frames='-\|/'
    printf '\r  %s%s%s %s ' "$dim" "${frames:frame++%4:1}" "$plain" "$what" >&2
    sleep 0.2
  done
  [[ -z $live ]] || printf '\r\e[K' >&2
  wait "$child" || status=$?
  trap - INT TERM
  if ((status)); then
    printf '  %s✘%s %s\n' "$red" "$plain" "$what" >&2
    tail -n 15 "$log" | sed 's/^/    /' >&2
  else
    good "$what"
  fi
  rm -f "$log"
  return "$status"
}

# Prints the interpreter to use. A candidate has to run: version managers leave commands on PATH
# that only say that the version is not selected.
find_python() {
  local candidate version best='' without_venv=''
  for candidate in python3 python3.13 python3.12 python3.11 python; do
    version=$("$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue
    best=${best:-$version}
    "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || continue
    if "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
    without_venv=${without_venv:-$version}
  done
  [[ -z $without_venv ]] ||
    die "Python $without_venv has no venv module here; on Debian and Ubuntu: apt-get install python$without_venv-venv"
  [[ -n $best ]] || die "Python 3.11 or newer is needed, and no Python was found"
  die "Python 3.11 or newer is needed; found $best"
}

# Makes the environment, or leaves it alone when it already holds exactly what the lock names.
prepare() {
  local lock=$1 python stamp wanted
  stamp=$venv/.lock-$(basename "$lock" .txt)
  [[ -f $lock ]] || die "$(basename "$lock") is missing from the checkout"
  if [[ -d $venv && ! -f $venv/pyvenv.cfg && -n $(ls -A "$venv") ]]; then
    die "$venv is not a Python environment; name another folder in MCP_ORCHESTRATOR_VENV"
  fi
  if ! "$venv/bin/python" -c '' 2>/dev/null; then
    python=$(find_python) || exit
    quietly "environment with $("$python" --version) in $venv" "$python" -m venv --clear "$venv" ||
      die "the environment could not be made" 1
  fi
  "$venv/bin/python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    die "$venv holds $("$venv/bin/python" --version), and 3.11 or newer is needed: remove it, or set MCP_ORCHESTRATOR_VENV"
  "$venv/bin/python" -c 'import pip' 2>/dev/null || quietly "pip" "$venv/bin/python" -m ensurepip ||
    die "$venv has no pip: remove it, or set MCP_ORCHESTRATOR_VENV" 1
  wanted=$("$venv/bin/python" -c '
import hashlib, pathlib, sys
print(sys.version.split()[0], hashlib.sha256(pathlib.Path(sys.argv[1]).read_bytes()).hexdigest())' "$lock")
  if [[ -f $stamp && $(<"$stamp") == "$wanted" ]]; then
    good "dependencies are up to date"
    return
  fi
  rm -f "$stamp"
  quietly "dependencies of $(basename "$lock")" \
    "$venv/bin/python" -m pip install --disable-pip-version-check --no-input \
    --require-hashes --no-deps -r "$lock" ||
    die "the dependencies could not be installed (is the package index within reach?)" 1
  printf '%s\n' "$wanted" >"$stamp"
}

mode=run repo='' retries='' rest=()
case ${1:-} in
  '' | -*) ;;
  *) mode=command rest=("$@") && set -- ;;
esac
while (($#)); do
  case $1 in
    --help | -h) usage && exit ;;
    --test)
      shift
      mode=test rest+=("$@")
      break
      ;;
    --repo | --retries)
      (($# > 1)) || die "$1 needs a value"
      [[ $1 == --repo ]] && repo=$2 || retries=$2
      shift
      ;;
    --repo=*) repo=${1#*=} ;;
    --retries=*) retries=${1#*=} ;;
    *) rest+=("$1") ;;
  esac
  shift
done

if [[ -z $repo && -n ${GITHUB_REPOSITORY_OWNER:-} && -n ${GITHUB_REPOSITORY_NAME:-} ]]; then
  repo=$GITHUB_REPOSITORY_OWNER/$GITHUB_REPOSITORY_NAME
fi
[[ -z $retries || $retries =~ ^[0-9]{1,4}$ ]] || die "--retries needs a whole number, not '$retries'"
[[ -z $repo || $repo =~ ^[A-Za-z0-9-]+/[A-Za-z0-9._-]+$ ]] || die "--repo needs OWNER/NAME, not '$repo'"

if [[ $mode == run ]]; then
  if [[ -n $repo && -z ${GITHUB_TOKEN:-} ]]; then
    die "to look after $repo, GITHUB_TOKEN must hold a token (without --repo, a demo needs none)"
  fi
  [[ -n $repo ]] && mode=monitor || mode=demo
fi

step 1 "Checking what is needed"
command -v git >/dev/null || die "git is needed, and was not found (Debian: apt-get install git)"
good "$(git --version)"
lock=$root/requirements.txt
[[ $mode != test ]] || lock=$root/requirements-test.txt

step 2 "Preparing the Python environment"
prepare "$lock"
good "$("$venv/bin/python" --version)"

run=("$venv/bin/python" "$root/scripts/mcp_orchestrator.py")
case $mode in
  test)
    step 3 "Running the tests"
    run=("$venv/bin/python" "$root/scripts/test_mcp_orchestrator.py")
    ;;
  command) step 3 "orchestrator ${rest[0]}" ;;
  monitor)
    step 3 "Looking after $repo"
    run+=(monitor --repo "$repo" --once)
    [[ -z $retries ]] || run+=(--retries "$retries")
    ;;
  demo)
    step 3 "Showing the way on a repository made for the purpose (no GitHub, no token)"
    [[ -z ${GITHUB_TOKEN:-} ]] || note "GITHUB_TOKEN is set: --repo OWNER/NAME looks after a repository"
    [[ -z $retries ]] || note "--retries is for a repository; the demo has no use for it"
    run+=(demo)
    ;;
esac
exec "${run[@]}" ${rest[@]+"${rest[@]}"}
