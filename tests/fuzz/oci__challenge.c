/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as what a stranger's server says about logging in: its header, its token, its error, its delay.
 */
#include "oci/auth.h"
#include "oci/registry_status.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect_text(const char *s, size_t cap)
{
    size_t len = strnlen(s, cap);
    if (len == cap)
        abort();
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)s[i] < ' ' || s[i] == 0x7F)
            abort();
}

static void header(const char *text)
{
    struct challenges c = {0};
    struct err e = {0};
    int ret = challenges_add(&c, text, &e);
    if ((ret < 0 && !e.text[0]) || c.count > CHALLENGES_MAX)
        abort();
    for (size_t i = 0; i < c.count; i++) {
        expect_text(c.item[i].realm, sizeof(c.item[i].realm));
        expect_text(c.item[i].service, sizeof(c.item[i].service));
        expect_text(c.item[i].scope, sizeof(c.item[i].scope));
    }
    const struct challenge *chosen = challenges_choose(&c);
    if (chosen && chosen->scheme == AUTH_UNKNOWN)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = strndup((const char *)data, size), *token = NULL;
    unsigned seconds = 0;
    struct err e = {0};
    header(text);
    if (auth_parse_token((const char *)data, size, &token, &seconds, &e) == 0) {
        expect_text(token, size + 1);
        if (!*token || strchr(token, ' ') || seconds < 1)
            abort();
    }
    free(token);
    const struct status_answer a = {
        .status = 404, .host = "h", .object = "o", .body = (const char *)data, .len = size};
    registry_status(&a, &e);
    expect_text(e.text, sizeof(e.text));
    if (retry_after_ms(text, 60000) > 60000)
        abort();
    free(text);
    return 0;
}
