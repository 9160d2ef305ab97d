# SPDX-License-Identifier: Apache-2.0
# cubby-init as it runs in the guest: one static musl binary, and the initramfs around it. The same sources are
# built natively as lib/guest-init.a for the tests.

INIT_SRC := guest-init/main.c $(foreach l,guest-init proto base,$(call srcs,$(l)))
INIT_OBJ := $(patsubst %.c,build/init/%.o,$(INIT_SRC))
# musl brings no kernel headers: the system's, after its own.
INIT_HEADERS := -idirafter /usr/include -idirafter /usr/include/$(shell gcc -dumpmachine)
INIT_CFLAGS := -std=gnu11 $(WARN) -Os -g0 -fno-common -fno-asynchronous-unwind-tables -ffunction-sections \
	-fdata-sections -fstack-protector-strong -fno-pie -MMD -MP
INIT_LDFLAGS := -static -no-pie -Wl,--gc-sections -Wl,-z,norelro -Wl,--build-id=none -s

build/init/%.o: %.c
	@mkdir -p $(@D)
	$(call say,MUSL,$@)
	$(Q)musl-gcc -I. $(INIT_HEADERS) -D_GNU_SOURCE $(INIT_CFLAGS) -c -o $@ $<

build/cubby-init: $(INIT_OBJ)
	$(call say,LD,$@)
	$(Q)musl-gcc $(INIT_LDFLAGS) -o $@ $^

build/mkinitrd: tools/mkinitrd.c
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(CPPFLAGS_ALL) $(filter-out -MMD -MP,$(CFLAGS_ALL)) $(LDFLAGS_ALL) -o $@ $<

build/initrd.cpio: build/cubby-init build/mkinitrd
	$(call say,CPIO,$@)
	$(Q)build/mkinitrd $@ build/cubby-init

.PHONY: initrd
initrd: build/initrd.cpio ## PID 1 of the guest and its initramfs

-include $(INIT_OBJ:.o=.d)
