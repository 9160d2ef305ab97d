/* SPDX-License-Identifier: Apache-2.0 */
/* Names that come from a layer, for a terminal: what could be an escape sequence, or a quote that ends early,
 * becomes an octal escape. */
#ifndef CUBBY_OCI_PRINTABLE_H
#define CUBBY_OCI_PRINTABLE_H

#include <stddef.h>

#define PRINTABLE_MAX 160u /* bytes of a name that are shown */
#define PRINTABLE_CAP (4 * PRINTABLE_MAX + 4)

/* Writes `text` to `out`, unprintable bytes as \ooo, the middle of a long one as "…". Returns `out`. */
const char *printable(const char *text, char out[PRINTABLE_CAP]);

#endif
