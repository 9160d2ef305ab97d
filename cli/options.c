/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: "--name value", "--name=value", "-x value", "-xvalue" and "-ab" for flags, as
 * everywhere. What stands behind "--", or for some commands behind the first word, is the command, and none
 * of our business. The table tells where each value goes.
 */
#include "cli/options.h"

#include "cli/values.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static const struct opt help_option = {"help", 'h', OPT_FLAG, NULL, "this text", 0, 0, 0};

static int wrong(char why[USAGE_TEXT_MAX], const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static int wrong(char why[USAGE_TEXT_MAX], const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(why, USAGE_TEXT_MAX, fmt, ap);
    va_end(ap);
    return -1;
}

/* ---- finding an option
 * ------------------------------------------------------------------------------------*/

static const struct opt *find_name(const struct verb *verb, const char *name, size_t len)
{
    for (const struct opt *o = verb->options; o && o->name; o++) {
        if (strlen(o->name) == len && memcmp(o->name, name, len) == 0)
            return o;
    }
    return len == 4 && memcmp(name, "help", 4) == 0 ? &help_option : NULL;
}

static const struct opt *find_letter(const struct verb *verb, char letter)
{
    for (const struct opt *o = verb->options; o && o->name; o++) {
        if (o->letter == letter)
            return o;
    }
    return letter == 'h' ? &help_option : NULL;
}

static int unknown_name(const struct verb *verb, const char *arg, char why[USAGE_TEXT_MAX])
{
    const char *names[64];
    size_t n = 0;
    for (const struct opt *o = verb->options; o && o->name && n < 62; o++)
        names[n++] = o->name;
    names[n++] = "help";
    names[n] = NULL;
    char typed[64];
    snprintf(typed, sizeof(typed), "%.*s", (int)strcspn(arg + 2, "="), arg + 2);
    const char *meant = suggest(typed, names);
    if (meant)
        return wrong(why, "unknown option '--%.60s'; did you mean '--%s'?", typed, meant);
    return wrong(why, "unknown option '--%.60s'", typed);
}

/* ---- values
 * -----------------------------------------------------------------------------------------------*/

static int set_range(const struct opt *o, uint64_t *field, uint64_t value, const char *text,
                     char why[USAGE_TEXT_MAX])
{
    if (value < o->min || value > o->max)
        return wrong(why, "--%s: '%.60s' is out of range; choose %llu to %llu%s", o->name, text, o->min,
                     o->max, o->type == OPT_MEMORY ? " MiB" : "");
    *field = value;
    return 0;
}

static int append(struct word_list *list, const char *word, char why[USAGE_TEXT_MAX])
{
    const char **bigger = realloc(list->words, (list->count + 2) * sizeof(*bigger));
    if (!bigger)
        return wrong(why, "no memory");
    list->words = bigger;
    list->words[list->count++] = word;
    list->words[list->count] = NULL;
    return 0;
}

/* "missing|always|never": which of them `text` is. */
static int set_choice(const struct opt *o, unsigned *field, const char *text, char why[USAGE_TEXT_MAX])
{
    unsigned at = 0;
    for (const char *word = o->value; word; word = strchr(word, '|'), at++) {
        word += *word == '|';
        size_t len = strcspn(word, "|");
        if (strlen(text) == len && memcmp(word, text, len) == 0) {
            *field = at;
            return 0;
        }
    }
    return wrong(why, "--%s: '%.60s' is none of %s", o->name, text, o->value);
}

static int set_value(const struct opt *o, void *settings, const char *text, char why[USAGE_TEXT_MAX])
{
    void *field = (char *)settings + o->offset;
    uint64_t n;
    switch (o->type) {
    case OPT_FLAG:
        *(bool *)field = true;
        return 0;
    case OPT_STRING:
        if (!*text)
            return wrong(why, "--%s: the %s is empty", o->name, o->value);
        *(const char **)field = text;
        return 0;
    case OPT_TEXT:
        *(const char **)field = text;
        return 0;
    case OPT_CHOICE:
        return set_choice(o, field, text, why);
    case OPT_LIST:
        return append(field, text, why);
    case OPT_NUMBER:
        if (!parse_number(text, UINT64_MAX / 2, &n))
            return wrong(why, "--%s: '%.60s' is not a number", o->name, text);
        return set_range(o, field, n, text, why);
    case OPT_MEMORY:
        if (!parse_memory(text, &n))
            return wrong(why, "--%s: '%.60s' is not a size; write 512M or 2G", o->name, text);
        return set_range(o, field, n, text, why);
    case OPT_PARTS:
        if (!parse_thousandths(text, &n))
            return wrong(why, "--%s: '%.60s' is not a number such as 2 or 0.5", o->name, text);
        if (n < o->min || n > o->max)
            return wrong(why, "--%s: '%.60s' is out of range; choose %g to %g", o->name, text,
                         (double)o->min / 1000, (double)o->max / 1000);
        *(uint64_t *)field = n;
        return 0;
    case OPT_DURATION:
        if (!parse_duration(text, &n) || (o->max && n > o->max))
            return wrong(why, "--%s: '%.60s' is not a duration, or too long; write 500ms, 10s, 2m or 1h",
                         o->name, text);
        *(uint64_t *)field = n;
        return 0;
    }
    return -1;
}

/* ---- arguments
 * --------------------------------------------------------------------------------------------*/

/* A flag, or an option whose value is `value` or, when that is NULL, the next argument: moves *argv on then.
 */
static int take(struct parsed *p, const struct opt *o, const char *value, char ***argv,
                char why[USAGE_TEXT_MAX])
{
    if (o == &help_option) {
        p->help = true;
        return 0;
    }
    if (o->type == OPT_FLAG)
        return value ? wrong(why, "--%s takes no value", o->name) : set_value(o, p->settings, "", why);
    if (!value) {
        value = (*argv)[1];
        if (!value || strcmp(value, "--") == 0)
            return wrong(why, "--%s needs a value: %s", o->name, o->value);
        (*argv)++;
    }
    return set_value(o, p->settings, value, why);
}

static int take_long(struct parsed *p, char ***argv, char why[USAGE_TEXT_MAX])
{
    const char *arg = **argv + 2;
    size_t len = strcspn(arg, "=");
    const struct opt *o = find_name(p->verb, arg, len);
    if (!o)
        return unknown_name(p->verb, **argv, why);
    return take(p, o, arg[len] ? arg + len + 1 : NULL, argv, why);
}

static int take_letters(struct parsed *p, char ***argv, char why[USAGE_TEXT_MAX])
{
    for (const char *c = **argv + 1; *c; c++) {
        const struct opt *o = find_letter(p->verb, *c);
        if (!o)
            return wrong(why, "unknown option '-%c'", *c);
        if (o->type != OPT_FLAG)
            return take(p, o, c[1] ? c + 1 : NULL, argv, why);
        if (take(p, o, NULL, argv, why) < 0)
            return -1;
    }
    return 0;
}

int options_parse(struct parsed *p, const struct verb *verb, char **argv, char why[USAGE_TEXT_MAX])
{
    size_t words = 0, count = 0;
    while (argv[count])
        count++;
    *p = (struct parsed){.verb = verb, .command = argv + count};
    p->settings = calloc(1, verb->settings_size + 1);
    p->words = calloc(count + 1, sizeof(*p->words));
    if (!p->settings || !p->words)
        return wrong(why, "no memory");
    for (; *argv; argv++) {
        int ret = 0;
        if (strcmp(*argv, "--") == 0) {
            p->command = argv + 1;
            break;
        }
        if (strncmp(*argv, "--", 2) == 0)
            ret = take_long(p, &argv, why);
        else if ((*argv)[0] == '-' && (*argv)[1])
            ret = take_letters(p, &argv, why);
        else
            p->words[words++] = *argv;
        if (ret < 0)
            return ret;
        if (words > 0 && verb->command_follows) {
            p->command = argv + 1 + (argv[1] && strcmp(argv[1], "--") == 0);
            break;
        }
    }
    return 0;
}

void parsed_fini(struct parsed *p)
{
    for (const struct opt *o = p->verb->options; p->settings && o && o->name; o++) {
        if (o->type == OPT_LIST)
            free(((struct word_list *)(void *)((char *)p->settings + o->offset))->words);
    }
    free(p->settings);
    free(p->words);
}
