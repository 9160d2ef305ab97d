/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: one list without two variables of a name; the later one wins, in the place of the
 * earlier. */
#include "cli/environment.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX_BYTES (1 << 20)

static char **find(struct environment *e, const char *var)
{
    size_t len = strcspn(var, "=");
    for (size_t i = 0; i < e->count; i++) {
        if (strncmp(e->vars[i], var, len) == 0 && e->vars[i][len] == '=')
            return &e->vars[i];
    }
    return NULL;
}

/* Takes the heap string over. */
static int put(struct environment *e, char *var)
{
    char **same = var ? find(e, var) : NULL;
    if (same) {
        free(*same);
        *same = var;
        return 0;
    }
    char **bigger = var ? realloc(e->vars, (e->count + 2) * sizeof(*bigger)) : NULL;
    if (!bigger) {
        free(var);
        return -1;
    }
    e->vars = bigger;
    e->vars[e->count++] = var;
    e->vars[e->count] = NULL;
    return 0;
}

int environment_add(struct environment *e, const char *word, char why[USAGE_TEXT_MAX])
{
    char *var = NULL;
    if (!*word || *word == '=') {
        snprintf(why, USAGE_TEXT_MAX, "'%.60s' has no name; write NAME=value", word);
        return -1;
    }
    if (strchr(word, '=')) {
        var = strdup(word);
    } else {
        const char *ours = getenv(word);
        if (!ours)
            return 0;
        if (asprintf(&var, "%s=%s", word, ours) < 0)
            var = NULL;
    }
    if (put(e, var) == 0)
        return 0;
    snprintf(why, USAGE_TEXT_MAX, "no memory");
    return -1;
}

static int add_line(struct environment *e, char *line, const char *path, int number, char why[USAGE_TEXT_MAX])
{
    char reason[USAGE_TEXT_MAX];
    line[strcspn(line, "\r\n")] = '\0';
    if (!*line || *line == '#')
        return 0;
    if (environment_add(e, line, reason) == 0)
        return 0;
    snprintf(why, USAGE_TEXT_MAX, "'%.80s' line %d: %.100s", path, number, reason);
    return -1;
}

int environment_add_file(struct environment *e, const char *path, char why[USAGE_TEXT_MAX])
{
    FILE *f = fopen(path, "re");
    char *line = NULL;
    size_t cap = 0;
    ssize_t n = 0;
    int ret = f ? 0 : -1;
    errno = f ? 0 : errno;
    for (int number = 1; ret == 0 && (n = getline(&line, &cap, f)) >= 0; number++) {
        if (n > LINE_MAX_BYTES || memchr(line, '\0', (size_t)n)) {
            snprintf(why, USAGE_TEXT_MAX, "'%.80s' line %d: this is not text", path, number);
            ret = 1;
        } else {
            ret = add_line(e, line, path, number, why) < 0 ? 1 : 0;
        }
    }
    if (ret == 0 && f && ferror(f))
        ret = -1;
    if (ret < 0)
        snprintf(why, USAGE_TEXT_MAX, "cannot read '%.80s': %s", path, strerror(errno));
    free(line);
    if (f)
        fclose(f);
    return ret ? -1 : 0;
}

void environment_fini(struct environment *e)
{
    for (size_t i = 0; i < e->count; i++)
        free(e->vars[i]);
    free(e->vars);
    *e = (struct environment){0};
}
