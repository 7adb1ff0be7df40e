# syntax=docker/dockerfile:1
#
#   docker build -t reservation-gateway .
#   docker run -p 8080:8080 -v gateway-data:/data \
#       -e GATEWAY_BOOTSTRAP_KEY="$(openssl rand -hex 32)" reservation-gateway
#
# Inside a container the service must listen on all addresses, and there it refuses to start without a key: the
# variable GATEWAY_BOOTSTRAP_KEY gives it one with every scope. For production name the stores too,
# GATEWAY_REDIS_URL and GATEWAY_DATABASE_URL; without them it starts a private Valkey and keeps a SQLite file,
# both in /data on one volume.

ARG PYTHON_VERSION=3.13

FROM python:${PYTHON_VERSION}-slim AS build
WORKDIR /build
RUN python -m venv /opt/gateway
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY gateway gateway
COPY lua lua
COPY config config
RUN /opt/gateway/bin/pip install --no-cache-dir '.[postgres,speed,embedded]' \
    # pip has done its work; without it there is less to patch.
    && /opt/gateway/bin/pip uninstall --yes pip

FROM python:${PYTHON_VERSION}-slim
RUN useradd --system --uid 10001 --user-group --home-dir /data --no-create-home gateway \
    && install --directory --mode 0700 --owner gateway --group gateway /data
COPY --from=build /opt/gateway /opt/gateway
COPY LICENSE NOTICE /usr/share/doc/reservation-gateway/
ENV PATH=/opt/gateway/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    GATEWAY_HOST=0.0.0.0 \
    GATEWAY_PORT=8080 \
    GATEWAY_DATA_DIR=/data
# By number, so that an orchestrator can see that it is not root.
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8080
# Ready means: its Redis and its durable store answer and its shards are open. An unready service answers 503,
# which urlopen raises. The start period covers the loading of a big append-only file.
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; \
r.urlopen('http://127.0.0.1:' + os.environ['GATEWAY_PORT'] + '/readyz', timeout=4)"]
# It drains on SIGTERM, in less than ten seconds. `gateway` is process 1 and handles its signals itself.
STOPSIGNAL SIGTERM
ENTRYPOINT ["gateway"]
CMD ["serve"]
