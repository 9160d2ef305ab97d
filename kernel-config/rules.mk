# SPDX-License-Identifier: Apache-2.0
#
# Included by the top Makefile. `make kernel` yields build/vmlinux, build/bzImage and
# build/kernel.config, from the cache outside the tree or by a build of some minutes.

.PHONY: kernel
kernel: build/vmlinux

build/vmlinux build/bzImage build/kernel.config &: $(wildcard kernel-config/*.config) kernel-config/build.sh
	@kernel-config/build.sh build
