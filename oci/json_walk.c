/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: jansson has parsed the text before anything is looked for in it, so the search for a
 * place may take it as well-formed JSON: a value ends where its brackets close, members and elements are
 * counted by the commas at the same depth. jansson iterates over members in the order of the text.
 */
#include "oci/json_walk.h"

#include "base/own.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define PATH_TEXT_MAX 160

static size_t skip_string(const struct json_place *at, size_t i)
{
    for (i++; i < at->len && at->text[i] != '"'; i++)
        if (at->text[i] == '\\')
            i++;
    return i + 1;
}

static size_t skip_blanks(const struct json_place *at, size_t i)
{
    while (i < at->len && strchr(" \t\r\n", at->text[i]))
        i++;
    return i;
}

/* From inside an object or array to behind the comma that ends the member or element at `i`. */
static size_t skip_member(const struct json_place *at, size_t i)
{
    int depth = 0;
    while (i < at->len) {
        char c = at->text[i];
        if (c == '"') {
            i = skip_string(at, i);
            continue;
        }
        i++;
        if (c == '[' || c == '{')
            depth++;
        else if (c == ']' || c == '}')
            depth--;
        else if (c == ',' && depth == 0)
            break;
    }
    return i;
}

/* The offset of the place's value, or with `key` that of its key. */
static size_t offset_of(const struct json_place *at, bool key)
{
    if (!at->up)
        return skip_blanks(at, 0);
    size_t i = offset_of(at->up, false) + 1; /* behind the bracket */
    for (size_t n = 0; n < at->index; n++)
        i = skip_member(at, i);
    i = skip_blanks(at, i);
    if (at->key && !key)
        i = skip_blanks(at, skip_blanks(at, skip_string(at, i)) + 1); /* behind the colon */
    return i;
}

static int line_of(const struct json_place *at)
{
    int line = 1;
    size_t end = offset_of(at, true);
    for (size_t i = 0; i < end && i < at->len; i++)
        line += at->text[i] == '\n';
    return line;
}

/* "a.b[1]"; what does not fit is left out. */
static void path_of(const struct json_place *at, char *out, size_t cap)
{
    if (!at->up) {
        out[0] = '\0';
        return;
    }
    path_of(at->up, out, cap);
    size_t used = strlen(out);
    if (at->key)
        snprintf(out + used, cap - used, "%s%s", used ? "." : "", at->key);
    else
        snprintf(out + used, cap - used, "[%zu]", at->index);
}

int json_refuse(const struct json_place *at, struct err *e, const char *fmt, ...)
{
    char what[ERR_TEXT_MAX], path[PATH_TEXT_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof(what), fmt, ap);
    va_end(ap);
    path_of(at, path, sizeof(path));
    return err_set(e, -EINVAL, "line %d: %s: %s", line_of(at), *path ? path : "the file", what);
}

int json_walk_members(void *to, const json_t *object, json_member_fn *fn, const struct json_place *at,
                      struct err *e)
{
    if (!json_is_object(object))
        return json_refuse(at, e, "an object is expected");
    const char *key;
    json_t *value;
    struct json_place inner = {.up = at, .text = at->text, .len = at->len};
    json_object_foreach((json_t *)object, key, value)
    {
        inner.key = key;
        int ret = fn(to, value, &inner, e);
        if (ret < 0)
            return ret;
        inner.index++;
    }
    return 0;
}

int json_walk_elements(void *to, const json_t *array, json_member_fn *fn, const struct json_place *at,
                       struct err *e)
{
    if (!json_is_array(array))
        return json_refuse(at, e, "an array is expected");
    struct json_place inner = {.up = at, .text = at->text, .len = at->len};
    for (; inner.index < json_array_size(array); inner.index++) {
        int ret = fn(to, json_array_get(array, inner.index), &inner, e);
        if (ret < 0)
            return ret;
    }
    return 0;
}

struct table_walk {
    void *to;
    const struct json_member *table;
};

static int one_of_table(void *to, const json_t *value, const struct json_place *at, struct err *e)
{
    const struct table_walk *w = to;
    for (const struct json_member *m = w->table; m->key; m++) {
        if (strcmp(m->key, at->key) == 0)
            return m->fn(w->to, value, at, e);
    }
    return json_refuse(at, e, "this key is not known");
}

int json_walk(void *to, const json_t *object, const struct json_member *table, const struct json_place *at,
              struct err *e)
{
    struct table_walk w = {to, table};
    return json_walk_members(&w, object, one_of_table, at, e);
}

int json_walk_text(void *to, const char *text, size_t len, const struct json_member *table, struct err *e)
{
    json_error_t where;
    json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &where);
    if (!root)
        return err_set(e, -EINVAL, "line %d: %s", where.line, where.text);
    struct json_place at = {.text = text, .len = len};
    int ret = json_walk(to, root, table, &at, e);
    json_decref(root);
    return ret;
}

int json_take_string(char **out, const json_t *v, const struct json_place *at, struct err *e)
{
    /* jansson refuses strings with a NUL unless asked to allow them, and so do we. */
    const char *s = json_string_value(v);
    if (!s || !*s)
        return json_refuse(at, e, "a string is expected");
    char *copy = strdup(s);
    if (!copy)
        return err_set(e, -ENOMEM, "cannot read the configuration: no memory");
    free(*out);
    *out = copy;
    return 0;
}

int json_take_bool(bool *out, const json_t *v, const struct json_place *at, struct err *e)
{
    if (!json_is_boolean(v))
        return json_refuse(at, e, "true or false is expected");
    *out = json_is_true(v);
    return 0;
}

int json_take_number(uint64_t *out, uint64_t min, uint64_t max, const json_t *v, const struct json_place *at,
                     struct err *e)
{
    json_int_t n = json_integer_value(v);
    if (!json_is_integer(v) || n < 0 || (uint64_t)n < min || (uint64_t)n > max)
        return json_refuse(at, e, "a number from %llu to %llu is expected", (unsigned long long)min,
                           (unsigned long long)max);
    *out = (uint64_t)n;
    return 0;
}
