# Programs that scripts of tests use.

# Pulls an image into a store, for tests/oci/registry.sh.
$(B)/tests/oci/pull_driver: $(B)/obj/tests/oci/pull_driver.o $(call lib,oci) $(call lib,base)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS_ALL) $(LDFLAGS) -o $@ $< $(call libs,oci)

tests: $(B)/tests/oci/pull_driver
