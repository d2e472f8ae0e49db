# Targets around the build: deps, run, test, bench, lint, install. Included by the Makefile.

.PHONY: deps run test bench lint install fuzz fuzz-build fuzz-replay clang-check

CONFIG ?=
FUZZ_SECONDS ?= 60
# --quick, --minutes N, --only polls,memory,scrapes,alerts,fleet,promql
BENCH_ARGS ?=

# Packages that are missing, and nothing if none is.
deps:
	@packaging/deps.sh build run test

# The build is a second make: on a fresh machine pkg-config is there only after the packages are.
run:
	@packaging/deps.sh build run
	@$(MAKE) --no-print-directory all
	@exec $(PYTHON) tests/cluster/run.py --binary $(abspath $(B))/pgvigil \
		$(if $(CONFIG),--config "$(CONFIG)")

test:
	@packaging/deps.sh build run test
	@exec $(PYTHON) tests/run.py

bench:
	@packaging/deps.sh build run test bench
	@$(MAKE) --no-print-directory all $(B)/tests/promql_bench
	@PGVIGIL_BIN="$${PGVIGIL_BIN:-$(abspath $(B))/pgvigil}" exec $(PYTHON) tests/bench/run.py \
		$(BENCH_ARGS)

# ---- lint ----
C_FILES = $(shell find agent include tests -name '*.[ch]' | sort)
TIDY_FILES = $(shell find agent -name '*.c' | sort)
SH_FILES = $(shell find .ci packaging tests -type f | xargs grep -lE '^\#!/bin/(ba)?sh' | sort)
LINT_FLAGS = -std=gnu11 -D_GNU_SOURCE -Iinclude -I$(B)/gen -Itests/unit

# cppcheck reads no system headers, but must know the list macros; it takes what they iterate over
# for uninitialised, which the compilers and clang-tidy check better. It cannot parse variadic macros
# that call each other, and knows neither a guard by || nor a pointer to a local that is reset.
QUEUE_H = $(shell printf '\043include <sys/queue.h>' | $(CC) -M -x c - | tr ' ' '\n' | grep queue.h)

# The parts are targets of their own: `make -k lint` shows all findings, `make lint-tidy` one kind.
LINTS := lint-format lint-shell lint-layers lint-sizes lint-banned lint-cppcheck lint-tidy
.PHONY: $(LINTS)

lint:
	@packaging/deps.sh build test lint
	@$(MAKE) --no-print-directory $(LINTS)

lint-format:
	clang-format --dry-run -Werror $(C_FILES)

lint-shell:
	shellcheck $(SH_FILES)

lint-layers lint-sizes lint-banned: lint-%:
	$(PYTHON) tests/lint/$*.py

lint-cppcheck:
	cppcheck --quiet --error-exitcode=1 --inline-suppr --std=c11 --enable=warning,portability \
		--suppress=missingIncludeSystem --suppress=uninitvar --suppress=syntaxError \
		--suppress=internalAstError --suppress=autoVariables \
		--suppress=negativeIndex:agent/base/clock.c --include=$(QUEUE_H) \
		-D_GNU_SOURCE -D__linux__ -Iinclude agent

lint-tidy: $(patsubst agent/serve/web/%.css,$(B)/gen/%_css.h,$(wildcard agent/serve/web/*.css))
	@printf '%s\n' $(TIDY_FILES) | xargs -n 4 -P 2 sh -c \
		'clang-tidy --quiet "$$@" -- $(LINT_FLAGS) $(shell pkg-config --cflags $(PACKAGES))' tidy

# All C files under clang with our warnings as errors; nothing is linked.
clang-check:
	@$(MAKE) --no-print-directory CC=clang B=build/clang CLANG_CHECK=1 clang-objects
ifeq ($(CLANG_CHECK),1)
.PHONY: clang-objects
clang-objects: $(foreach f,$(FOLDERS),$(call objs,$(f))) \
	$(patsubst agent/%.c,$(B)/obj/%.o,$(wildcard agent/*.c))
endif

# ---- PromQL acceptance tests: promqltest FILE... ----
PROMQLTEST_SOURCES := $(sort $(wildcard tests/promqltest/*.c))

$(B)/tests/promqltest: $(PROMQLTEST_SOURCES) $(wildcard tests/promqltest/*.h) \
		tests/unit/promql/mem_reader.h $(wildcard agent/promql/*.h) \
		$(foreach f,promql model base,$(B)/lib/$(f).a)
	@mkdir -p $(@D)
	$(call say,LD $@)
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $(filter %.c,$^) $(filter %.a,$^) $(LIBS)

# ---- the query engine's part of bench ----
$(B)/tests/promql_bench: tests/bench/promql_bench.c tests/unit/promql/mem_reader.h $(ARCHIVES)
	@mkdir -p $(@D)
	$(call say,LD $@)
	$(Q)$(CC) $(ALL_CFLAGS) -Itests/unit $(ALL_LDFLAGS) -o $@ $< $(ARCHIVES) $(LIBS)

# ---- fuzzing: tests/fuzz/fuzz_x.c, seeds in tests/fuzz/seeds/x/, dictionary tests/fuzz/x.dict ----
# The same file is a libFuzzer target under clang and, with replay_main.c, a plain program that
# takes the seeds as arguments.
FUZZ_NAMES := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_MAIN := tests/fuzz/replay_main.c

$(B)/fuzz/fuzz_%: tests/fuzz/fuzz_%.c $(FUZZ_MAIN) $(wildcard tests/fuzz/*.h) $(ARCHIVES)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -Itests/fuzz -Wno-missing-prototypes $(ALL_LDFLAGS) $(FUZZ_LD) -o $@ $< \
		$(FUZZ_MAIN) $(ARCHIVES) $(LIBS)

fuzz-build: $(FUZZ_NAMES:%=$(B)/fuzz/fuzz_%)

fuzz-replay:
	@$(MAKE) --no-print-directory B=build/san SAN=1 fuzz-build
	@set -e; for n in $(FUZZ_NAMES); do \
		find tests/fuzz/seeds/$$n -type f 2>/dev/null | sort | xargs build/san/fuzz/fuzz_$$n; done

fuzz:
	@packaging/deps.sh build test
	@$(MAKE) --no-print-directory CC=clang B=build/fuzz SAN=1 CFLAGS="-g -fsanitize=fuzzer-no-link" \
		FUZZ_MAIN= FUZZ_LD=-fsanitize=fuzzer fuzz-build
	@set -e; for n in $(FUZZ_NAMES); do \
		mkdir -p build/fuzz/corpus/$$n tests/fuzz/seeds/$$n; \
		dict=; [ ! -f tests/fuzz/$$n.dict ] || dict=-dict=tests/fuzz/$$n.dict; \
		echo "== $$n"; \
		build/fuzz/fuzz/fuzz_$$n -max_total_time=$(FUZZ_SECONDS) -timeout=5 -rss_limit_mb=1024 \
			-artifact_prefix=build/fuzz/$$n- $$dict build/fuzz/corpus/$$n tests/fuzz/seeds/$$n; done

# ---- install ----
SHARE = $(DESTDIR)$(PREFIX)/share

install: all
	install -D -m 0755 $(B)/pgvigil $(DESTDIR)$(PREFIX)/bin/pgvigil
	install -d $(SHARE)/pgvigil/rules $(SHARE)/pgvigil/dashboards $(SHARE)/doc/pgvigil
	install -m 0644 $(wildcard rules/*.yml) $(SHARE)/pgvigil/rules
	install -m 0644 $(wildcard dashboards/*.json) $(SHARE)/pgvigil/dashboards
	install -m 0644 $(wildcard LICENSE README.md CHANGELOG.md) $(SHARE)/doc/pgvigil
