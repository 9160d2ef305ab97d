/* SPDX-License-Identifier: Apache-2.0 */
/* Any text as our configuration and as Docker's: refused with a reason, or understood within its bounds. */
#include "oci/credentials.h"
#include "oci/oci_config.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ours(const char *text, size_t size)
{
    struct oci_config c;
    struct err e = {0};
    oci_config_init(&c);
    int ret = oci_config_parse(&c, text, size, &e);
    if (ret < 0 && (e.code != ret || !e.text[0]))
        abort();
    if (ret == 0 &&
        (c.parallel < 1 || c.parallel > OCI_PARALLEL_MAX || c.attempts < 1 || c.limits.layers < 1))
        abort();
    for (size_t i = 0; ret == 0 && i < c.nregistries; i++) {
        struct url_origin o;
        if (oci_config_find(&c, c.registry[i].name) != &c.registry[i])
            abort();
        for (size_t k = 0; k < c.registry[i].nmirrors; k++)
            if (url_origin_parse(&o, c.registry[i].mirror[k], NULL) < 0 ||
                (!o.https && !oci_config_allows_http(&c, &o)))
                abort();
    }
    oci_config_fini(&c);
}

static void docker(const char *text, size_t size)
{
    struct credentials *c;
    struct credential found;
    struct err e = {0};
    /* Not with helpers: which programs run is not for the fuzzer to say. */
    if (memmem(text, size, "cred", 4) || memmem(text, size, "\\u", 2))
        return;
    if (credentials_parse(&c, text, size, &e) < 0) {
        if (!e.code || !e.text[0])
            abort();
        return;
    }
    int ret = credentials_find(c, "docker.io", -1, &found, &e);
    if (ret == 0 && (!found.secret || (!found.user && !found.identity_token)))
        abort();
    credential_fini(&found);
    credentials_destroy(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ours((const char *)data, size);
    docker((const char *)data, size);
    return 0;
}
