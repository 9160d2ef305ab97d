/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An image configuration from a hostile registry: refusals say why, and what is accepted can be combined with
 * a user's wishes.
 */
#include "oci/image_config.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
    if (!ok)
        abort();
}

static void combine(const struct image_config *c)
{
    static const char *const set[] = {"A=1", "PATH", NULL}, *const args[] = {"x", NULL};
    struct err e = {0};
    char **list = NULL;
    int ret = image_config_argv(c, NULL, NULL, &list, &e);
    check(ret == 0 ? list[0] != NULL : e.text[0]);
    free(list);
    check(image_config_argv(c, args, args, &list, NULL) == 0 && strcmp(list[1], "x") == 0 && !list[2]);
    free(list);
    check(image_config_env(c, set, &list, NULL) == 0);
    for (size_t i = 0; list[i]; i++)
        check(strchr(list[i], '=') > list[i] && strncmp(list[i], "PATH=", 5) != 0);
    free(list);
    ret = image_config_stop_signal(c, &e);
    check(ret < 0 || (ret > 0 && ret <= SIGRTMAX));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct oci_limits limits;
    struct image_config c;
    struct err e = {0};
    oci_limits_init(&limits);
    limits.layers = 20;
    uint8_t *copy = malloc(size + 1); /* its end is the end of a block: reads beyond it are found */
    if (!copy)
        return 0;
    memcpy(copy, data, size);
    int ret = image_config_parse(&c, copy, size, &limits, &e);
    if (ret < 0) {
        check(e.code == ret && e.text[0]);
    } else {
        check(c.ndiff_ids <= limits.layers);
        for (size_t i = 1; i < c.nlabels; i++)
            check(strcmp(c.label[i - 1].name, c.label[i].name) < 0);
        combine(&c);
        image_config_fini(&c);
    }
    free(copy);
    return 0;
}
