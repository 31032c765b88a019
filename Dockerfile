# Chain-of-Zoom in a container: docker build -t coz . && docker run --rm --user "$(id -u)" -v "$PWD:/data" coz zoom photo.jpg --zoom 64
# With torch, for the paper's stack on a GPU: docker build --target cuda -t coz:cuda . && docker run --gpus all ...
# To pin the base, name it by its hash: --build-arg BASE=python:3.13-slim@sha256:...
ARG BASE=python:3.13-slim

# hadolint ignore=DL3006 # the base is named above
FROM ${BASE} AS build
ARG EXTRAS=c2pa,fast,heif,remote,video,web
WORKDIR /src
COPY pyproject.toml README.md LICENSE NOTICE constraints.txt ./
COPY src src
RUN python3 -m venv /opt/coz && /opt/coz/bin/pip install --no-cache-dir -c constraints.txt ".[${EXTRAS}]"

FROM build AS build-cuda
RUN /opt/coz/bin/pip install --no-cache-dir -c constraints.txt ".[diffusion]"

# hadolint ignore=DL3006
FROM ${BASE} AS runtime
RUN useradd --create-home --uid 1000 coz && install -d -o coz -g coz /data
ENV PATH=/opt/coz/bin:$PATH XDG_CACHE_HOME=/data/.cache HF_HOME=/data/.cache/huggingface
USER 1000
WORKDIR /data
VOLUME /data
EXPOSE 8642
ENTRYPOINT ["coz"]
CMD ["--help"]

FROM runtime AS cuda
COPY --from=build-cuda /opt/coz /opt/coz

# The last one is what `docker build .` makes.
FROM runtime AS cpu
COPY --from=build /opt/coz /opt/coz
