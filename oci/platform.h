/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Platforms: operating system, CPU architecture and its variant, in the words of Go's runtime that the image
 * specification uses (linux/amd64, linux/arm/v7). Values are kept normalised: aarch64 is arm64, x86_64 is
 * amd64, arm64's v8 and amd64's v1 are the variants that need not be said, arm without one is v7.
 */
#ifndef CUBBY_OCI_PLATFORM_H
#define CUBBY_OCI_PLATFORM_H

#include "base/err.h"

#include <stdbool.h>

#define PLATFORM_TEXT_MAX 160

struct platform {
    char os[32], arch[32], variant[32];
    char os_version[64]; /* Windows' build; noted, not compared */
};

/* The platform that guests of this host have: linux, the host's architecture, no variant. */
void platform_host(struct platform *p);

/* "os/arch[/variant]", or an architecture alone (then of linux). 0, or -EINVAL with a text. */
int platform_parse(struct platform *p, const char *text, struct err *e);
/* From the members of a descriptor or a configuration. 0, or OCI_E_FORMAT when one is too long or has bytes
 * that have no place in it. NULL and "" mean that it is not said. */
int platform_set(struct platform *p, const char *os, const char *arch, const char *variant,
                 const char *os_version, struct err *e);

/* "linux/arm/v7" into `buf` of PLATFORM_TEXT_MAX bytes; returns buf. */
const char *platform_text(const struct platform *p, char *buf);

bool platform_equal(const struct platform *a, const struct platform *b);

/*
 * How well an image for `have` serves who wants `want`: 0 not at all; the larger, the better. The same
 * variant is best; a machine of a variant also runs what was built for a lower one (arm/v7 takes v6 and v5,
 * amd64/v3 takes v2 and the plain one).
 */
int platform_match(const struct platform *want, const struct platform *have);

#endif
