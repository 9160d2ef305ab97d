/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: byte by byte; ASCII is shown, all else is escaped, whatever the locale is. */
#include "oci/printable.h"

#include <stdio.h>
#include <string.h>

const char *printable(const char *text, char out[PRINTABLE_CAP])
{
    size_t len = strlen(text), at = 0;
    for (size_t i = 0; i < len; i++) {
        if (len > PRINTABLE_MAX && i == PRINTABLE_MAX / 2) {
            i = len - PRINTABLE_MAX / 2;
            at += (size_t)snprintf(out + at, PRINTABLE_CAP - at, "…");
        }
        unsigned char c = (unsigned char)text[i];
        if (c < 0x20 || c >= 0x7f || c == '\\' || c == '\'')
            at += (size_t)snprintf(out + at, PRINTABLE_CAP - at, "\\%03o", c);
        else
            out[at++] = (char)c;
    }
    out[at] = '\0';
    return out;
}
