# One image for every process; the command decides which one it runs:
#   web       (the default)
#   worker    python -m workers
#   release   python -m bridge check
# How to use it: docs/deploy-docker.md.

# Another base works too, if it is Debian or Ubuntu and has `python` 3.11 or newer with venv and pip.
ARG BASE=python:3.12.13-slim-bookworm

FROM ${BASE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /app
COPY requirements.txt /build/
# pip stays out of /venv, because nothing is installed there later. Wheels only: there is no compiler
# here, and this way a package without a wheel fails with a message that says so.
RUN python -m venv --without-pip /venv \
    && python -m pip --python /venv/bin/python install --only-binary=:all: -r /build/requirements.txt
COPY gunicorn.conf.py routes.toml ./
COPY schemas schemas
COPY rules rules
COPY config config
COPY store store
COPY bridge bridge
COPY workers workers
COPY simulator simulator
COPY demo demo
# Every user can read the files, even if the checkout was private. The image's user can't write here,
# so the bytecode is made now. It is checked by hash, because builders may change the times of files.
RUN chmod -R u=rwX,go=rX . && python -m compileall -q --invalidation-mode checked-hash .

FROM ${BASE}
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1
# tini is process 1. Without it, a stop signal in the first second would be lost: the kernel drops
# signals for which process 1 has no handler, and Python sets its handlers only when it has started.
# No version is pinned: the base pins its Debian release, and a mirror keeps only the newest patch.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --user-group --no-log-init --no-create-home \
        --home-dir /nonexistent --shell /usr/sbin/nologin bridge
COPY --from=build /venv /venv
COPY --from=build /app /app
WORKDIR /app
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="CallKaro Bridge" \
    org.opencontainers.image.description="CRM webhooks become CallKaro phone calls: never lost, never twice." \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"
# A number, because Kubernetes can't know that a name is not root.
USER 10001
EXPOSE 8000
# For the web process and the worker. Any other command is healthy as long as it runs.
HEALTHCHECK --interval=60s --timeout=10s --start-period=30s --retries=3 \
    CMD ["python", "-m", "bridge.healthcheck"]
ENTRYPOINT ["tini", "--"]
CMD ["python", "-m", "bridge.serve"]
