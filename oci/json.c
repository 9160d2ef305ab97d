/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: jansson does the syntax. In front of it goes a count of brackets and commas, since
 * "[[],[],…" makes a hundred bytes of memory from three of text; behind it come small typed getters, so that
 * each error names the member.
 */
#include "oci/json.h"

#include "base/own.h"
#include "oci/oci_error.h"

#include <stdbool.h>
#include <string.h>

/* An upper bound of how many values the text has; exact for well-formed text but for empty lists. */
static size_t count_values(const char *text, size_t len)
{
    size_t values = 1;
    bool quoted = false;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (quoted && c == '\\')
            i++;
        else if (c == '"')
            quoted = !quoted;
        else if (!quoted && (c == '[' || c == '{' || c == ','))
            values++;
    }
    return values;
}

static int parse(json_t **out, const void *data, size_t len, uint64_t max, const char *limit,
                 const char *what, struct err *e)
{
    if (len > max)
        return err_set(e, OCI_E_LIMIT, "%s has %zu bytes, more than %llu (limit %s)", what, len,
                       (unsigned long long)max, limit);
    if (count_values(data, len) > JSON_VALUES_MAX)
        return err_set(e, OCI_E_LIMIT, "%s has more than %d values", what, JSON_VALUES_MAX);
    json_error_t error;
    *out = json_loadb(data, len, JSON_REJECT_DUPLICATES, &error);
    if (!*out)
        return err_set(e, OCI_E_FORMAT, "%s is not well-formed: line %d: %s", what, error.line, error.text);
    return 0;
}

int json_parse(json_t **out, const void *data, size_t len, uint64_t max, const char *limit, const char *what,
               struct err *e)
{
    CLEANUP(json_decrefpp) json_t *doc = NULL;
    int ret = parse(&doc, data, len, max, limit, what, e);
    if (ret == 0 && !json_is_object(doc))
        ret = err_set(e, OCI_E_FORMAT, "%s is not an object", what);
    if (ret == 0)
        *out = STEAL(doc);
    return ret;
}

int json_parse_list(json_t **out, const void *data, size_t len, uint64_t max, const char *limit,
                    const char *what, struct err *e)
{
    CLEANUP(json_decrefpp) json_t *doc = NULL;
    int ret = parse(&doc, data, len, max, limit, what, e);
    if (ret == 0 && !json_is_array(doc))
        ret = err_set(e, OCI_E_FORMAT, "%s is not a list", what);
    if (ret == 0)
        *out = STEAL(doc);
    return ret;
}

static int wrong_type(const char *path, const char *key, const char *wanted, struct err *e)
{
    return err_set(e, OCI_E_FORMAT, "%s%s%s is not %s", path, *path ? "." : "", key, wanted);
}

static int missing(const char *path, const char *key, struct err *e)
{
    return err_set(e, OCI_E_FORMAT, "%s%s%s is missing", path, *path ? "." : "", key);
}

/* The member, or NULL when it is not there or null. */
static json_t *member(const json_t *object, const char *key)
{
    json_t *value = json_object_get(object, key);
    return json_is_null(value) ? NULL : value;
}

int json_get_string(const json_t *object, const char *path, const char *key, const char **out, struct err *e)
{
    const json_t *value = member(object, key);
    *out = NULL;
    if (value && !json_is_string(value))
        return wrong_type(path, key, "a string", e);
    *out = json_string_value(value);
    return 0;
}

int json_need_string(const json_t *object, const char *path, const char *key, const char **out, struct err *e)
{
    int ret = json_get_string(object, path, key, out, e);
    return ret == 0 && !*out ? missing(path, key, e) : ret;
}

int json_get_object(const json_t *object, const char *path, const char *key, json_t **out, struct err *e)
{
    json_t *value = member(object, key);
    *out = NULL;
    if (value && !json_is_object(value))
        return wrong_type(path, key, "an object", e);
    *out = value;
    return 0;
}

int json_get_array(const json_t *object, const char *path, const char *key, json_t **out, struct err *e)
{
    json_t *value = member(object, key);
    *out = NULL;
    if (value && !json_is_array(value))
        return wrong_type(path, key, "a list", e);
    *out = value;
    return 0;
}

int json_need_array(const json_t *object, const char *path, const char *key, json_t **out, struct err *e)
{
    int ret = json_get_array(object, path, key, out, e);
    return ret == 0 && !*out ? missing(path, key, e) : ret;
}

int json_need_size(const json_t *object, const char *path, const char *key, uint64_t *out, struct err *e)
{
    const json_t *value = member(object, key);
    if (!value)
        return missing(path, key, e);
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return wrong_type(path, key, "a whole number from 0 on", e);
    *out = (uint64_t)json_integer_value(value);
    return 0;
}

void json_decrefpp(json_t **j)
{
    json_decref(*j);
}
