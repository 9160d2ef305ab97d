/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading of JSON files that people write: members by a table, and errors that name the line and the key.
 *
 * The parser keeps no lines, so a place is a path of positions, and the line is looked for in the text only
 * when there is something to complain about.
 */
#ifndef CUBBY_OCI_JSON_WALK_H
#define CUBBY_OCI_JSON_WALK_H

#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where a value is. Lives on the stack of the function that went down to it. */
struct json_place {
    const struct json_place *up; /* NULL: the whole text */
    const char *key;             /* of an object's member; NULL for an array's element */
    size_t index;                /* which member or element */
    const char *text;            /* the whole text, the same in each place */
    size_t len;
};

typedef int json_member_fn(void *to, const json_t *value, const struct json_place *at, struct err *e);

struct json_member {
    const char *key; /* NULL ends a table */
    json_member_fn *fn;
};

/* Parses the text, refuses members that occur twice, and walks the outermost object. */
int json_walk_text(void *to, const char *text, size_t len, const struct json_member *table, struct err *e);

/* Calls the table's function for each member of an object. -EINVAL for a key that is not in it. */
int json_walk(void *to, const json_t *object, const struct json_member *table, const struct json_place *at,
              struct err *e);
/* Calls `fn` for each member of an object whose keys are free, or for each element of an array. */
int json_walk_members(void *to, const json_t *object, json_member_fn *fn, const struct json_place *at,
                      struct err *e);
int json_walk_elements(void *to, const json_t *array, json_member_fn *fn, const struct json_place *at,
                       struct err *e);

/* -EINVAL, with "line 3: registries.docker.io.mirrors[0]: " in front of the text. */
int json_refuse(const struct json_place *at, struct err *e, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Values of one type. The string is a heap copy that replaces *out. */
int json_take_string(char **out, const json_t *v, const struct json_place *at, struct err *e);
int json_take_bool(bool *out, const json_t *v, const struct json_place *at, struct err *e);
int json_take_number(uint64_t *out, uint64_t min, uint64_t max, const json_t *v, const struct json_place *at,
                     struct err *e);

#endif
