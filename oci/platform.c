/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: names are normalised once, when a platform is set, so that comparing is comparing
 * strings; only variants have an order, by the number in "v7" or "v8.1".
 */
#include "oci/platform.h"

#include "base/own.h"
#include "oci/oci_error.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

/* Other names of architectures, and the variant that they imply. */
static const struct {
    const char *alias, *arch, *variant;
} aliases[] = {
    {"x86_64", "amd64", ""}, {"x86-64", "amd64", ""}, {"aarch64", "arm64", ""},
    {"armhf", "arm", "v7"},  {"armv7l", "arm", "v7"}, {"armel", "arm", "v6"},
    {"armv6l", "arm", "v6"}, {"i386", "386", ""},     {"i686", "386", ""},
};

/* The variants that go without saying, and how they are kept. */
static const struct {
    const char *arch, *said, *kept;
} implied[] = {
    {"amd64", "v1", ""},
    {"arm64", "v8", ""},
    {"arm", "", "v7"},
};

/* Copies in lower case. */
static int copy_word(char *out, size_t cap, const char *text, const char *what, struct err *e)
{
    size_t len = text ? strlen(text) : 0;
    if (len >= cap)
        return err_set(e, OCI_E_FORMAT, "the %s of a platform has %zu bytes, more than %zu", what, len,
                       cap - 1);
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (!isalnum(c) && !strchr("._-+", c))
            return err_set(e, OCI_E_FORMAT, "the %s of a platform has a byte that has no place in it: 0x%02x",
                           what, c);
        out[i] = (char)tolower(c);
    }
    out[len] = '\0';
    return 0;
}

static void normalise(struct platform *p)
{
    for (size_t i = 0; i < ARRAY_LEN(aliases); i++) {
        if (strcmp(p->arch, aliases[i].alias) != 0)
            continue;
        strcpy(p->arch, aliases[i].arch);
        if (!p->variant[0])
            strcpy(p->variant, aliases[i].variant);
        break;
    }
    /* "8" is "v8". */
    size_t len = strlen(p->variant);
    if (isdigit((unsigned char)p->variant[0]) && len + 1 < sizeof(p->variant)) {
        memmove(p->variant + 1, p->variant, len + 1);
        p->variant[0] = 'v';
    }
    for (size_t i = 0; i < ARRAY_LEN(implied); i++) {
        if (strcmp(p->arch, implied[i].arch) == 0 && strcmp(p->variant, implied[i].said) == 0)
            strcpy(p->variant, implied[i].kept);
    }
}

int platform_set(struct platform *p, const char *os, const char *arch, const char *variant,
                 const char *os_version, struct err *e)
{
    struct platform new = {0};
    int ret = copy_word(new.os, sizeof(new.os), os, "os", e);
    if (ret == 0)
        ret = copy_word(new.arch, sizeof(new.arch), arch, "architecture", e);
    if (ret == 0)
        ret = copy_word(new.variant, sizeof(new.variant), variant, "variant", e);
    if (ret == 0)
        ret = copy_word(new.os_version, sizeof(new.os_version), os_version, "os.version", e);
    if (ret < 0)
        return ret;
    normalise(&new);
    *p = new;
    return 0;
}

void platform_host(struct platform *p)
{
    struct utsname host;
    *p = (struct platform){0};
    /* uname() cannot fail with an address that is ours, and its words are short ones. */
    if (uname(&host) < 0 || platform_set(p, "linux", host.machine, NULL, NULL, NULL) < 0)
        strcpy(p->os, "linux");
    /* The machine's name says how new the processor is, not what an image must be made for. */
    if (strcmp(p->arch, "arm") != 0)
        p->variant[0] = '\0';
}

int platform_parse(struct platform *p, const char *text, struct err *e)
{
    char copy[PLATFORM_TEXT_MAX], *rest = copy;
    if (strlen(text) >= sizeof(copy))
        return err_set(e, -EINVAL, "platform '%.40s…' is too long", text);
    strcpy(copy, text);
    char *part[4] = {NULL};
    size_t count = 0;
    for (char *word; count < 4 && (word = strsep(&rest, "/"));)
        part[count++] = word;
    bool empty = false;
    for (size_t i = 0; i < count; i++)
        empty = empty || !*part[i];
    if (count == 4 || empty)
        return err_set(e, -EINVAL, "'%s' is not a platform: os/architecture[/variant], as in linux/arm64",
                       text);
    struct err why = {0};
    int ret = count == 1 ? platform_set(p, "linux", part[0], NULL, NULL, &why)
                         : platform_set(p, part[0], part[1], part[2], NULL, &why);
    return ret < 0 ? err_set(e, -EINVAL, "'%s' is not a platform: %s", text, why.text) : 0;
}

const char *platform_text(const struct platform *p, char *buf)
{
    snprintf(buf, PLATFORM_TEXT_MAX, "%s/%s%s%s", p->os[0] ? p->os : "?", p->arch[0] ? p->arch : "?",
             p->variant[0] ? "/" : "", p->variant);
    return buf;
}

bool platform_equal(const struct platform *a, const struct platform *b)
{
    return strcmp(a->os, b->os) == 0 && strcmp(a->arch, b->arch) == 0 && strcmp(a->variant, b->variant) == 0;
}

/* "v7" → 70, "v8.1" → 81; what is not said is what goes without saying; -1 for other words. */
static int variant_level(const struct platform *p)
{
    int major, minor = 0, used = 0;
    if (!p->variant[0])
        return strcmp(p->arch, "arm64") == 0 ? 80 : 10;
    int n = sscanf(p->variant, "v%2d%n.%1d%n", &major, &used, &minor, &used);
    return n >= 1 && p->variant[used] == '\0' ? major * 10 + minor : -1;
}

int platform_match(const struct platform *want, const struct platform *have)
{
    if (strcmp(want->os, have->os) != 0 || strcmp(want->arch, have->arch) != 0)
        return 0;
    if (strcmp(want->variant, have->variant) == 0)
        return 10000;
    int wanted = variant_level(want), level = variant_level(have);
    return level < 0 || level > wanted ? 0 : 5000 - (wanted - level);
}
