# pgvigil. Targets: deps, all (default), run, test, bench, lint, install, clean; see README.md.
#
# B is the build folder, SAN=1 builds with ASan and UBSan; everything of a build is below $(B).

B ?= build
SAN ?= 0
ifeq ($(origin CC),default)
CC := gcc
endif
V ?= 0
ifeq ($(V),0)
Q := @
say = @echo "  $(1)"
endif
PREFIX ?= /usr/local
DESTDIR ?=
PYTHON ?= /usr/bin/python3
WERROR ?= -Werror

VERSION := $(shell sed -n 's/^\#define PGVIGIL_VERSION "\(.*\)"/\1/p' include/pgvigil/cli/cli.h)

# Folders from the highest layer to the lowest (DESIGN: a file uses only lower layers).
FOLDERS := cli serve notify rules collect gate pg promql store model base
LAYER_base := 0
LAYER_model := 1
LAYER_store := 2
LAYER_promql := 2
LAYER_pg := 2
LAYER_gate := 3
LAYER_collect := 3
LAYER_rules := 3
LAYER_notify := 4
LAYER_serve := 5
LAYER_cli := 6

PACKAGES := libpq libcurl yaml-0.1 libmicrohttpd sqlite3 libuv libpcre2-8 jansson zlib
LIBS = $(shell pkg-config --libs $(PACKAGES)) -lpthread -lm

WARN := -Wall -Wextra $(WERROR) -Wshadow -Wformat=2 -Wstrict-prototypes -Wmissing-prototypes \
	-Wold-style-definition -Wvla -Walloca -Wpointer-arith -Wcast-qual -Wwrite-strings -Wundef \
	-Werror=format-security
ifneq ($(findstring clang,$(CC)),)
INIT_ZERO :=
else
# clang does not take uthash's hash macro for what it is: falls through on purpose
WARN += -Wimplicit-fallthrough
INIT_ZERO := -ftrivial-auto-var-init=zero
endif
ifeq ($(SAN),1)
MODE := -O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
MODE_LD := -fsanitize=address,undefined
else ifeq ($(SAN),tsan)
MODE := -O1 -fsanitize=thread -fno-omit-frame-pointer
MODE_LD := -fsanitize=thread
else
MODE := -O2 -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 -fstack-protector-strong \
	-fstack-clash-protection -fcf-protection $(INIT_ZERO)
MODE_LD :=
endif
CFLAGS ?= -g
ALL_CFLAGS = -std=gnu11 $(CFLAGS) $(MODE) $(WARN) -D_GNU_SOURCE -fno-common -fPIE -ffp-contract=off \
	-Iinclude -I$(B)/gen $(shell pkg-config --cflags $(PACKAGES))
ALL_LDFLAGS = $(LDFLAGS) $(MODE_LD) -pie -Wl,-z,relro,-z,now,-z,noexecstack -Wl,--as-needed

.DEFAULT_GOAL := all
.PHONY: all unit FORCE clean
.SECONDARY:

# ---- objects, one archive per folder, the binary ----
objs = $(patsubst agent/%.c,$(B)/obj/%.o,$(wildcard agent/$(1)/*.c))
DEPS_FILES := $(foreach f,$(FOLDERS),$(patsubst %.o,%.d,$(call objs,$(f)))) $(B)/obj/app.d $(B)/obj/app_self.d $(B)/obj/app_show.d $(B)/obj/app_once.d $(B)/obj/app_rules.d $(B)/obj/main.d

$(B)/obj/%.o: agent/%.c Makefile
	@mkdir -p $(@D)
	$(call say,CC $<)
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c $< -o $@

# Assets of the page become C strings.
$(B)/gen/%_css.h: agent/serve/web/%.css
	@mkdir -p $(@D)
	$(Q)sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/^/"/' -e 's/$$/\\n"/' $< > $@
$(B)/obj/serve/page.o: $(B)/gen/style_css.h

define folder_rules
$(B)/lib/$(1).a: $$(call objs,$(1))
	@mkdir -p $$(@D)
	@rm -f $$@
	$$(Q)ar rcsD $$@ $$^
endef
$(foreach f,$(FOLDERS),$(eval $(call folder_rules,$(f))))

ARCHIVES := $(foreach f,$(FOLDERS),$(B)/lib/$(f).a)

$(B)/pgvigil: $(B)/obj/main.o $(B)/obj/app.o $(B)/obj/app_self.o $(B)/obj/app_show.o $(B)/obj/app_once.o $(B)/obj/app_rules.o $(ARCHIVES)
	$(call say,LD $@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

all: $(B)/pgvigil

# ---- unit tests: tests/unit/<folder>/test_x.c links its folder and lower layers only ----
lower = $(foreach f,$(FOLDERS),$(if $(filter 1,$(shell [ $(LAYER_$(f)) -lt $(LAYER_$(1)) ] && echo 1)),$(f)))
define unit_rules
UNIT_$(1) := $$(patsubst tests/unit/%.c,$(B)/tests/%,$$(wildcard tests/unit/$(1)/test_*.c))
$$(UNIT_$(1)): $(B)/tests/%: tests/unit/%.c $(B)/lib/$(1).a $(foreach l,$(call lower,$(1)),$(B)/lib/$(l).a) $$(wildcard tests/unit/$(1)/*.h) $$(wildcard tests/unit/*.h)
	@mkdir -p $$(@D)
	$$(call say,TEST $$<)
	$$(Q)$$(CC) $$(ALL_CFLAGS) -I. -Itests/unit -Wno-missing-prototypes -MMD -MP $$(ALL_LDFLAGS) -o $$@ $$< $(B)/lib/$(1).a \
		$(foreach l,$(call lower,$(1)),$(B)/lib/$(l).a) $$(LIBS) -lcmocka
DEPS_FILES += $$(addsuffix .d,$$(UNIT_$(1)))
.PHONY: unit-$(1)
unit-$(1): $$(UNIT_$(1))
	@for t in $$(UNIT_$(1)); do echo "== $$$$t"; $$$$t || exit 1; done
endef
$(foreach f,$(FOLDERS),$(eval $(call unit_rules,$(f))))

unit-build: $(foreach f,$(FOLDERS),$(UNIT_$(f)))
.PHONY: unit-build

-include $(DEPS_FILES)

clean:
	rm -rf build

include packaging/targets.mk
