# Two images of one file. `pipeline` runs the flows, MLflow's and Prefect's servers and Dask; `serve` answers over HTTP
# with the champion, and holds neither TensorFlow nor Prefect.

FROM python:3.11.16-slim-bookworm@sha256:0bee7276f83efd4a1ee05bbbf4281d95ed28e079220a9457f25a93e3f1e3c31b AS base
# A fixed number: the files in the volumes belong to it.
RUN useradd --uid 10001 --create-home --shell /usr/sbin/nologin sentiflow \
    && install -d -o sentiflow -g sentiflow /data /texts /dask /srv/mlflow /srv/prefect /srv/sentiflow
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    SENTIFLOW_DATA_DIR=/data
WORKDIR /srv/sentiflow

FROM base AS builder
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/venv
WORKDIR /build

# Dependencies before the code: a change of the code leaves these layers as they are.
FROM builder AS pipeline-dependencies
COPY requirements-team.lock .
RUN pip install --require-hashes -r requirements-team.lock

FROM builder AS serve-dependencies
COPY requirements-serve.lock .
RUN pip install --require-hashes -r requirements-serve.lock

FROM serve-dependencies AS wheel
COPY pyproject.toml setup.py README.md LICENSE ./
COPY sentiflow sentiflow
COPY tasks tasks
COPY flows flows
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /dist .

FROM base AS serve
COPY --from=serve-dependencies /opt/venv /opt/venv
RUN --mount=type=bind,from=wheel,source=/dist,target=/dist pip install --no-cache-dir --no-deps /dist/*.whl
USER sentiflow
EXPOSE 8000
# That it answers, not that there is a champion: the first training may be a week away.
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s --retries=6 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
CMD ["sentiflow", "serve", "--host", "0.0.0.0", "--port", "8000"]

FROM base AS pipeline
COPY --from=pipeline-dependencies /opt/venv /opt/venv
RUN --mount=type=bind,from=wheel,source=/dist,target=/dist pip install --no-cache-dir --no-deps /dist/*.whl
USER sentiflow
# Compiled code of the training core stays on the volume; a read-only container has no home to write to. Workers of
# Prefect and Dask find the packages flows and tasks by PYTHONPATH.
ENV NUMBA_CACHE_DIR=/data/numba \
    PYTHONPATH=/opt/venv/lib/python3.11/site-packages/sentiflow/bundled \
    PREFECT_HOME=/tmp/prefect \
    MPLCONFIGDIR=/tmp/matplotlib
# No server of its own: each service of docker-compose.yml has a check that fits it.
HEALTHCHECK NONE
CMD ["sentiflow", "--help"]
