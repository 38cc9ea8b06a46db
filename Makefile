# Two commands: `make demo` and `make test`. Each installs what it needs.
.PHONY: help setup setup-tpm build demo rig rig-pi test test-tpm check bench eval liveness world chaos load models fuzz fuzz-smoke sbom clean

help:
	@sed -n 's/^## \([a-z-]*\): /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

## setup: install what the workspace needs on Debian 12 or Ubuntu 24.04 (done by every other target)
setup:
	@cross/setup.sh

setup-tpm:
	@cross/install.sh swtpm=swtpm /usr/include/tss2/tss2_esys.h=libtss2-dev

## build: release binaries of the agent and the matcher
build: setup
	cargo build --release --locked -p didar-agent -p didar-matcher $(FEATURES)

## demo: the product's story on real faces, models, broker and matcher; pictures under target/demo
demo: build
	cargo build --release --locked -p didar-tests --bin demo
	target/release/demo $(ARGS)

## rig: the shipped agent in a virtual machine with a V4L2 camera, GPIO lines and a screen; target/rig/summary.json
rig: build
	cargo build --release --locked -p didar-tests --bin rig --bin rig-guest
	tests/rig/image.sh target/release/didar-agent target/release/rig-guest
	target/release/rig $(ARGS)

## rig-pi: the agent for aarch64 in QEMU's Raspberry Pi, its lamps switched by rppal; target/rig/pi/summary.json
rig-pi: setup
	tests/rig/pi.sh

## test: every test of the workspace
test: setup
	cargo test --locked --workspace
	$(MAKE) test-tpm

## test-tpm: the agent with its key in a TPM 2.0 (swtpm in the place of the chip)
test-tpm: setup setup-tpm
	cargo build --locked --workspace --bin didar-agent --bin didar-matcher --features didar-tests/tpm
	cargo test --locked --workspace --features didar-tests/tpm --test tpm

## check: format, lints, documentation, units, fuzz targets, licences, advisories
check: setup setup-tpm
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo clippy --locked --workspace --lib --features didar-agent/nokhwa,didar-agent/tpm -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps
	protocol/fuzz/smoke.sh 5
	for overlay in firmware-config/boot/*.dts; do dtc -@ -q -I dts -O dtb -o /dev/null $$overlay || exit 1; done
	systemd/verify.sh
	cross/sbom.py target/sbom
	cross/deny.sh

## bench: time per stage and ratios against the raw model invocations; target/bench/summary.json
bench: build
	@test -f target/demo/agent.json || $(MAKE) demo
	cargo build --release --locked -p didar-tests --bin bench
	target/release/bench

## eval: accuracy on the folder named by DIDAR_DATA; docs/accuracy.md, target/eval/verification.json
eval: setup
	cargo build --release --locked -p didar-tests --bin eval
	target/release/eval

## liveness: who passes the judge of liveness; docs/liveness-report.md, target/liveness/summary.json; TRIAL=DIR of didar-agent trial
liveness: setup
	cargo build --release --locked -p didar-tests --bin liveness
	target/release/liveness $(if $(TRIAL),--trial '$(TRIAL)')

## world: a million crashes and disconnections in simulation; target/chaos/summary.json; ARGS="--points N --seed S"
world: setup
	cargo build --release --locked -p didar-tests --bin world
	target/release/world $(ARGS)

## chaos: real processes in network namespaces, killed at random (root); target/chaos/summary.json; ARGS="--attempts N --kills N --seed S"
chaos: build
	@cross/install.sh ip=iproute2 tc=iproute2 ss=iproute2 '/usr/lib/*/faketime/libfaketime.so.1=faketime'
	cargo build --release --locked -p didar-tests --bin chaos
	target/release/chaos $(ARGS)

## load: a month's records, a thousand devices at once, the cost of a reconnect; target/load/summary.json
load: build
	cargo build --release --locked -p didar-tests --bin load
	target/release/load $(ARGS)

## models: make the models again from the packages and compare them with the manifest
models:
	models/build/make.sh

## sbom: what the shipped programs are made of (CycloneDX 1.5); target/sbom
sbom: setup
	cross/sbom.py target/sbom

## fuzz: every fuzz target for ten minutes
fuzz: setup
	protocol/fuzz/smoke.sh 600

## fuzz-smoke: every fuzz target for a few seconds
fuzz-smoke: setup
	protocol/fuzz/smoke.sh 20

## clean: everything that was built or fetched
clean:
	cargo clean
	rm -rf native
