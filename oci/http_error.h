/* SPDX-License-Identifier: Apache-2.0 */
/* libcurl's failures, put into our classes. */
#ifndef CUBBY_OCI_HTTP_ERROR_H
#define CUBBY_OCI_HTTP_ERROR_H

#include "base/err.h"

#include <curl/curl.h>

/* Fills *e for a transfer from or to `host` that failed with `code`; `text` is what CURLOPT_ERRORBUFFER got.
 * Returns the class, as oci/http.h lists them. */
int http_error(CURL *easy, CURLcode code, const char *host, const char *text, struct err *e);

#endif
