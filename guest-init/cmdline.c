/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a table of keys, each with the field that it fills and a check of its value. The last
 * word for a key counts, as with the kernel's own options.
 */
#include "guest-init/cmdline.h"

#include "base/own.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define PREFIX "cubby."

static bool is_device(const char *v)
{
    return strncmp(v, "/dev/", 5) == 0 && v[5] && !strstr(v, "..");
}

static bool is_name(const char *v)
{
    return v[0] && v[strspn(v, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")] == '\0';
}

/* tmpfs(5) size=: digits and at most one of k, m, g, %. */
static bool is_size(const char *v)
{
    size_t digits = strspn(v, "0123456789");
    return digits > 0 && (!v[digits] || (strchr("kKmMgG%", v[digits]) && !v[digits + 1]));
}

static bool is_log(const char *v)
{
    return v[0] != '\0';
}

static const struct key {
    const char *name;
    size_t offset, size;
    bool (*valid)(const char *value);
} keys[] = {
    {"root", offsetof(struct boot_config, root), CMDLINE_VALUE_MAX, is_device},
    {"rootfstype", offsetof(struct boot_config, root_type), sizeof(((struct boot_config *)0)->root_type),
     is_name},
    {"hostname", offsetof(struct boot_config, hostname), sizeof(((struct boot_config *)0)->hostname),
     is_name},
    {"log", offsetof(struct boot_config, log), CMDLINE_VALUE_MAX, is_log},
};

static bool set_upper(struct boot_config *c, const char *value)
{
    size_t len = strlen(value);
    c->upper[0] = c->upper_size[0] = '\0';
    if (strcmp(value, "tmpfs") == 0)
        return true;
    if (strncmp(value, "tmpfs:", 6) == 0 && is_size(value + 6) && len - 6 < sizeof(c->upper_size)) {
        memcpy(c->upper_size, value + 6, len - 6 + 1);
        return true;
    }
    if (!is_device(value) || len >= sizeof(c->upper))
        return false;
    memcpy(c->upper, value, len + 1);
    return true;
}

/* One "key" or "key=value", without the prefix. */
static bool set_word(struct boot_config *c, char *word)
{
    char *eq = strchr(word, '=');
    if (!eq) {
        c->root_rw = c->root_rw || strcmp(word, "rw") == 0;
        return strcmp(word, "rw") == 0;
    }
    *eq = '\0';
    const char *value = eq + 1;
    if (strcmp(word, "upper") == 0)
        return set_upper(c, value);
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        if (strcmp(word, keys[i].name) != 0)
            continue;
        if (strlen(value) >= keys[i].size || !keys[i].valid(value))
            return false;
        strcpy((char *)c + keys[i].offset, value);
        return true;
    }
    return false;
}

/* Copies the next word without its quotes; returns where to go on, NULL at the end. */
static const char *next_word(const char *p, char *word, size_t cap)
{
    bool quoted = false;
    size_t len = 0;
    p += strspn(p, " \t\n");
    if (!*p)
        return NULL;
    for (; *p && (quoted || !strchr(" \t\n", *p)); p++) {
        if (*p == '"')
            quoted = !quoted;
        else if (len < cap - 1)
            word[len++] = *p;
    }
    word[len] = '\0';
    return p;
}

int cmdline_parse(const char *line, struct boot_config *c, struct err *e)
{
    char word[CMDLINE_MAX], copy[CMDLINE_MAX];
    *c = (struct boot_config){.root_type = "ext4", .hostname = "cubby"};
    while ((line = next_word(line, word, sizeof(word)))) {
        if (strcmp(word, "--") == 0)
            break; /* what follows is for init's argv */
        if (strncmp(word, PREFIX, strlen(PREFIX)) != 0)
            continue;
        strcpy(copy, word);
        if (!set_word(c, word + strlen(PREFIX)))
            return err_set(e, -EINVAL, "kernel command line: '%.100s' is not understood", copy);
    }
    if (c->root_rw && !c->root[0])
        return err_set(e, -EINVAL, "kernel command line: cubby.rw needs cubby.root");
    return 0;
}
