# SPDX-License-Identifier: GPL-2.0-or-later
# memlease. The two commands of a user: `make demo` and `make check`.

V ?= 0
Q := $(if $(filter 0,$(V)),@)
ifeq ($(origin CC),default)
CC := gcc
endif
BUILD ?= build
prefix ?= /usr/local
DESTDIR ?=

# The folders of host/, from the ground up; scripts/check-layers sees to the order.
LAYERS := $(filter-out module,$(shell sed -n 's|^host/\([a-z]*\).*|\1|p' scripts/layers))
LIBS := jansson sqlite3 libsystemd libseccomp libcap

PKG_CFLAGS := $(shell pkg-config --cflags $(LIBS))
PKG_LIBS := $(shell pkg-config --libs $(LIBS)) -lfdt
CFLAGS ?= -O2 -g
# What Debian builds its packages with, for what is installed: an overflow that gets past us
# meets a canary, addresses that are not known, tables that cannot be written to.
HARDEN_CFLAGS := -fPIE -fstack-protector-strong -Wformat -Werror=format-security \
	$(if $(filter x86_64-%,$(shell $(CC) -dumpmachine)),-fstack-clash-protection -fcf-protection) \
	$(if $(filter-out -O0,$(filter -O%,$(CFLAGS))),-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3)
HARDEN_LDFLAGS = -pie -Wl,-z,relro -Wl,-z,now
ML_CFLAGS = -std=gnu11 -Wall -Wextra -Werror -Wmissing-prototypes -Wstrict-prototypes \
	-D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -pthread -MMD -MP $(PKG_CFLAGS)
SAN_CFLAGS = -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all

# Objects are made anew when the flags change.
FLAGS := $(CC) $(CFLAGS) $(HARDEN_CFLAGS) $(ML_CFLAGS) $(SAN_CFLAGS)
ifneq ($(strip $(file <$(BUILD)/flags)),$(strip $(FLAGS)))
$(shell mkdir -p $(BUILD))
$(file >$(BUILD)/flags,$(FLAGS))
endif

LIB_SRCS := $(foreach l,$(filter-out daemon cli,$(LAYERS)),$(wildcard host/$l/*.c))
DAEMON_SRCS := $(wildcard host/daemon/*.c)
CLI_SRCS := $(wildcard host/cli/*.c)
HOST_SRCS := $(LIB_SRCS) $(DAEMON_SRCS) $(CLI_SRCS)
UNIT_SRCS := $(wildcard tests/unit/test_*.c)
SIM_SRCS := $(wildcard tests/sim/*.c)
EMBEDDED := host/meter/ledger.sql host/ctl/schema.json host/bill/plans.json

objs = $(patsubst %.c,$(BUILD)/$1/%.o,$2)
embeds = $(patsubst %,$(BUILD)/$1/%.o,$(wildcard $(EMBEDDED)))

.PHONY: all host guest guest-tool qemu
all: host guest guest-tool qemu
host: $(BUILD)/memleased $(BUILD)/memlease

guest:
	$(Q)scripts/build-guest

# Shows a tenant, inside the VM, what it has borrowed; needs nothing but libc.
guest-tool: $(BUILD)/memlease-guest
$(BUILD)/memlease-guest: guest/tools/memlease-guest.c $(BUILD)/flags
	@echo "  CC      $@"
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(HARDEN_CFLAGS) -std=gnu11 -Wall -Wextra -Werror $(HARDEN_LDFLAGS) -o $@ $<

qemu:
	$(Q)scripts/build-qemu

$(BUILD)/memleased: $(call objs,obj,$(DAEMON_SRCS) $(LIB_SRCS)) $(call embeds,obj)
	@echo "  LINK    $@"
	$(Q)$(CC) $(CFLAGS) $(HARDEN_LDFLAGS) -pthread -o $@ $^ $(PKG_LIBS)

# The daemon under ASan and UBSan, for tests that name it by MEMLEASED=.
$(BUILD)/san/memleased: $(call objs,san,$(DAEMON_SRCS) $(LIB_SRCS) tests/san/options.c) $(call embeds,san)
	@echo "  LINK    $@"
	$(Q)$(CC) $(SAN_CFLAGS) -pthread -o $@ $^ $(PKG_LIBS)

# The CLI knows only the control protocol: it links base/ and itself.
$(BUILD)/memlease: $(call objs,obj,$(CLI_SRCS) $(wildcard host/base/*.c))
	@echo "  LINK    $@"
	$(Q)$(CC) $(CFLAGS) $(HARDEN_LDFLAGS) -pthread -o $@ $^ $(PKG_LIBS)

$(BUILD)/obj/%.o: %.c $(BUILD)/flags
	@echo "  CC      $<"
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(HARDEN_CFLAGS) $(ML_CFLAGS) -c -o $@ $<

$(BUILD)/san/%.o: %.c $(BUILD)/flags
	@echo "  CC(san) $<"
	@mkdir -p $(@D)
	$(Q)$(CC) $(SAN_CFLAGS) $(ML_CFLAGS) -c -o $@ $<

# A text file becomes the NUL-terminated symbol ml_embedded_<name with _ for . and ->.
define embed_rule
$(BUILD)/$1/%.sql.o: %.sql
	$$(Q)scripts/embed $$< $$@ "$$(CC)"
$(BUILD)/$1/%.json.o: %.json
	$$(Q)scripts/embed $$< $$@ "$$(CC)"
endef
$(foreach kind,obj san fuzz/obj cov,$(eval $(call embed_rule,$(kind))))

# --- tests -------------------------------------------------------------------

UNIT_BINS := $(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(UNIT_SRCS))
# Pieces of the CLI that tests link: all but its main.
CLI_TESTABLE := $(filter-out host/cli/main.c,$(CLI_SRCS))
# Pieces of the daemon that tests link, likewise.
DAEMON_TESTABLE := $(filter-out host/daemon/main.c,$(DAEMON_SRCS))
SAN_LIB := $(BUILD)/san/libmemlease.a

# What several test programs share.
TEST_LIB_SRCS := $(wildcard tests/lib/*.c)
$(SAN_LIB): $(call objs,san,$(LIB_SRCS) $(CLI_TESTABLE) $(DAEMON_TESTABLE) $(TEST_LIB_SRCS)) $(call embeds,san)
	@rm -f $@
	$(Q)ar rcs $@ $^

$(BUILD)/unit/%: $(BUILD)/san/tests/unit/%.o $(SAN_LIB)
	@mkdir -p $(@D)
	$(Q)$(CC) $(SAN_CFLAGS) -pthread -o $@ $< $(SAN_LIB) $(PKG_LIBS) -lcmocka

$(BUILD)/sim/memlease-sim: $(call objs,san,$(SIM_SRCS)) $(SAN_LIB)
	@mkdir -p $(@D)
	$(Q)$(CC) $(SAN_CFLAGS) -pthread -o $@ $(call objs,san,$(SIM_SRCS)) $(SAN_LIB) $(PKG_LIBS)

POOL_SIM_SRCS := $(wildcard tests/sim/pool/*.c)
$(BUILD)/sim/pool-sim: $(call objs,san,$(POOL_SIM_SRCS)) $(SAN_LIB)
	@mkdir -p $(@D)
	$(Q)$(CC) $(SAN_CFLAGS) -pthread -o $@ $(call objs,san,$(POOL_SIM_SRCS)) $(SAN_LIB) $(PKG_LIBS)

# What several threads do at a time, under ThreadSanitizer, which cannot be had with the others.
# It does not see fences (-Wtsan): what is tested with it must order by atomic operations.
TSAN_CFLAGS = -O1 -g -fno-omit-frame-pointer -fsanitize=thread \
	$(if $(findstring clang,$(CC)),,-Wno-tsan)
TSAN_LIB_SRCS := $(wildcard host/base/*.c host/pool/*.c)
TSAN_BINS := $(patsubst tests/tsan/%.c,$(BUILD)/tsan/%,$(wildcard tests/tsan/test_*.c))

$(BUILD)/tsan/obj/%.o: %.c $(BUILD)/flags
	@echo "  CC(tsan) $<"
	@mkdir -p $(@D)
	$(Q)$(CC) $(TSAN_CFLAGS) $(ML_CFLAGS) -c -o $@ $<

$(BUILD)/tsan/test_%: $(BUILD)/tsan/obj/tests/tsan/test_%.o $(call objs,tsan/obj,$(TSAN_LIB_SRCS))
	$(Q)$(CC) $(TSAN_CFLAGS) -pthread -o $@ $^ $(PKG_LIBS) -lcmocka

# Fuzz targets: clang's libFuzzer, under ASan and UBSan. tests/fuzz/NAME.t runs one.
FUZZ_CC ?= clang
FUZZ_CFLAGS = -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
FUZZ_BINS := $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_LIB := $(BUILD)/fuzz/libmemlease.a

$(BUILD)/fuzz/obj/%.o: %.c $(BUILD)/flags
	@echo "  CC(fuzz) $<"
	@mkdir -p $(@D)
	$(Q)$(FUZZ_CC) $(FUZZ_CFLAGS) -fsanitize=fuzzer-no-link $(ML_CFLAGS) -c -o $@ $<

$(FUZZ_LIB): $(call objs,fuzz/obj,$(LIB_SRCS) $(TEST_LIB_SRCS)) $(call embeds,fuzz/obj)
	@rm -f $@
	$(Q)ar rcs $@ $^

$(BUILD)/fuzz/fuzz_%: $(BUILD)/fuzz/obj/tests/fuzz/fuzz_%.o $(FUZZ_LIB)
	$(Q)$(FUZZ_CC) $(FUZZ_CFLAGS) -fsanitize=fuzzer -pthread -o $@ $^ $(PKG_LIBS) -lcmocka

# Coverage: the unit tests and the simulations once more, for scripts/coverage.
# gcc 12 dies of its own printf warnings here; the other builds give them.
COV_CFLAGS = -O0 -g --coverage -fprofile-update=atomic -Wno-format-truncation -Wno-format-overflow
COV_LIB := $(BUILD)/cov/libmemlease.a
COV_BINS := $(patsubst tests/unit/%.c,$(BUILD)/cov/unit/%,$(UNIT_SRCS)) \
	$(BUILD)/cov/sim/memlease-sim $(BUILD)/cov/sim/pool-sim

$(BUILD)/cov/%.o: %.c
	@echo "  CC(cov) $<"
	@mkdir -p $(@D)
	$(Q)gcc $(COV_CFLAGS) $(ML_CFLAGS) -c -o $@ $<

$(COV_LIB): $(call objs,cov,$(LIB_SRCS) $(CLI_TESTABLE) $(DAEMON_TESTABLE) $(TEST_LIB_SRCS)) $(call embeds,cov)
	@rm -f $@
	$(Q)ar rcs $@ $^

$(BUILD)/cov/unit/%: $(BUILD)/cov/tests/unit/%.o $(COV_LIB)
	@mkdir -p $(@D)
	$(Q)gcc $(COV_CFLAGS) -pthread -o $@ $^ $(PKG_LIBS) -lcmocka

$(BUILD)/cov/sim/memlease-sim: $(call objs,cov,$(SIM_SRCS)) $(COV_LIB)
	@mkdir -p $(@D)
	$(Q)gcc $(COV_CFLAGS) -pthread -o $@ $^ $(PKG_LIBS)

$(BUILD)/cov/sim/pool-sim: $(call objs,cov,$(POOL_SIM_SRCS)) $(COV_LIB)
	@mkdir -p $(@D)
	$(Q)gcc $(COV_CFLAGS) -pthread -o $@ $^ $(PKG_LIBS)

# What scripts/check-layers looks at, to see who calls whom.
.PHONY: layer-objects
layer-objects: $(call objs,san,$(HOST_SRCS)) $(call embeds,san)

.PHONY: unit sim-bin tsan fuzz cov-bin check-bin
unit: $(UNIT_BINS)
sim-bin: $(BUILD)/sim/memlease-sim $(BUILD)/sim/pool-sim
tsan: $(TSAN_BINS)
fuzz: $(FUZZ_BINS)
cov-bin: $(COV_BINS)

# All that `make check` runs, and what the second compiler says; one make, so that no
# processor waits for the last file of a part.
check-bin: host guest-tool unit tsan sim-bin layer-objects fuzz clang
.PHONY: clang
clang:
	$(Q)$(MAKE) --no-print-directory CC=clang BUILD=$(BUILD)/clang host guest-tool

.PHONY: check check-fast check-long check-7 coverage demo soak
check:
	$(Q)scripts/check

check-fast:
	$(Q)scripts/check fast

check-long:
	$(Q)scripts/check long

check-7:
	$(Q)scripts/check 7

# Which lines of host/ the unit tests and simulations reach; into docs/testing.md.
coverage:
	$(Q)scripts/coverage

# For the night: 30 minutes, or SOAK_SECONDS.
soak:
	$(Q)scripts/check soak

demo:
	$(Q)scripts/demo

# What the daemon alone costs; not under sanitizers, for it measures.
$(BUILD)/bench/daemon_path: $(call objs,obj,tests/bench/daemon_path.c $(LIB_SRCS)) $(call embeds,obj)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(HARDEN_LDFLAGS) -pthread -o $@ $^ $(PKG_LIBS) -lcmocka

# Zeroing by the daemon's threads and by raw store loops, for tests/bench/zero.py.
$(BUILD)/bench/zero: $(call objs,obj,tests/bench/zero.c $(wildcard host/base/*.c host/pool/*.c))
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(HARDEN_LDFLAGS) -pthread -o $@ $^ $(PKG_LIBS)

# Getting and putting blocks, for tests/bench/pool.py.
$(BUILD)/bench/pool: $(call objs,obj,tests/bench/pool.c $(wildcard host/base/*.c host/pool/*.c))
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(HARDEN_LDFLAGS) -pthread -o $@ $^ $(PKG_LIBS)

.PHONY: bench-daemon
bench-daemon: $(BUILD)/bench/daemon_path
	$(Q)$<

# bench-elasticity, ...: see docs/benchmarks.md.
bench-%:
	$(Q)scripts/bench $*

# --- installing --------------------------------------------------------------

.PHONY: install
install: host guest-tool qemu
	install -d $(DESTDIR)$(prefix)/bin $(DESTDIR)$(prefix)/libexec/memlease \
		$(DESTDIR)$(prefix)/share/man/man1 $(DESTDIR)$(prefix)/share/man/man8 \
		$(DESTDIR)$(prefix)/share/memlease \
		$(DESTDIR)$(prefix)/share/bash-completion/completions \
		$(DESTDIR)$(prefix)/lib/systemd/system
	install $(BUILD)/memlease $(BUILD)/memleased $(BUILD)/memlease-guest $(DESTDIR)$(prefix)/bin
	install $$(scripts/build-qemu --print-path) $(DESTDIR)$(prefix)/libexec/memlease/qemu-system-x86_64
	install -m 644 docs/man/memlease.1 $(DESTDIR)$(prefix)/share/man/man1
	install -m 644 docs/man/memleased.8 docs/man/memlease-guest.8 $(DESTDIR)$(prefix)/share/man/man8
	install -m 644 host/bill/plans.json $(DESTDIR)$(prefix)/share/memlease/plans.json
	install -m 644 scripts/completion/memlease.bash \
		$(DESTDIR)$(prefix)/share/bash-completion/completions/memlease
	sed 's|@bindir@|$(prefix)/bin|' docs/systemd/memleased.service \
		>$(DESTDIR)$(prefix)/lib/systemd/system/memleased.service

.PHONY: clean
clean:
	rm -rf $(BUILD)

-include $(shell find $(BUILD) -path $(BUILD)/clang -prune -o -name '*.d' -print 2>/dev/null)
