# One image for all that runs. The command says what it is:
#   web       (the default)
#   worker    python -m workers        (switch the health check off there: --no-healthcheck)
#   release   flask --app bridge check

FROM python:3.12-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /venv
COPY requirements.txt .
RUN /venv/bin/pip install -r requirements.txt
WORKDIR /app
COPY gunicorn.conf.py routes.toml ./
COPY schemas schemas
COPY bridge bridge
COPY workers workers
COPY simulator simulator
# Whoever runs it can't write here, so the bytecode is made now.
RUN python -m compileall -q .

FROM python:3.12-slim-bookworm
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1
RUN useradd --uid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin bridge
COPY --from=build /venv /venv
COPY --from=build /app /app
WORKDIR /app
# By number: Kubernetes can't tell from a name that it is not root.
USER 10001
EXPOSE 8000
# Without a proxy, whatever http_proxy says: it asks this machine.
HEALTHCHECK --interval=30s --timeout=5s --start-period=15s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.build_opener(u.ProxyHandler({})).open(f'http://127.0.0.1:{os.environ.get(\"PORT\") or 8000}/healthz', timeout=4)"]
CMD ["gunicorn", "-c", "gunicorn.conf.py", "bridge.app:create_app()"]
