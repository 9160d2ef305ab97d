# SPDX-License-Identifier: Apache-2.0
# Programs that scripts of tests use, and data.

# Pulls an image into a store, for tests/oci/registry.sh.
$(B)/tests/oci/pull_driver: $(B)/obj/tests/oci/pull_driver.o $(call lib,oci) $(call lib,base)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS_ALL) $(LDFLAGS) -o $@ $< $(call libs,oci)

tests: $(B)/tests/oci/pull_driver

# A registry's data with images of Debian's packages. Made by the network, once; a test that needs it fails without it.

.PHONY: python-registry
python-registry: build/python-registry
build/python-registry: tests/lab/python-image
	@tests/lab/python-image $@
