# For the CPU: docker build .    With the CUDA libraries, which want an NVIDIA driver of 580 or newer and the container
# toolkit on the host: docker build --build-arg DEVICE=cuda .    DuckDB on the tables: docker build --target analyst .

# npm, which fetches what the viewer draws with.
FROM node:20.20.2-bookworm-slim AS node

FROM rust:1.95.0-slim-bookworm AS build
# Not named LIBTORCH: inside RUN it would be a variable that the build of tch takes for a folder.
ARG DEVICE=cpu
# RUSTUP_TOOLCHAIN: the image's own, without the components that rust-toolchain.toml adds for work on the code.
ENV RUSTUP_TOOLCHAIN=1.95.0 SPINESTREAM_CACHE=/cache
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ python3 python3-pip \
    && rm -rf /var/lib/apt/lists/*
COPY --from=node /usr/local/bin/node /usr/local/bin/node
COPY --from=node /usr/local/lib/node_modules/npm /usr/local/lib/node_modules/npm
RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm
WORKDIR /build
COPY . .
# Only /app leaves this stage: the binary, and libtorch where its run path (.cargo/config.toml) looks for it.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target,sharing=locked \
    --mount=type=cache,target=/cache \
    cargo xtask setup "--$DEVICE" \
    && test -s .niivue/niivue.umd.js \
    && cargo build --release --locked --bin spinestream \
    && mkdir -p /app/.libtorch /app/target/release \
    && cp -a .libtorch/. /app/.libtorch \
    && rm -rf /app/.libtorch/include /app/.libtorch/site/torch/include \
    && cp target/release/spinestream /app/target/release

FROM python:3.13.16-slim-bookworm AS analyst
# The versions that the tests read the tables with.
COPY xtask/test-python.txt /tmp/
RUN grep -E '^(duckdb|pyarrow)==' /tmp/test-python.txt > /tmp/analyst.txt \
    && pip install --no-cache-dir --requirement /tmp/analyst.txt \
    && useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin spine
WORKDIR /app
COPY conf conf
USER 10001:10001
ENTRYPOINT ["python3"]

FROM debian:bookworm-20260918-slim AS pipeline
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates libstdc++6 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin spine
COPY --from=build /app/.libtorch /app/.libtorch
COPY --from=build /app/target/release/spinestream /app/target/release/spinestream
WORKDIR /app
COPY LICENSE* ./
COPY models/weights/LICENSE models/weights/README.md models/weights/
COPY conf conf
# says by its exit code whether a container's work is through
COPY --chmod=755 deploy/through.sh deploy/
# As in .cargo/config.toml: idle OpenMP threads sleep.
ENV OMP_WAIT_POLICY=passive
USER 10001:10001
ENTRYPOINT ["/app/target/release/spinestream"]
