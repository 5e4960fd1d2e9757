# Two stages: build with the toolchain; run with the binary, the C library it needs, the system's
# certificate authorities, and nothing else: no shell, no package manager.
#
#   docker build -t callseal .
#   docker run --read-only --cap-drop ALL -p 8443:8443 \
#     -v callseal-data:/data -v "$PWD/rules:/etc/callseal/rules:ro" \
#     -e STRIPE_SECRET callseal
FROM rust:1-bookworm AS build
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
COPY src src
COPY rules/providers rules/providers
# The test and bench targets must be there for the manifest to be read; they are not built.
RUN mkdir -p tests/it tests/fuzz benches \
 && touch tests/it/main.rs tests/fuzz/main.rs benches/callbacks.rs benches/verify.rs \
 && cargo build --release --locked --bin callseal
COPY certs/image.sh certs/container.toml certs/
RUN sh certs/image.sh target/release/callseal /image

FROM scratch
COPY --from=build --chown=65532:65532 /image /
USER 65532:65532
WORKDIR /etc/callseal
VOLUME ["/data"]
EXPOSE 8443
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 \
  CMD ["/usr/bin/callseal", "health"]
ENTRYPOINT ["/usr/bin/callseal"]
CMD ["serve"]
