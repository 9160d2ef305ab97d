/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: both files are lines of fields between colons (passwd(5), group(5)). A line that has
 * too few fields or a number that is none is skipped, as every C library does; the first match counts.
 * Nothing is copied but the home folder: fields are views into the text.
 */
#include "guest-init/user.h"

#include "base/own.h"
#include "guest-init/files.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define FIELDS_MAX   7
#define FILE_MAX     (4u << 20)
#define ID_NONE      UINT32_MAX /* (uid_t)-1 means "no change" to the kernel: never a user */
#define NAME_LEN_MAX 255u

struct view {
    const char *s;
    size_t len;
};

static bool view_is(struct view v, struct view w)
{
    return v.len == w.len && memcmp(v.s, w.s, v.len) == 0;
}

/* Decimal digits only; false for anything else and for what is no id. */
static bool view_id(struct view v, uint32_t *id)
{
    uint64_t value = 0;
    for (size_t i = 0; i < v.len; i++) {
        if (v.s[i] < '0' || v.s[i] > '9')
            return false;
        value = value * 10 + (uint64_t)(v.s[i] - '0');
        if (value >= ID_NONE)
            return false;
    }
    *id = (uint32_t)value;
    return v.len > 0;
}

/* Splits the line at *text and moves on to the next; returns the number of fields, 0 at the end of the text.
 * The last field takes the rest of the line. */
static int next_line(const char **text, struct view field[FIELDS_MAX])
{
    const char *p = *text;
    if (!*p)
        return 0;
    size_t line = strcspn(p, "\n");
    *text = p + line + (p[line] == '\n');
    const char *end = p + line;
    int count = 0;
    for (;;) {
        const char *colon = count == FIELDS_MAX - 1 ? NULL : memchr(p, ':', (size_t)(end - p));
        field[count++] = (struct view){p, (size_t)((colon ? colon : end) - p)};
        if (!colon)
            return count;
        p = colon + 1;
    }
}

struct passwd_entry {
    struct view name, home;
    uint32_t uid, gid;
};

/* Finds by name, or by uid when `name` is NULL. passwd(5): name:password:uid:gid:gecos:home:shell */
static bool find_passwd(const char *text, const struct view *name, uint32_t uid, struct passwd_entry *entry)
{
    struct view f[FIELDS_MAX];
    int count;
    while ((count = next_line(&text, f)) > 0) {
        if (count < 6 || f[0].len == 0 || !view_id(f[2], &entry->uid) || !view_id(f[3], &entry->gid))
            continue;
        if (name ? !view_is(f[0], *name) : entry->uid != uid)
            continue;
        entry->name = f[0];
        entry->home = f[5];
        return true;
    }
    return false;
}

/* group(5): name:password:gid:members */
static bool find_group(const char *text, struct view name, uint32_t *gid)
{
    struct view f[FIELDS_MAX];
    int count;
    while ((count = next_line(&text, f)) > 0)
        if (count >= 3 && f[0].len && view_is(f[0], name) && view_id(f[2], gid))
            return true;
    return false;
}

static bool is_member(struct view list, struct view name)
{
    while (list.len) {
        const char *comma = memchr(list.s, ',', list.len);
        size_t len = comma ? (size_t)(comma - list.s) : list.len;
        if (view_is((struct view){list.s, len}, name))
            return true;
        size_t skip = len + (comma != NULL);
        list = (struct view){list.s + skip, list.len - skip};
    }
    return false;
}

static bool has_group(const struct user_ids *ids, gid_t gid)
{
    if (ids->gid == gid)
        return true;
    for (size_t i = 0; i < ids->group_count; i++)
        if (ids->groups[i] == gid)
            return true;
    return false;
}

static void collect_groups(const char *text, struct view name, struct user_ids *ids)
{
    struct view f[FIELDS_MAX];
    uint32_t gid;
    int count;
    while ((count = next_line(&text, f)) > 0 && ids->group_count < USER_GROUPS_MAX)
        if (count >= 4 && view_id(f[2], &gid) && is_member(f[3], name) && !has_group(ids, gid))
            ids->groups[ids->group_count++] = gid;
}

static void set_home(struct user_ids *ids, struct view home)
{
    bool usable = home.len > 0 && home.s[0] == '/' && home.len < sizeof(ids->home);
    if (!usable)
        home = (struct view){"/", 1};
    memcpy(ids->home, home.s, home.len);
    ids->home[home.len] = '\0';
}

int user_lookup(const char *spec, const char *passwd, const char *group, struct user_ids *ids, struct err *e)
{
    *ids = (struct user_ids){.home = "/"};
    const char *colon = strchr(spec, ':');
    struct view who = {spec, colon ? (size_t)(colon - spec) : strlen(spec)};
    struct view with = {colon ? colon + 1 : "", colon ? strlen(colon + 1) : 0};
    if (who.len == 0 || who.len > NAME_LEN_MAX || (colon && with.len == 0) || memchr(with.s, ':', with.len))
        return err_set(e, -EINVAL, "user '%.256s' is not name|uid[:group|gid]", spec);

    struct passwd_entry entry;
    uint32_t uid, gid = 0;
    bool numeric = view_id(who, &uid);
    bool found = find_passwd(passwd, numeric ? NULL : &who, numeric ? uid : 0, &entry);
    if (!found && !numeric)
        return err_set(e, -ENOENT, "user '%.*s' is not in the image's /etc/passwd", (int)who.len, who.s);
    ids->uid = found ? entry.uid : uid;
    ids->gid = found ? entry.gid : 0;
    if (found)
        set_home(ids, entry.home);
    if (!colon) {
        if (found)
            collect_groups(group, entry.name, ids);
        return 0;
    }
    if (!view_id(with, &gid) && !find_group(group, with, &gid))
        return err_set(e, -ENOENT, "group '%.*s' is not in the image's /etc/group",
                       (int)(with.len < NAME_LEN_MAX ? with.len : NAME_LEN_MAX), with.s);
    ids->gid = gid;
    return 0;
}

/* The file's text, or an empty one when there is no such file. */
static int read_names(const char *path, char **text, struct err *e)
{
    int ret = file_get_regular(path, FILE_MAX, text);
    if (ret == -ENOENT || ret == -ENOTDIR) {
        *text = NULL;
        return 0;
    }
    return ret < 0 ? err_set(e, ret, "cannot read the image's %s: %s", path, strerror(-ret)) : 0;
}

int user_resolve(const char *spec, const char *passwd_path, const char *group_path, struct user_ids *ids,
                 struct err *e)
{
    CLEANUP(mem_freep) char *passwd = NULL;
    CLEANUP(mem_freep) char *group = NULL;
    int ret = read_names(passwd_path, &passwd, e);
    if (ret == 0)
        ret = read_names(group_path, &group, e);
    return ret < 0 ? ret : user_lookup(spec, passwd ? passwd : "", group ? group : "", ids, e);
}
