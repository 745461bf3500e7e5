# docker build -t fraudstream .
# Pin the base by digest where you can look one up: --build-arg BASE=python:3.11.13-slim-bookworm@sha256:...
ARG BASE=python:3.11.13-slim-bookworm

FROM ${BASE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1
RUN python -m venv /opt/fraudstream/venv
ENV PATH=/opt/fraudstream/venv/bin:$PATH
WORKDIR /src
# Dependencies change seldom: their layer stays when the code changes.
COPY requirements-image.lock ./
RUN pip install --require-hashes -r requirements-image.lock
COPY pyproject.toml README.md LICENSE ./
COPY stream stream
COPY models models
COPY rules rules
COPY bench bench
RUN pip install --no-deps --no-build-isolation . && pip uninstall --yes setuptools wheel pip
# Machine code for every processor of the last ten years (Haswell, Zen and newer); the same two at run time.
ENV NUMBA_CPU_NAME=x86-64-v3 NUMBA_CPU_FEATURES="" NUMBA_CACHE_DIR=/opt/fraudstream/kernels
RUN python -m fraudstream.stream.warm
COPY k8s/image/start /opt/fraudstream/start

FROM ${BASE}
RUN groupadd --gid 65532 fraudstream \
    && useradd --uid 65532 --gid 65532 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin fraudstream \
    && install --directory --owner 65532 --group 65532 /var/lib/fraudstream /var/cache/fraudstream
COPY --from=build /opt/fraudstream /opt/fraudstream
COPY rules/schema.yaml rules/features.yaml rules/lists.yaml rules/typologies.yaml /etc/fraudstream/rules/
COPY rules/rulesets /etc/fraudstream/rules/rulesets
ENV PATH=/opt/fraudstream/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    NUMBA_CPU_NAME=x86-64-v3 \
    NUMBA_CPU_FEATURES="" \
    NUMBA_CACHE_DIR=/var/cache/fraudstream \
    FRAUDSTREAM_RULES_DIR=/etc/fraudstream/rules \
    FRAUDSTREAM_STATE_DIR=/var/lib/fraudstream \
    FRAUDSTREAM_METRICS_HOST=0.0.0.0
USER 65532:65532
WORKDIR /var/lib/fraudstream
EXPOSE 9464
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9464/livez', timeout=4)"]
ENTRYPOINT ["/opt/fraudstream/start"]
CMD ["worker"]
