/* SPDX-License-Identifier: Apache-2.0 */
/* Any text as a reference: refused with a reason, or the same again after each of its own spellings. */
#include "oci/oci_error.h"
#include "oci/ref.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect_same(const struct oci_ref *r, const char *text)
{
    struct oci_ref again;
    if (oci_ref_parse(&again, text, NULL) < 0 || memcmp(&again, r, sizeof(again)) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = strndup((const char *)data, size), out[REF_TEXT_MAX];
    struct oci_ref r;
    struct err e = {0};
    int ret = oci_ref_parse(&r, text, &e);
    if (ret < 0) {
        if (ret != OCI_E_REFERENCE || e.code != ret || !e.text[0])
            abort();
    } else {
        oci_ref_canonical(&r, out);
        expect_same(&r, out);
        oci_ref_familiar(&r, out);
        expect_same(&r, out);
        if (!*oci_ref_selector(&r))
            abort();
    }
    free(text);
    return 0;
}
