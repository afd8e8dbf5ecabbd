# The image of Acequia. It holds two binaries: `acequia` (operator and command line) and `acequia-worker`.
#
# They are compiled on the host and copied: a stage with a Rust toolchain would need an image of one, which can't be had
# without a container registry, and would compile everything again without the host's cache. `tests/cluster/image` does
# all of it; by hand, on the distribution that BASE is:
#
#   cargo build --release --workspace --bins
#   mkdir -p target/image && cp Dockerfile target/image
#   for binary in acequia acequia-worker; do strip -o target/image/$binary target/release/$binary; done
#   docker build --tag acequia:dev target/image
ARG BASE=debian:bookworm-slim
FROM ${BASE}
# The authorities that it trusts (and with them OpenSSL's libraries), and the time zones.
RUN dpkg -s ca-certificates tzdata >/dev/null 2>&1 \
    || { apt-get update && apt-get install -y --no-install-recommends ca-certificates tzdata && rm -rf /var/lib/apt/lists/* /var/cache/apt/*; }
COPY acequia acequia-worker /usr/local/bin/
# By number, so that Kubernetes can see that it isn't root. It writes nowhere: the root file system may be read-only.
USER 65532:65532
CMD ["acequia", "--help"]
