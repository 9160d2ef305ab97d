# The tools that the build itself uses, and the default image: Debian's busybox in an ext4 file.

$(B)/mkrootfs: $(B)/obj/tools/mkrootfs.o $(call lib,oci) $(call lib,base)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS_ALL) $(LDFLAGS) -o $@ $< $(call libs,oci)

$(B)/merge-layers: $(B)/obj/tools/merge-layers.o $(call lib,oci) $(call lib,base)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS_ALL) $(LDFLAGS) -o $@ $< $(call libs,oci)

# Dated to the release of what is in it, so that the image is the same wherever it is made.
build/default.ext4: build/mkrootfs tools/default-rootfs /usr/bin/busybox
	$(call say,IMAGE,$@)
	$(Q)tools/default-rootfs /usr/bin/busybox build/rootfs
	$(Q)build/mkrootfs build/rootfs $@.part $$(stat -c %Y /usr/bin/busybox) && mv $@.part $@
	$(Q)rm -rf build/rootfs

# Says what `make deps` installs when somebody builds without it.
/usr/bin/busybox:
	@echo "make: busybox-static is missing: run 'make deps'" >&2; exit 1
