# gitopsd as one image: `serve`, `worker` and `migrate` are commands of the same program.
#
#   docker build --tag gitopsd .
#
# Everything that goes in is named by its digest or its hash: base images, Python packages
# (requirements/run.txt), the modules that kustomize is made from (tools/kustomize/go.sum).

FROM golang:1.26.6-bookworm@sha256:116d58cbd88c1297624acc6e967a060012422bacf9930927e23fb719189c6f36 AS kustomize
WORKDIR /src
COPY tools/kustomize/go.mod tools/kustomize/go.sum ./
ENV CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS=-mod=readonly
RUN version=$(go list -m -f '{{.Version}}' sigs.k8s.io/kustomize/kustomize/v5) \
    && go build -trimpath \
        -ldflags "-s -w -X sigs.k8s.io/kustomize/api/provenance.version=$version" \
        -o /out/kustomize sigs.k8s.io/kustomize/kustomize/v5

FROM python:3.13.15-slim-trixie@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b AS base

FROM base AS packages
RUN python -m venv /opt/gitopsd
WORKDIR /src
COPY requirements/run.txt requirements/build.txt requirements/
RUN /opt/gitopsd/bin/pip install --no-cache-dir --no-deps --only-binary :all: \
        --require-hashes -r requirements/run.txt \
    && python -m venv /opt/build \
    && /opt/build/bin/pip install --no-cache-dir --only-binary :all: \
        --require-hashes -r requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY gitopsd gitopsd
COPY manifests/ai-core manifests/ai-core
# The build's own tools stay behind; what is installed brings no installer with it.
RUN /opt/build/bin/python -m hatchling build -t wheel -d /src/dist \
    && /opt/gitopsd/bin/pip install --no-cache-dir --no-deps --no-index /src/dist/*.whl \
    && /opt/gitopsd/bin/pip uninstall --yes pip \
    && /opt/gitopsd/bin/python -m compileall -q /opt/gitopsd/lib

FROM base
# A number, so that `runAsNonRoot` can be checked; above 10000, so that it is nobody's on the host.
ARG USER_ID=65532
RUN groupadd --gid "$USER_ID" gitopsd \
    && useradd --uid "$USER_ID" --gid "$USER_ID" --no-create-home --home-dir /data \
        --shell /usr/sbin/nologin gitopsd \
    && install -d -o "$USER_ID" -g "$USER_ID" -m 0700 /data \
    && install -d -m 0755 /etc/gitopsd/config
COPY --from=kustomize /out/kustomize /usr/local/bin/kustomize
COPY --from=packages /opt/gitopsd /opt/gitopsd
ENV PATH=/opt/gitopsd/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    GITOPSD_CONFIG_DIR=/etc/gitopsd/config \
    GITOPSD_DATA_DIR=/data \
    GITOPSD_LISTEN=0.0.0.0:8080 \
    GITOPSD_METRICS_LISTEN=0.0.0.0:9090 \
    GITOPSD_RENDERER=/usr/local/bin/kustomize
USER 65532:65532
WORKDIR /data
VOLUME /data
EXPOSE 8080 9090
# `serve` takes no more requests on SIGTERM and lets steps under way report.
STOPSIGNAL SIGTERM
ENTRYPOINT ["gitopsd"]
CMD ["serve"]
