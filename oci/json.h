/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Strict reading of JSON from strangers, over jansson. A member that is null counts as one that is not there,
 * because that is what programs in Go write for an empty list. Errors are OCI_E_FORMAT with the member's
 * path.
 */
#ifndef CUBBY_OCI_JSON_H
#define CUBBY_OCI_JSON_H

#include "base/err.h"

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

/* So many values may one document have: it bounds what parsing takes to some tens of MiB. */
#define JSON_VALUES_MAX 200000

/*
 * Parses one object of at most `max` bytes; `what` names it in texts, `limit` is the word of struct
 * oci_limits that `max` comes from. Refuses duplicate members, NUL in strings, what is not UTF-8, trailing
 * bytes. The caller owns *out: json_decref().
 */
int json_parse(json_t **out, const void *data, size_t len, uint64_t max, const char *limit, const char *what,
               struct err *e);
/* The same for a document that is a list. */
int json_parse_list(json_t **out, const void *data, size_t len, uint64_t max, const char *limit,
                    const char *what, struct err *e);

/* Members of `object`, which `path` names ("config.Env"; "" at the top). What is not there gives NULL and 0,
 * unless json_need_*() is asked; a failure gives NULL as well. What is borrowed lives as long as the
 * document.
 */
int json_get_string(const json_t *object, const char *path, const char *key, const char **out, struct err *e);
int json_need_string(const json_t *object, const char *path, const char *key, const char **out,
                     struct err *e);
int json_get_object(const json_t *object, const char *path, const char *key, json_t **out, struct err *e);
int json_get_array(const json_t *object, const char *path, const char *key, json_t **out, struct err *e);
int json_need_array(const json_t *object, const char *path, const char *key, json_t **out, struct err *e);
/* A count of bytes or of other things: an integer from 0 on. */
int json_need_size(const json_t *object, const char *path, const char *key, uint64_t *out, struct err *e);

/* For CLEANUP. */
void json_decrefpp(json_t **j);

#endif
