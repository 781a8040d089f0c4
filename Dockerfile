# One image for all that runs; the command says what it is:
#   web       (the default)
#   worker    python -m workers
#   release   flask --app bridge check
# How to use it: docs/deploy-docker.md.

# Another base will do if it has `python` 3.11 or newer with venv and pip, on Debian or Ubuntu.
ARG BASE=python:3.12.13-slim-bookworm

FROM ${BASE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /app
COPY requirements.txt /build/
# pip stays out of /venv: nothing is to be installed there later. Wheels only, for there is no
# compiler here; a package without one is to fail in words that say so.
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
# Readable for whoever runs it, even if the checkout was private. They can't write here, so the
# bytecode is made now; by hash, for builders may change the times of files.
RUN chmod -R u=rwX,go=rX . && python -m compileall -q --invalidation-mode checked-hash .

FROM ${BASE}
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1
# tini is process 1. Without it, a stop in the first second would not be heard: the kernel drops
# what process 1 has no handler for, and Python sets its handlers only when it has started.
# No version: the base pins its Debian release, and a mirror keeps only the newest patch.
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
# By number: Kubernetes can't tell from a name that it is not root.
USER 10001
EXPOSE 8000
# For web and worker alike; a command that is neither is healthy as long as it runs.
HEALTHCHECK --interval=60s --timeout=10s --start-period=30s --retries=3 \
    CMD ["python", "-m", "bridge.healthy"]
ENTRYPOINT ["tini", "--"]
CMD ["gunicorn", "-c", "gunicorn.conf.py", "bridge.app:create_app()"]
