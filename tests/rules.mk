# SPDX-License-Identifier: Apache-2.0
# Programs that scripts of tests use, and data.

# Pulls an image into a store, for tests/oci/registry.sh.
$(B)/tests/oci/pull_driver: $(B)/obj/tests/oci/pull_driver.o $(call lib,oci) $(call lib,base)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS_ALL) $(LDFLAGS) -o $@ $< $(call libs,oci)

tests: $(B)/tests/oci/pull_driver

# In the objects of this program, not in the libraries that they call, these functions may be made to fail.
$(B)/tests/oci/test_merge_faults: LDFLAGS += $(patsubst %,-Wl$(comma)--wrap=%,\
  malloc calloc realloc strdup newlocale open pread pwrite ftruncate fallocate)

# A registry's data with images of Debian's packages. Made by the network, once; a test that needs it fails without it.

.PHONY: python-registry
python-registry: build/python-registry
build/python-registry: tests/lab/python-image
	@tests/lab/python-image $@

# tests/bench/run: the driver on the host, and what it measures beside in the guest.
$(B)/tests/bench/exec: $(B)/obj/tests/bench/exec.o $(foreach l,runtime $(USES_runtime),$(call lib,$(l)))
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS_ALL) $(LDFLAGS) -o $@ $< $(call libs,runtime)
build/tests/bench/spawn: tests/bench/spawn.c
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)musl-gcc -std=gnu11 $(WARN) -D_GNU_SOURCE -O2 -static -s -o $@ $<

.PHONY: bench-exec
bench-exec: $(B)/tests/bench/exec build/tests/bench/spawn

# A VMM without KVM for tests/python/package.sh.
$(B)/tests/python/vmm: $(B)/obj/tests/python/vmm.o $(foreach l,runtime guest-init $(USES_runtime),$(call lib,$(l)))
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS_ALL) $(LDFLAGS) -o $@ $< $(call lib,guest-init) $(call libs,runtime)

tests: $(B)/tests/python/vmm
