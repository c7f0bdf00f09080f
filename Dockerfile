# syntax=docker/dockerfile:1

# Tags move. For a release, pin what they mean today by digest, here or with --build-arg:
#   docker buildx imagetools inspect docker.io/library/python:3.13-slim-trixie
#   BUILD_IMAGE=docker.io/library/python:3.13-slim-trixie@sha256:...
# Both have the Python that Debian 13 has, 3.13: what the first one compiles the second one runs.
ARG BUILD_IMAGE=docker.io/library/python:3.13-slim-trixie
ARG BASE_IMAGE=gcr.io/distroless/python3-debian13:nonroot

# On the machine that builds, whatever the image is for: wheels are only unpacked, so nothing is emulated.
FROM --platform=$BUILDPLATFORM ${BUILD_IMAGE} AS build
ARG TARGETARCH
ARG SOURCE_DATE_EPOCH=0
WORKDIR /src
COPY . .
RUN case "${TARGETARCH}" in \
      amd64) machine=x86_64 ;; \
      arm64) machine=aarch64 ;; \
      *) echo "no image for ${TARGETARCH}" >&2; exit 1 ;; \
    esac \
    && python deploy/image/install.py /out/opt/throttle-exporter --machine "${machine}" \
    && install -D -m 755 deploy/image/throttle-exporter /out/usr/local/bin/throttle-exporter \
    && find /out -exec touch --no-dereference --date="@${SOURCE_DATE_EPOCH}" {} +

# No shell, no package manager.
FROM ${BASE_IMAGE}
ARG VERSION=unknown
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="kube-throttle-exporter" \
      org.opencontainers.image.description="Prometheus exporter for CPU throttling and CPU isolation of Kubernetes containers" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="https://github.com/kube-throttle-exporter/kube-throttle-exporter" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
COPY --from=build /out /
# The root file system is read-only where the chart runs it: nothing may be left to be compiled or written.
# The Kubernetes client looks for a home directory when it is imported, which a user id without a name has none of.
ENV PYTHONPATH=/opt/throttle-exporter \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/
# A number, because a kubelet cannot tell whether a name is root.
USER 65532:65532
EXPOSE 9843
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/throttle-exporter"]
CMD ["serve"]
