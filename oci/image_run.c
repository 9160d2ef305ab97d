/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: what an image says about running it and what a user says are combined into lists that
 * are each one heap block, pointers first and their text behind, so that one free() ends them.
 */
#include "oci/image_config.h"

#include "base/own.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static size_t list_count(const char *const *list)
{
    size_t count = 0;
    while (list && list[count])
        count++;
    return count;
}

/* One block with copies of `count` strings; NULL without memory. */
static char **pack(const char *const *item, size_t count)
{
    size_t bytes = (count + 1) * sizeof(char *);
    for (size_t i = 0; i < count; i++)
        bytes += strlen(item[i]) + 1;
    char **list = malloc(bytes);
    if (!list)
        return NULL;
    char *text = (char *)(list + count + 1);
    for (size_t i = 0; i < count; i++) {
        size_t len = strlen(item[i]) + 1;
        list[i] = memcpy(text, item[i], len);
        text += len;
    }
    list[count] = NULL;
    return list;
}

int image_config_argv(const struct image_config *c, const char *const *entrypoint, const char *const *args,
                      char ***out, struct err *e)
{
    const char *const *head = entrypoint ? entrypoint : (const char *const *)c->entrypoint;
    const char *const *tail = args;
    if (list_count(args) == 0)
        tail = entrypoint ? NULL : (const char *const *)c->cmd;
    CLEANUP(mem_freep) const char **words = calloc(list_count(head) + list_count(tail) + 1, sizeof(*words));
    if (!words)
        return err_set(e, -ENOMEM, "no memory for the command line");
    size_t count = 0;
    for (; head && *head; head++)
        words[count++] = *head;
    for (; tail && *tail; tail++)
        words[count++] = *tail;
    if (count == 0)
        return err_set(e, -EINVAL, "no command is given, and the image names none");
    *out = pack(words, count);
    return *out ? 0 : err_set(e, -ENOMEM, "no memory for the command line");
}

static size_t name_len(const char *assignment)
{
    return strcspn(assignment, "=");
}

/* The place of `name` among the assignments so far, or `count`. */
static size_t find_name(const char *const *env, size_t count, const char *name, size_t len)
{
    size_t i = 0;
    while (i < count && !(name_len(env[i]) == len && memcmp(env[i], name, len) == 0))
        i++;
    return i;
}

/* Puts one assignment into the list, in place or at the end, or takes the name away; returns the new count.
 */
static size_t apply(const char **env, size_t count, const char *word)
{
    size_t len = name_len(word), at = find_name(env, count, word, len);
    if (word[len] == '=') {
        env[at] = word;
        return at == count ? count + 1 : count;
    }
    if (at == count)
        return count;
    memmove(&env[at], &env[at + 1], (count - at - 1) * sizeof(*env));
    return count - 1;
}

int image_config_env(const struct image_config *c, const char *const *set, char ***out, struct err *e)
{
    const char *const *base = (const char *const *)c->env;
    CLEANUP(mem_freep) const char **env = calloc(list_count(base) + list_count(set) + 1, sizeof(*env));
    if (!env)
        return err_set(e, -ENOMEM, "no memory for the environment");
    size_t count = 0;
    /* A word of the image that is no assignment means nothing to a program; of two the last counts. */
    for (size_t i = 0; base && base[i]; i++) {
        if (base[i][0] != '=' && strchr(base[i], '='))
            count = apply(env, count, base[i]);
    }
    for (size_t i = 0; set && set[i]; i++) {
        if (set[i][0] == '=' || !set[i][0])
            return err_set(e, -EINVAL, "'%.60s' is no setting of an environment variable", set[i]);
        count = apply(env, count, set[i]);
    }
    *out = pack(env, count);
    return *out ? 0 : err_set(e, -ENOMEM, "no memory for the environment");
}

/* "RTMIN+3", "RTMAX-1", or 0. */
static int realtime_signal(const char *name)
{
    int offset = 0, used = 0;
    bool low = strncasecmp(name, "RTMIN", 5) == 0;
    if (!low && strncasecmp(name, "RTMAX", 5) != 0)
        return 0;
    if (name[5] &&
        (sscanf(name + 5, "%3d%n", &offset, &used) != 1 || name[5 + used] || !strchr("+-", name[5])))
        return 0;
    int number = (low ? SIGRTMIN : SIGRTMAX) + offset;
    return number >= SIGRTMIN && number <= SIGRTMAX ? number : 0;
}

static int signal_number(const char *name)
{
    static const struct {
        const char *name;
        int number;
    } alias[] = {{"IOT", SIGABRT}, {"CLD", SIGCHLD}, {"POLL", SIGPOLL}, {"IO", SIGIO}};
    int number = 0, used = 0;
    if (sscanf(name, "%3d%n", &number, &used) == 1 && !name[used])
        return number >= 1 && number <= SIGRTMAX ? number : 0;
    if (strncasecmp(name, "SIG", 3) == 0)
        name += 3;
    for (int i = 1; i < SIGRTMIN; i++) {
        const char *known = sigabbrev_np(i);
        if (known && strcasecmp(known, name) == 0)
            return i;
    }
    for (size_t i = 0; i < ARRAY_LEN(alias); i++) {
        if (strcasecmp(alias[i].name, name) == 0)
            return alias[i].number;
    }
    return realtime_signal(name);
}

int image_config_stop_signal(const struct image_config *c, struct err *e)
{
    if (!c->stop_signal)
        return SIGTERM;
    int number = signal_number(c->stop_signal);
    if (!number)
        return err_set(e, -EINVAL, "the image's stop signal '%.40s' is no signal of Linux", c->stop_signal);
    return number;
}
