/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the status decides the class; the body's first error only adds its words, cleaned of
 * what a terminal would act upon.
 */
#include "oci/registry_status.h"

#include "base/own.h"
#include "oci/json.h"
#include "oci/oci_error.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WORDS_MAX 200

/* ": <message of the first error>", or "". */
static void words_of(const struct status_answer *a, char out[WORDS_MAX])
{
    CLEANUP(json_decrefpp) json_t *root = NULL;
    out[0] = '\0';
    if (!a->body ||
        json_parse(&root, a->body, a->len, STATUS_BODY_MAX, "the answer's size", "an answer", NULL) < 0)
        return;
    const json_t *first = json_array_get(json_object_get(root, "errors"), 0);
    const char *words = json_string_value(json_object_get(first, "message"));
    if (!words || !*words)
        words = json_string_value(json_object_get(first, "code"));
    if (!words || !*words)
        return;
    snprintf(out, WORDS_MAX, ": %s", words);
    for (char *c = out; *c; c++)
        if ((unsigned char)*c < ' ' || (unsigned char)*c >= 0x7F)
            *c = '?';
}

int registry_status(const struct status_answer *a, struct err *e)
{
    char words[WORDS_MAX];
    words_of(a, words);
    if (a->status == 401 || a->status == 403)
        return err_set(
            e, OCI_E_UNAUTHORIZED,
            "registry '%s' refuses %s: it does not exist there, or needs a login ('docker login')%s", a->host,
            a->object, words);
    if (a->status == 404)
        return err_set(e, OCI_E_NOT_FOUND, "registry '%s' does not have %s%s%s", a->host, a->object,
                       a->is_manifest ? " (no such repository or tag)" : "", words);
    if (a->status == 429)
        return err_set(e, -EAGAIN, "registry '%s' has had too many requests (429)%s", a->host, words);
    if (a->status == 408 || a->status >= 500)
        return err_set(e, -EAGAIN, "registry '%s' fails with status %d%s", a->host, a->status, words);
    return err_set(e, OCI_E_REGISTRY, "registry '%s' answers with status %d for %s%s", a->host, a->status,
                   a->object, words);
}

uint64_t retry_after_ms(const char *text, uint64_t max_ms)
{
    if (!text || !*text)
        return 0;
    uint64_t seconds = 0;
    if (strspn(text, "0123456789") == strlen(text)) {
        seconds = strtoull(text, NULL, 10);
    } else {
        time_t when = curl_getdate(text, NULL), now = time(NULL);
        seconds = when > now ? (uint64_t)(when - now) : 0;
    }
    return seconds > max_ms / 1000 ? max_ms : seconds * 1000;
}
