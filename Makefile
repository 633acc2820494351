# A thin front of CMake: everything is built in ./build.
#
#   make          builds                        make perf       times mem_alloc beside malloc/free
#   make run      sets up, builds, main job     make perf_2.0   times mem_alloc_2.0 beside malloc/free
#   make test     sets up, builds, tests        make fuzz       fuzzes until stopped
#   make setup    installs what is missing      make stress     random threads at full speed
#   make bench    allocators side by side       make setup-bench  installs those to compare with
#   make clean    removes all builds            make install    installs under PREFIX (/usr/local)
#   make package  .deb and .tar.gz, build/packages  make setup-extras  installs gdb and chromium, for some tests
#   make coverage  lines of the allocators that the corpus covers, with pages in build-coverage/coverage
#   make nightly BUDGET=10m  all of it, once            make soak TIME=1h   the same things for long, watched
#   make fuzz-afl TIME=60s  fuzzes with AFL++           make setup-afl      installs AFL++
#   make aarch64  builds for 64-bit ARM, tests in qemu  make setup-aarch64  installs what that needs

.NOTPARALLEL:
.PHONY: all build setup setup-bench setup-extras setup-afl setup-aarch64 run test perf perf_2.0 bench fuzz fuzz-afl \
	stress aarch64 coverage nightly soak clean format tidy install package

BUILD = build
PREFIX = /usr/local
TIME = 60s
BUDGET = 10m
NIGHTLY =

all: build

# Nothing is installed here: what is missing is named in one line.
build:
	@sh cmake/setup.sh --check
	@sh cmake/build.sh $(BUILD)

setup:
	@sh cmake/setup.sh

setup-bench:
	@sh cmake/setup.sh --bench

setup-extras:
	@sh cmake/setup.sh --extras

setup-afl:
	@sh cmake/setup.sh --afl

setup-aarch64:
	@sh cmake/setup.sh --aarch64

run: setup build
	@sh cli/run.sh $(BUILD)

test: setup build
	@cd $(BUILD) && ctest -j2 --output-on-failure --no-label-summary

perf: build
	@sh bench/perf.sh $(BUILD) mem_alloc

perf_2.0: build
	@sh bench/perf.sh $(BUILD) mem_alloc_2.0

bench: build
	@$(BUILD)/bin/heapstorm bench --plot $(BUILD)/bench --json $(BUILD)/bench.json

fuzz: build
	@$(BUILD)/bin/heapstorm fuzz mem_alloc_2.0

fuzz-afl:
	@sh fuzz/afl.sh --time $(TIME)

nightly: build
	@python3 tests/nightly/nightly.py --build $(BUILD) --budget $(BUDGET) $(NIGHTLY)

soak: build
	@python3 tests/soak/soak.py --build $(BUILD) --time $(TIME)

coverage:
	@sh tests/coverage/run.sh

aarch64:
	@sh tests/aarch64/run.sh

stress: build
	@$(BUILD)/bin/heapstorm stress mem_alloc_2.0

install: build
	@cmake --install $(BUILD) --prefix "$(PREFIX)"

package: build
	@cd $(BUILD) && cpack

format:
	@git ls-files '*.[ch]' | xargs clang-format-19 -i

tidy: build
	@git ls-files 'alloc/*.c' 'harness/*.c' 'fuzz/*.c' 'cli/*.c' 'bench/*.c' | xargs clang-tidy-19 -p $(BUILD) --quiet

clean:
	@rm -rf build build-asan build-tsan build-fuzz build-coverage build-gcc build-aarch64
