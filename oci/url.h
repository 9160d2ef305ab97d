/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The part of a URL that trust hangs on: its origin, which is scheme, host and port. Credentials are sent to
 * the origin that they are for and to no other.
 */
#ifndef CUBBY_OCI_URL_H
#define CUBBY_OCI_URL_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define URL_HOST_MAX   255
#define URL_ORIGIN_MAX (8 + URL_HOST_MAX + 6)
#define URL_TEXT_MAX   8192

struct url_origin {
    bool https;
    char host[URL_HOST_MAX + 1]; /* lower case; IPv6 addresses in brackets */
    uint16_t port;
};

/* Reads a whole URL. -EINVAL unless it is http or https, with a host and without a user in it. */
int url_origin_parse(struct url_origin *out, const char *url, struct err *e);

/* Reads "host" or "host:port", as registries are named. The port is 0 when none is named. */
int url_host_parse(struct url_origin *out, const char *name, struct err *e);

bool url_origin_equal(const struct url_origin *a, const struct url_origin *b);

/* Whether a name as of url_host_parse() means this origin: without a port it means the scheme's own. */
bool url_host_matches(const struct url_origin *name, const struct url_origin *origin);

/* "host", or "host:port" when the port is not the scheme's own. */
void url_origin_name(const struct url_origin *o, char out[URL_ORIGIN_MAX]);

#endif
