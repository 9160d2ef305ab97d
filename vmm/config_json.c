/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: jansson reads the text; each object of the schema has a table of its members, walked
 * by one function that knows types and reports what does not fit as "drives[1].is_read_only: …".
 */
#include "vmm/config_json.h"
#include "base/io.h"
#include "base/own.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <string.h>

/* Where we are in the document, for error texts. */
#define PATH_MAX_LEN 96

typedef int member_fn(void *to, const json_t *value, const char *path, struct err *e);

struct member {
    const char *key;
    member_fn *fn;
};

/* null, false, "", [] and {} ask for nothing. */
static bool says_nothing(const json_t *v)
{
    return json_is_null(v) || json_is_false(v) || (json_is_string(v) && json_string_length(v) == 0) ||
           (json_is_array(v) && json_array_size(v) == 0) || (json_is_object(v) && json_object_size(v) == 0);
}

static const struct member *find_member(const struct member *table, const char *key)
{
    for (; table->key; table++) {
        if (strcmp(table->key, key) == 0)
            return table;
    }
    return NULL;
}

/* Calls the table's function for each member of `object`. */
static int walk(void *to, const json_t *object, const struct member *table, const char *path, struct err *e)
{
    if (!json_is_object(object))
        return err_set(e, -EINVAL, "%s: an object is expected", *path ? path : "the file");
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        char inner[PATH_MAX_LEN];
        snprintf(inner, sizeof(inner), "%s%s%s", path, *path ? "." : "", key);
        const struct member *m = find_member(table, key);
        if (!m && says_nothing(value))
            continue;
        if (!m)
            return err_set(e, -EINVAL, "%s: this key is not supported here; remove it", inner);
        if (json_is_null(value))
            continue;
        int r = m->fn(to, value, inner, e);
        if (r)
            return r;
    }
    return 0;
}

/* --- values
 * -------------------------------------------------------------------------------------------------- */

static int get_string(char **field, const json_t *v, const char *path, struct err *e)
{
    if (!json_is_string(v))
        return err_set(e, -EINVAL, "%s: a string is expected", path);
    if (strlen(json_string_value(v)) != json_string_length(v))
        return err_set(e, -EINVAL, "%s: a string without NUL is expected", path);
    return config_set(field, json_string_value(v)) ? err_set(e, -ENOMEM, "%s: no memory", path) : 0;
}

static int get_number(uint64_t *out, const json_t *v, uint64_t max, const char *path, struct err *e)
{
    if (!json_is_integer(v) || json_integer_value(v) < 0 || (uint64_t)json_integer_value(v) > max)
        return err_set(e, -EINVAL, "%s: a number from 0 to %llu is expected", path, (unsigned long long)max);
    *out = (uint64_t)json_integer_value(v);
    return 0;
}

static int get_bool(bool *out, const json_t *v, const char *path, struct err *e)
{
    if (!json_is_boolean(v))
        return err_set(e, -EINVAL, "%s: true or false is expected", path);
    *out = json_is_true(v);
    return 0;
}

/* A member whose value is a name only, without a meaning for us. */
static int ignore_string(void *to, const json_t *v, const char *path, struct err *e)
{
    (void)to;
    return json_is_string(v) ? 0 : err_set(e, -EINVAL, "%s: a string is expected", path);
}

/* --- boot-source
 * ---------------------------------------------------------------------------------------------- */

static int kernel_image_path(void *to, const json_t *v, const char *path, struct err *e)
{
    return get_string(&((struct vm_config *)to)->kernel, v, path, e);
}

static int initrd_path(void *to, const json_t *v, const char *path, struct err *e)
{
    return get_string(&((struct vm_config *)to)->initrd, v, path, e);
}

static int boot_args(void *to, const json_t *v, const char *path, struct err *e)
{
    return get_string(&((struct vm_config *)to)->cmdline, v, path, e);
}

static int boot_protocol(void *to, const json_t *v, const char *path, struct err *e)
{
    return get_string(&((struct vm_config *)to)->boot, v, path, e);
}

static int boot_source(void *to, const json_t *v, const char *path, struct err *e)
{
    static const struct member members[] = {
        {"kernel_image_path", kernel_image_path},
        {"initrd_path", initrd_path},
        {"boot_args", boot_args},
        {"protocol", boot_protocol},
        {NULL, NULL},
    };
    return walk(to, v, members, path, e);
}

/* --- machine-config
 * ------------------------------------------------------------------------------------------- */

static int vcpu_count(void *to, const json_t *v, const char *path, struct err *e)
{
    uint64_t n = 0;
    int r = get_number(&n, v, INT_MAX, path, e);
    ((struct vm_config *)to)->cpus = (unsigned)n;
    return r;
}

static int mem_size_mib(void *to, const json_t *v, const char *path, struct err *e)
{
    return get_number(&((struct vm_config *)to)->memory_mib, v, UINT32_MAX, path, e);
}

/* Firecracker's names for "as it comes". */
static int only_none(void *to, const json_t *v, const char *path, struct err *e)
{
    (void)to;
    if (json_is_string(v) && strcmp(json_string_value(v), "None") == 0)
        return 0;
    return err_set(e, -EINVAL, "%s: only \"None\" is supported here", path);
}

static int machine_config(void *to, const json_t *v, const char *path, struct err *e)
{
    static const struct member members[] = {
        {"vcpu_count", vcpu_count},
        {"mem_size_mib", mem_size_mib},
        {"cpu_template", only_none},
        {"huge_pages", only_none},
        {NULL, NULL},
    };
    return walk(to, v, members, path, e);
}

/* --- drives
 * ----------------------------------------------------------------------------------------------------- */

static int drive_path(void *to, const json_t *v, const char *path, struct err *e)
{
    return get_string(&((struct disk_config *)to)->path, v, path, e);
}

static int drive_serial(void *to, const json_t *v, const char *path, struct err *e)
{
    return get_string(&((struct disk_config *)to)->serial, v, path, e);
}

static int drive_root(void *to, const json_t *v, const char *path, struct err *e)
{
    return get_bool(&((struct disk_config *)to)->root, v, path, e);
}

static int drive_read_only(void *to, const json_t *v, const char *path, struct err *e)
{
    return get_bool(&((struct disk_config *)to)->read_only, v, path, e);
}

/* Writeback is what we do: flushes of the guest reach the file. Unsafe would promise less, and is met by
 * more. */
static int drive_cache(void *to, const json_t *v, const char *path, struct err *e)
{
    const char *s = json_string_value(v);
    (void)to;
    if (s && (strcmp(s, "Writeback") == 0 || strcmp(s, "Unsafe") == 0))
        return 0;
    return err_set(e, -EINVAL, "%s: \"Writeback\" or \"Unsafe\" is expected", path);
}

/* How the host does its input and output means nothing to the guest. */
static int drive_engine(void *to, const json_t *v, const char *path, struct err *e)
{
    const char *s = json_string_value(v);
    (void)to;
    if (s && (strcmp(s, "Sync") == 0 || strcmp(s, "Async") == 0))
        return 0;
    return err_set(e, -EINVAL, "%s: \"Sync\" or \"Async\" is expected", path);
}

static int drive(struct vm_config *c, const json_t *v, const char *path, struct err *e)
{
    static const struct member members[] = {
        {"drive_id", ignore_string},    {"path_on_host", drive_path},
        {"is_root_device", drive_root}, {"is_read_only", drive_read_only},
        {"serial", drive_serial},       {"cache_type", drive_cache},
        {"io_engine", drive_engine},    {NULL, NULL},
    };
    struct disk_config d = {0};
    int r = walk(&d, v, members, path, e);
    if (r == 0 && !d.path)
        r = err_set(e, -EINVAL, "%s: path_on_host is missing", path);
    if (r == 0)
        r = config_add_disk(c, d.path, d.serial, d.read_only, d.root, e);
    free(d.path);
    free(d.serial);
    return r;
}

static int drives(void *to, const json_t *v, const char *path, struct err *e)
{
    if (!json_is_array(v))
        return err_set(e, -EINVAL, "%s: an array is expected", path);
    for (size_t i = 0; i < json_array_size(v); i++) {
        char inner[PATH_MAX_LEN];
        snprintf(inner, sizeof(inner), "%s[%zu]", path, i);
        int r = drive(to, json_array_get(v, i), inner, e);
        if (r)
            return r;
    }
    return 0;
}

/* --- vsock, console, the rest
 * ------------------------------------------------------------------------------------ */

static int guest_cid(void *to, const json_t *v, const char *path, struct err *e)
{
    return get_number(&((struct vm_config *)to)->vsock_cid, v, UINT32_MAX, path, e);
}

static int uds_path(void *to, const json_t *v, const char *path, struct err *e)
{
    return get_string(&((struct vm_config *)to)->vsock_path, v, path, e);
}

static int vsock(void *to, const json_t *v, const char *path, struct err *e)
{
    static const struct member members[] = {
        {"guest_cid", guest_cid},
        {"uds_path", uds_path},
        {"vsock_id", ignore_string}, /* an old name, without meaning */
        {NULL, NULL},
    };
    return walk(to, v, members, path, e);
}

static int console_path(void *to, const json_t *v, const char *path, struct err *e)
{
    return get_string(&((struct vm_config *)to)->console, v, path, e);
}

static int console_ports(void *to, const json_t *v, const char *path, struct err *e)
{
    uint64_t n = 0;
    int r = get_number(&n, v, INT_MAX, path, e);
    ((struct vm_config *)to)->console_ports = (unsigned)n;
    return r;
}

static int console(void *to, const json_t *v, const char *path, struct err *e)
{
    static const struct member members[] = {
        {"path", console_path},
        {"ports", console_ports},
        {NULL, NULL},
    };
    return walk(to, v, members, path, e);
}

static int serial(void *to, const json_t *v, const char *path, struct err *e)
{
    return get_bool(&((struct vm_config *)to)->serial, v, path, e);
}

static int timeline(void *to, const json_t *v, const char *path, struct err *e)
{
    return get_string(&((struct vm_config *)to)->timeline, v, path, e);
}

int config_parse_json(struct vm_config *c, const char *text, size_t len, struct err *e)
{
    static const struct member members[] = {
        {"boot-source", boot_source}, {"machine-config", machine_config},
        {"drives", drives},           {"vsock", vsock},
        {"console", console},         {"serial", serial},
        {"timeline", timeline},       {NULL, NULL},
    };
    json_error_t where;
    json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &where);
    if (!root)
        return err_set(e, -EINVAL, "line %d: %s", where.line, where.text);
    int r = walk(c, root, members, "", e);
    json_decref(root);
    return r;
}

int config_load_json(struct vm_config *c, const char *path, struct err *e)
{
    CLEANUP(mem_freep) char *text = NULL;
    size_t len = 0;
    int r = read_file(path, CONFIG_JSON_MAX, &text, &len, e);
    if (r == 0 && (r = config_parse_json(c, text, len, e)))
        err_prefix(e, "%s", path);
    return r;
}
