# The base is pinned by tag, not yet by digest: two builds on different days can differ.
FROM golang:1.26 AS build
WORKDIR /src

# Dependencies first: this layer changes only with them.
COPY go.mod go.sum ./
RUN go mod download

COPY . .
ARG VERSION=dev
# Without cgo the binary is static, so that it runs on an empty image.
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X tokenbroker/cli.version=$VERSION" -o /out/tokenbroker .
# For demo alone, which writes its made-up credentials to files.
RUN mkdir -m 1777 /out/tmp

# No shell, no package manager, no files but these.
FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/tmp /tmp
COPY --from=build /out/tokenbroker /tokenbroker

# Numbers, since there is no passwd file, and Kubernetes' runAsNonRoot cannot judge a name.
USER 65532:65532

# For Docker and Compose; Kubernetes ignores it and has probes.
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s CMD ["/tokenbroker", "healthcheck"]

ENTRYPOINT ["/tokenbroker"]
CMD ["serve"]
