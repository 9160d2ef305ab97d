/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: --help is printed from the tables that the parser reads. */
#include "cli/options.h"

#include <string.h>

#define HELP_COLUMN 26

static void print_option(const struct opt *o, FILE *to)
{
    char left[64];
    snprintf(left, sizeof(left), "  %c%c%c --%s%s%s", o->letter ? '-' : ' ', o->letter ? o->letter : ' ',
             o->letter ? ',' : ' ', o->name, o->value ? " " : "", o->value ? o->value : "");
    int used = fprintf(to, "%s", left);
    const char *line = o->help;
    while (line) {
        const char *end = strchr(line, '\n');
        int len = end ? (int)(end - line) : (int)strlen(line);
        if (used >= HELP_COLUMN)
            used = fprintf(to, "\n") - 1;
        fprintf(to, "%*s%.*s\n", HELP_COLUMN - used, "", len, line);
        used = 0;
        line = end ? end + 1 : NULL;
    }
}

const char *verb_word(const struct verb *verb)
{
    const char *blank = strrchr(verb->name, ' ');
    return blank ? blank + 1 : verb->name;
}

void options_list_verbs(const struct verb *const *verbs, FILE *to)
{
    for (const struct verb *const *v = verbs; *v; v++)
        fprintf(to, "  %-10s%s\n", verb_word(*v), (*v)->summary);
}

void options_help(const struct verb *verb, FILE *to)
{
    static const struct opt help = {"help", 'h', OPT_FLAG, NULL, "this text", 0, 0, 0};
    if (verb->verbs) {
        fprintf(to, "Usage: cubby %s COMMAND …\n\n%s\n\nCommands:\n", verb->name, verb->description);
        options_list_verbs(verb->verbs, to);
        fprintf(to, "\n'cubby %s COMMAND --help' explains a command.\n", verb->name);
        return;
    }
    fprintf(to, "Usage: cubby %s %s\n\n%s\n\nOptions:\n", verb->name, verb->usage, verb->description);
    for (const struct opt *o = verb->options; o && o->name; o++)
        print_option(o, to);
    print_option(&help, to);
    if (verb->examples)
        fprintf(to, "\nExamples:\n");
    for (const char *const *e = verb->examples; e && e[0]; e += 2)
        fprintf(to, "  %s\n      %s\n", e[0], e[1]);
}
