# The container of the action. Plain instructions only: GitHub's runner and act build it with
# whatever builder they find.
#
# A release pins the base by digest here: FROM python:3.13-slim@sha256:…
FROM python:3.13-slim

LABEL org.opencontainers.image.title="MCP Orchestrator" \
      org.opencontainers.image.description="Heals failing GitHub Actions runs" \
      org.opencontainers.image.licenses="MIT"

# No module of the checked-out repository's HOME may shadow ours; log lines must keep their order.
ENV PYTHONNOUSERSITE=1 \
    PYTHONUNBUFFERED=1

# Git's perl scripts (send-email, svn, …) are never called here, and perl is half of what Debian's
# git brings. Everything that executes repository code drops to the account `sandbox`; the container
# itself starts as root, as GitHub requires (no USER, no WORKDIR).
RUN set -eu; \
    apt-get update; \
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends git; \
    dpkg --purge --force-depends $(dpkg-query --show --showformat '${Package} ' \
        git-man liberror-perl perl 'perl-modules-5*' 'libperl5*' 'libgdbm*'); \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/debconf/*-old /var/log/apt /var/log/dpkg.log /usr/share/doc/git; \
    groupadd --gid 10001 sandbox; \
    useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin sandbox

# The wheel of actions-toolkit also installs its own tests as a top-level package `tests`, which
# would answer for every `import tests` in this interpreter.
COPY requirements.txt /app/requirements.txt
RUN set -eu; \
    PYTHONDONTWRITEBYTECODE=1 python -m pip install --no-cache-dir --disable-pip-version-check \
        --root-user-action=ignore --no-deps --only-binary=:all: --require-hashes \
        -r /app/requirements.txt; \
    rm -rf "$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/tests"

COPY LICENSE entrypoint.py /app/
COPY orchestrator /app/orchestrator

# The base image ships the standard library without bytecode. One use of the program while building
# leaves what it needs compiled, the rule cache included, so that no run pays for it again.
RUN set -eu; \
    python -m compileall -q --invalidation-mode unchecked-hash /app; \
    cd /app; \
    python -c 'import actions_toolkit.core, git, httpx, jinja2, jsonschema_rs, re2, ruamel.yaml, stamina'; \
    python -m orchestrator rules list > /dev/null

ENTRYPOINT ["python", "/app/entrypoint.py"]
