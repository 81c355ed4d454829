# `make check` before every commit: it is what CI runs. The steps stand in .ci/run,
# so that CI and this file cannot drift apart.
.PHONY: check fmt lint test race cover fuzz cross bench

check: # everything
	.ci/run

fmt: # put the code into gofumpt's form
	go tool -modfile=tools/go.mod golangci-lint fmt

lint:
	.ci/run format vet lint

test:
	go test ./...

race:
	.ci/run race

cover: # and then: go tool cover -html=bin/coverage.out
	.ci/run race cover

fuzz: # longer: make fuzz FUZZTIME=1000000x
	.ci/run fuzz

cross:
	.ci/run cross

bench:
	go test -run '^$$' -bench . -benchmem ./...
