# SPDX-License-Identifier: Apache-2.0
# cubby's only Makefile. `make help` explains the targets; folders with assets of their own add a rules.mk.
#
#   V=1                       show the commands
#   CC=clang                  another compiler (objects go to build/clang)
#   SAN=address,undefined     sanitizers (objects go to build/gcc-address-undefined)

MAKEFLAGS += --no-builtin-rules --no-print-directory
.DELETE_ON_ERROR:
.SUFFIXES:
SHELL := /bin/bash

ifeq ($(origin CC),default)
CC := gcc
endif
comma := ,
VERSION := 0.1.0
PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
DESTDIR ?=
SAN ?=

# What users get is in build/; other compilers and sanitizers have a folder below it.
ifeq ($(CC)$(SAN),gcc)
B := build
else
B := build/$(notdir $(CC))$(if $(SAN),-$(subst $(comma),-,$(SAN)))
endif

ifeq ($(V),1)
Q :=
say = @:
else
Q := @
say = @printf '  %-7s %s\n' '$(1)' '$(2)'
endif

WARN := -Wall -Wextra -Wshadow -Wconversion -Wvla -Wstrict-prototypes -Wmissing-prototypes -Werror
CPPFLAGS_ALL := -I. -Iinclude -D_GNU_SOURCE -DCUBBY_VERSION='"$(VERSION)"' -DCUBBY_LIBDIR='"$(LIBDIR)"'
CFLAGS_ALL := -std=gnu11 $(WARN) -g -fno-common -fstack-protector-strong -fvisibility=hidden -MMD -MP
LDFLAGS_ALL := -pie -Wl,-z,relro,-z,now
ifeq ($(SAN),)
CFLAGS_ALL += -O2 -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
VMM_STATIC := -static-pie
else
CFLAGS_ALL += -O1 -fno-omit-frame-pointer -fsanitize=$(SAN) -fno-sanitize-recover=all
LDFLAGS_ALL += -fsanitize=$(SAN)
# gcc's guess of how long a string is goes astray in instrumented code.
ifeq ($(CC),gcc)
CFLAGS_ALL += -Wno-format-truncation
endif
VMM_STATIC :=
endif

# --- Layers: each folder is one static library, and may use those to its right (tools/check-layers holds them). ---
LAYERS := base proto virtio vmm guest-init oci runtime cli
srcs = $(filter-out %/main.c,$(wildcard $(1)/*.c $(1)/arch/x86/*.c))
objs = $(patsubst %.c,$(B)/obj/%.o,$(call srcs,$(1)))
lib = $(B)/lib/$(1).a

# What libcubby is made of is position independent in the way of shared libraries; programs take the same objects.
LIBRARY_LAYERS := base proto oci runtime
PIC = $(if $(filter $(LIBRARY_LAYERS) lazy,$(1)),-fPIC,-fPIE)

USES_base :=
USES_proto := base
USES_virtio := base
USES_vmm := virtio proto base
USES_guest-init := proto base
USES_oci := base
USES_runtime := oci proto base
USES_cli := runtime oci proto base
SYS_base :=
SYS_proto :=
SYS_virtio :=
SYS_vmm := -lfdt -ljansson -lseccomp
SYS_guest-init :=
SYS_oci := -lcurl -larchive -lz -lzstd -lext2fs -lcom_err -ljansson -lcrypto
SYS_runtime := -ljansson $(SYS_oci)
SYS_cli := $(SYS_runtime)
libs = $(foreach l,$(1) $(USES_$(1)),$(call lib,$(l))) $(SYS_$(1)) -lpthread

PROGRAMS := $(B)/cubby-vmm $(B)/cubby
LIBRARY := $(B)/libcubby.so.1 $(B)/libcubby.so $(B)/libcubby.a

.PHONY: help
help: ## what the targets are
	@echo 'cubby $(VERSION): a command in a throw-away virtual machine. Targets:'
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | sort -u | column -t -s'|'
	@echo 'Variables: V=1, CC=clang, SAN=address,undefined|thread, PREFIX=/usr/local, LIBDIR=, DESTDIR='

$(B)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) $(call PIC,$(firstword $(subst /, ,$<))) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

# Compiled again when another folder is chosen: `make install PREFIX=/usr` after `make`.
$(B)/obj/runtime/assets.o: $(B)/obj/libdir
.PHONY: FORCE
$(B)/obj/libdir: FORCE
	@mkdir -p $(@D) && echo '$(LIBDIR)' | cmp -s - $@ || echo '$(LIBDIR)' >$@

define layer_rule
$(call lib,$(1)): $(call objs,$(1))
	@mkdir -p $$(@D)
	$$(call say,AR,$$@)
	$$(Q)rm -f $$@ && ar rcs $$@ $$^
endef
$(foreach l,$(LAYERS),$(eval $(call layer_rule,$(l))))

# The VMM is static: it runs in an empty root, and starts without a dynamic linker.
$(B)/cubby-vmm: $(B)/obj/vmm/main.o $(foreach l,vmm $(USES_vmm),$(call lib,$(l)))
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS_ALL) $(VMM_STATIC) $(LDFLAGS) -o $@ $< $(call libs,vmm)

# libcurl and libarchive come with 38 libraries more, whose loading takes longer than all else before a VM is asked for:
# cubby is linked with stubs, which load them at the first call (base/lazy.h). Sanitizers want to see libraries at the start.
ifeq ($(SAN),)
LAZY := curl archive
endif
LAZY_OBJS := $(LAZY:%=$(B)/obj/lazy/%.o)
.SECONDARY: $(LAZY_OBJS:.o=.S)
$(B)/obj/lazy/%.S: tools/arch/x86/lazy-stubs $(call lib,oci)
	@mkdir -p $(@D)
	$(call say,STUBS,$@)
	$(Q)tools/arch/x86/lazy-stubs $$($(CC) -print-file-name=lib$*.so) $(call lib,oci) >$@
$(B)/obj/lazy/%.o: $(B)/obj/lazy/%.S
	$(Q)$(CC) -c -o $@ $<

$(B)/cubby: $(B)/obj/cli/main.o $(LAZY_OBJS) $(foreach l,cli $(USES_cli),$(call lib,$(l)))
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS_ALL) $(LDFLAGS) -o $@ $< $(filter-out $(LAZY:%=-l%),$(call libs,cli)) $(LAZY_OBJS) $(call lib,base)

# --- libcubby, shared and static: the same objects, of which only the header's functions can be seen from outside. ---
LIBRARY_PARTS := $(foreach l,runtime $(USES_runtime),$(call lib,$(l)))
LIBRARY_SYS = $(filter-out $(LAZY:%=-l%),$(SYS_runtime)) -lpthread
LIBRARY_LINK = -Wl,--whole-archive $(call lib,runtime) -Wl,--no-whole-archive $(LAZY_OBJS) \
  $(filter-out $(call lib,runtime),$(LIBRARY_PARTS))
$(B)/libcubby.so.1: runtime/libcubby.map $(LAZY_OBJS) $(LIBRARY_PARTS)
	$(call say,LD,$@)
	$(Q)$(CC) -shared $(filter-out -pie,$(LDFLAGS_ALL)) $(if $(SAN),,-Wl$(comma)-z$(comma)defs) -Wl,-soname,$(@F) \
	  -Wl,--version-script,$< $(LDFLAGS) -o $@ $(LIBRARY_LINK) $(LIBRARY_SYS)
$(B)/libcubby.so: $(B)/libcubby.so.1
	$(Q)ln -sf $(<F) $@
$(B)/libcubby.a: $(LAZY_OBJS) $(LIBRARY_PARTS)
	$(call say,AR,$@)
	$(Q)$(CC) -r -nostdlib -o $(B)/obj/libcubby.o $(LIBRARY_LINK)
	$(Q)objcopy --localize-hidden $(B)/obj/libcubby.o
	$(Q)rm -f $@ && ar rcs $@ $(B)/obj/libcubby.o

.PHONY: programs
programs: $(PROGRAMS) $(LIBRARY)

# --- Examples: compiled as somebody else's programs are, with the header and the shared library only. ---
EXAMPLES := $(patsubst %.c,$(B)/%,$(wildcard examples/*.c examples/tutorial/*.c))
$(B)/examples/%: examples/%.c include/cubby.h $(B)/libcubby.so
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) -std=gnu11 -Wall -Wextra -Wpedantic -Werror -Iinclude $(CFLAGS) -o $@ $< -L$(B) -lcubby -Wl,-rpath,'$$ORIGIN/..:$$ORIGIN/../..'

.PHONY: examples
examples: $(EXAMPLES) ## the programs of examples/, in build/examples

# --- Unit tests: tests/<layer>/test_*.c, each a program of its own with the layer's library. ---
TESTS_SRC := $(foreach l,$(LAYERS),$(wildcard tests/$(l)/test_*.c))
TESTS := $(patsubst %.c,$(B)/%,$(TESTS_SRC))
test_layer = $(word 2,$(subst /, ,$(1)))
# The runtime is tested with the real agent behind a VMM's socket.
TESTED_WITH_runtime := guest-init
define test_rule
$(B)/$(1): $(B)/obj/$(1).o $$(foreach l,$(2) $$(TESTED_WITH_$(2)) $$(USES_$(2)),$$(call lib,$$(l)))
	@mkdir -p $$(@D)
	$$(call say,LD,$$@)
	$$(Q)$$(CC) $$(LDFLAGS_ALL) $$(LDFLAGS) -o $$@ $$< $$(TESTED_WITH_$(2):%=$$(call lib,%)) $$(call libs,$(2)) -lcmocka
endef
$(foreach t,$(basename $(TESTS_SRC)),$(eval $(call test_rule,$(t),$(call test_layer,$(t)))))

.PHONY: tests
tests: $(TESTS)

# --- Fuzz targets: tests/fuzz/<layer>__<name>.c (clang), corpus in tests/fuzz/corpus/<layer>__<name>/. ---
FUZZ_SRC := $(wildcard tests/fuzz/*__*.c)
FUZZERS := $(patsubst %.c,$(B)/%,$(FUZZ_SRC))
fuzz_layer = $(firstword $(subst __, ,$(notdir $(1))))
define fuzz_rule
$(B)/$(1): $(B)/obj/$(1).o $$(foreach l,$(2) $$(USES_$(2)),$$(call lib,$$(l)))
	@mkdir -p $$(@D)
	$$(call say,LD,$$@)
	$$(Q)$$(CC) $$(LDFLAGS_ALL) -fsanitize=fuzzer -o $$@ $$< $$(call libs,$(2))
endef
$(foreach t,$(basename $(FUZZ_SRC)),$(eval $(call fuzz_rule,$(t),$(call fuzz_layer,$(t)))))

.PHONY: fuzzers
fuzzers: $(FUZZERS)

# --- Programs that need a working KVM, run in the lab: tests/kvm/test_*.c, guests without Linux, with the VMM's library;
# tests/lab/test_*.c, boxes, with libcubby. Their rule is that of the unit tests. ---
KVM_TESTS_SRC := $(wildcard tests/kvm/test_*.c)
BOX_TESTS_SRC := $(wildcard tests/lab/test_*.c)
KVM_TESTS := $(patsubst %.c,$(B)/%,$(KVM_TESTS_SRC) $(BOX_TESTS_SRC))
$(foreach t,$(basename $(KVM_TESTS_SRC)),$(eval $(call test_rule,$(t),vmm)))
$(foreach t,$(basename $(BOX_TESTS_SRC)),$(eval $(call test_rule,$(t),runtime)))

# --- What tests/check asks for. ---
NATIVE_TESTS := $(filter-out tests/lab/% tests/lab-run/%,$(wildcard tests/*/*.sh))
LAB_HOST_TESTS := $(wildcard tests/lab-run/*.sh)
LAB_TESTS := $(KVM_TESTS) $(filter-out tests/lab/lib.sh,$(wildcard tests/lab/*.sh))
# Tests with threads, for ThreadSanitizer: gcc's takes the runtime's, clang's all others. gcc's knows no fences, and
# clang 14's fails a check of its own in clone(2) with CLONE_VM, which posix_spawn(3) calls.
THREADED := $(basename $(shell grep -l pthread_create $(TESTS_SRC) /dev/null))
THREAD_TESTS := $(addprefix $(B)/,$(if $(filter gcc,$(CC)),$(filter tests/runtime/%,$(THREADED)),$(filter-out tests/runtime/%,$(THREADED))))
print-%:
	@echo $($*)

# The program of a script in the lab, over the library.
$(B)/tests/lab/files: $(B)/obj/tests/lab/files.o $(foreach l,runtime $(USES_runtime),$(call lib,$(l)))
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS_ALL) $(LDFLAGS) -o $@ $< $(call libs,runtime) -lcmocka

.PHONY: all assets deps check demo bench fuzz lint fmt install uninstall
ASSETS := build/vmlinux build/initrd.cpio build/default.ext4
assets: $(ASSETS)
all: ## programs, kernel, init and default image, in build/
	@$(MAKE) programs assets
deps: ## install what building and testing needs (apt; sudo when not root)
	$(Q)tools/deps

check: deps ## all tests; ends with "N passed, N failed, N skipped"
	+$(Q)$(MAKE) -j$(shell nproc) programs examples assets wheel tests lab $(KVM_TESTS) build/tests/lab/files build/mkrootfs build/merge-layers
	-+$(Q)$(MAKE) python-registry
	+$(Q)tests/check $(STAGES)

demo: deps ## build everything and run a command in a virtual machine of its own
	+$(Q)$(MAKE) -j$(shell nproc) programs assets lab
	$(Q)tools/demo

bench: all lab ## boots beside QEMU microvm, executions beside fork and execve, merges beside tar; writes build/bench/
	$(Q)tests/bench/run
	+$(Q)$(MAKE) bench-exec build/merge-layers && tests/bench/run exec && tests/bench/merge

SECONDS ?= 60
fuzz: ## run each fuzz target for SECONDS=60; new inputs stay in build/fuzz/
	+$(Q)$(MAKE) CC=clang SAN=address,undefined,fuzzer-no-link fuzzers
	$(Q)for t in $$($(MAKE) -s print-FUZZERS CC=clang SAN=address,undefined,fuzzer-no-link); do n=$${t##*/}; \
	  mkdir -p build/fuzz/$$n; echo "== $$n"; \
	  $$t -max_total_time=$(SECONDS) -print_final_stats=1 build/fuzz/$$n tests/fuzz/corpus/$$n || exit 1; done

# --- Formatting and lint; each line below is one test of `make check`. ---
C_FILES = $(shell git ls-files '*.c' '*.h')
SH_FILES = $(shell git ls-files | xargs grep -lE '^\#!/bin/(ba)?sh')
MAN_FILES = $(wildcard docs/man/*.[1-8])
TIDY_FILES = $(addprefix tidy/,$(filter-out tests/%,$(filter %.c,$(C_FILES))))
STEP = tests/run $(if $(RESULTS),--results $(RESULTS)) --step
lint: lint-results ## formatting, layers, clang-tidy, cppcheck, shellcheck, man pages, Python
.PHONY: lint-results lint-format lint-layers lint-shell lint-cppcheck lint-tidy lint-man lint-python
lint-results: lint-format lint-layers lint-shell lint-cppcheck lint-tidy lint-man lint-python
lint-format:
	$(Q)$(STEP) 'clang-format finds nothing to change' -- clang-format --dry-run --Werror $(C_FILES)
lint-layers:
	$(Q)$(STEP) 'the layers hold' -- tools/check-layers
lint-shell:
	$(Q)$(STEP) 'shellcheck' -- shellcheck -x $(SH_FILES)
lint-cppcheck:
	$(Q)$(STEP) 'cppcheck' -- cppcheck -q --std=c11 --error-exitcode=1 --inline-suppr --enable=warning,portability \
	  --suppressions-list=tools/cppcheck.suppress -I. -Iinclude -D__x86_64__ $(filter-out tests/%,$(filter %.c,$(C_FILES)))
lint-man:
	$(Q)$(STEP) 'man pages' -- mandoc -T lint -W warning $(MAN_FILES)
lint-python:
	$(Q)$(STEP) 'the types of the Python package hold' -- \
	  /usr/bin/python3 -m mypy --strict --python-version 3.9 --cache-dir build/mypy bindings/python/cubby
	$(Q)$(STEP) 'pyflakes' -- /usr/bin/python3 -m pyflakes bindings/python tests/python
lint-tidy:
	$(Q)tests/run --deadline 1800 $(if $(RESULTS),--results $(RESULTS)) --step 'clang-tidy' -- \
	  env -u MAKEFLAGS -u MFLAGS $(MAKE) -k -j$(shell nproc) --output-sync=target $(TIDY_FILES)
tidy/%:
	$(Q)tools/tidy $* $(CPPFLAGS_ALL) -std=gnu11
fmt: ## format all C files
	clang-format -i $(C_FILES)

# Where an installed file goes, from its place in the tree.
INSTALLED = $(addprefix $(PREFIX)/bin/,cubby cubby-vmm) $(PREFIX)/include/cubby.h $(LIBDIR)/pkgconfig/cubby.pc \
  $(addprefix $(LIBDIR)/,$(notdir $(LIBRARY))) $(addprefix $(LIBDIR)/cubby/,cubby-vmm $(notdir $(ASSETS))) \
  $(addprefix $(PREFIX)/share/man/man1/,$(notdir $(filter %.1,$(MAN_FILES)))) \
  $(addprefix $(PREFIX)/share/man/man5/,$(notdir $(filter %.5,$(MAN_FILES)))) \
  $(PREFIX)/share/bash-completion/completions/cubby
install: all ## programs to $(PREFIX)/bin, libcubby, cubby.h and cubby.pc, assets to $(LIBDIR)/cubby, man pages, completion
	install -d $(sort $(dir $(addprefix $(DESTDIR),$(INSTALLED))))
	install -m 755 build/cubby $(DESTDIR)$(PREFIX)/bin/
	install -m 755 build/cubby-vmm $(DESTDIR)$(LIBDIR)/cubby/
	ln -srf $(DESTDIR)$(LIBDIR)/cubby/cubby-vmm $(DESTDIR)$(PREFIX)/bin/cubby-vmm
	install -m 644 $(ASSETS) $(DESTDIR)$(LIBDIR)/cubby/
	install -m 644 include/cubby.h $(DESTDIR)$(PREFIX)/include/
	install -m 755 build/libcubby.so.1 $(DESTDIR)$(LIBDIR)/
	ln -sf libcubby.so.1 $(DESTDIR)$(LIBDIR)/libcubby.so
	install -m 644 build/libcubby.a $(DESTDIR)$(LIBDIR)/
	sed -e 's|@PREFIX@|$(PREFIX)|; s|@LIBDIR@|$(LIBDIR)|; s|@VERSION@|$(VERSION)|; s|@PRIVATE@|$(LIBRARY_SYS)|' \
	  runtime/cubby.pc.in >$(DESTDIR)$(LIBDIR)/pkgconfig/cubby.pc
	install -m 644 $(filter %.1,$(MAN_FILES)) $(DESTDIR)$(PREFIX)/share/man/man1/
	install -m 644 $(filter %.5,$(MAN_FILES)) $(DESTDIR)$(PREFIX)/share/man/man5/
	install -D -m 644 cli/completion/cubby.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/cubby
uninstall: ## what install has put there
	rm -f $(addprefix $(DESTDIR),$(INSTALLED))
	-rmdir $(DESTDIR)$(LIBDIR)/cubby

.PHONY: wheel
wheel: programs assets ## the Python package with all that it needs, in build/
	$(call say,WHEEL,build/)
	$(Q)bindings/python/backend.py build

.PHONY: clean
clean: ## remove build/ (the kernel's cache stays)
	rm -rf build

-include $(wildcard lab/rules.mk kernel-config/rules.mk guest-init/rules.mk tests/rules.mk docs/rules.mk tools/rules.mk)
-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)
